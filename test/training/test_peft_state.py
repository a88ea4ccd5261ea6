# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A run that began with peft's LoRA layers goes on as it would have."""

from __future__ import annotations

import shutil

import numpy as np
import torch

from support.training_samples import config, make_dataset, weights
from vla_adapter_ros.training import train
from vla_adapter_ros.training.optimizer import parameter_groups

RANK = 2
RUN = (
    'adaptation.mode=lora', f'adaptation.rank={RANK}', 'ema=0.5', 'save.keep_last=3',
    'optimizer.backbone_lr=3e-4', 'optimizer.decay_all=false',
)  # fmt: skip


def halves(name, value, inner):
    """One of our tensors by the names of peft: A (rank, in) and B (out, rank)."""
    if not name.endswith('.lora_factors'):
        return {name: value}
    layer = name.removesuffix('lora_factors')
    if value.ndim == 0:
        return {f'{layer}lora_{half}.default.weight': value for half in 'AB'}
    a, b = value.split((inner[name], value.shape[1] - inner[name]), dim=1)
    return {f'{layer}lora_A.default.weight': a, f'{layer}lora_B.default.weight': b.t()}


def as_peft(state, recipe, inner):
    """A trainer's state as it was written with peft."""

    def split(values):
        return {k: v for n, value in values.items() for k, v in halves(n, value, inner).items()}

    def groups(trained):
        named = [(n, torch.nn.Parameter(v)) for n, v in trained.items()]
        backbone = [n for n in trained if not n.startswith(('policy.', 'action_queries.'))]
        name_of = {id(p): n for n, p in named}
        found = parameter_groups(named, recipe.optimizer, backbone)
        return [[name_of[id(p)] for p in group['params']] for group in found]

    ours = [name for group in groups(state['trained']) for name in group]
    trained = split(state['trained'])
    theirs = groups(trained)
    moments = state['optimizer']['state']
    by_kind = {
        kind: split({name: moments[i][kind] for i, name in enumerate(ours)}) for kind in moments[0]
    }
    flat, count = {}, 0
    old = []
    for stored, group in zip(state['optimizer']['param_groups'], theirs, strict=True):
        old.append({**stored, 'params': list(range(count, count + len(group)))})
        for name in group:
            flat[count] = {kind: values[name] for kind, values in by_kind.items()}
            count += 1
    average = state['average']
    means = split({n: average[f'module.{i}'] for i, n in enumerate(state['trained'])})
    return {
        'step': state['step'],
        'trained': trained,
        'optimizer': {'state': flat, 'param_groups': old},
        'average': {
            'n_averaged': average['n_averaged'],
            **{f'module.{i}': value for i, value in enumerate(means.values())},
        },
    }


def test_a_run_begun_with_peft_resumes_to_the_same_weights(tmp_path):
    recipe = config(make_dataset(tmp_path / 'pick'), tmp_path / 'run', *RUN)
    whole = weights(train.run(recipe))
    folder = tmp_path / 'run/checkpoints'
    for step in (4, 6):
        shutil.rmtree(folder / f'step-{step:08d}')
    file = folder / 'step-00000002/training_state.pt'
    inner = {
        f'{name.removesuffix("weight")}lora_factors': value.shape[1]
        for name, value in weights(file.parent).items()
        if value.ndim == 2
    }
    state = as_peft(torch.load(file), recipe, inner)
    assert sum('.lora_A.default.weight' in name for name in state['trained']) > 10
    torch.save(state, file)
    resumed = weights(train.run(recipe))
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
