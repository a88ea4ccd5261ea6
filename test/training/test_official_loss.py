# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The trainer's loss and gradients are the official ones, on a padded batch and on a recording."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from support.model_cases import (
    GOLDEN,
    formula_input,
    relative_error,
    released_name,
    tiny_inputs,
    tiny_model,
)
from support.official_reference import (
    OFFICIAL_PADDING,
    QUERIES,
    OfficialReference,
    from_official_batch,
)
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.training.config import load_config
from vla_adapter_ros.training.train import make_accelerator
from vla_adapter_ros.training.trainer import Hooks, Trainer

PROMPTS = (9, 14, 6, 14)


def official_sample(length: int, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels of a prompt of so many tokens, as the official dataset makes them."""
    prompt = (torch.arange(length) * 37 + 11 * row) % 512
    prompt[-1] = 198  # the line break that ends Qwen's chat form
    ids = torch.cat((prompt, 151387 + (torch.arange(QUERIES) * 5 + row) % 256))
    labels = ids.clone()
    labels[: -(QUERIES + 1)] = -100  # one less than the prompt: its last token keeps its label
    return ids, labels


def official_batch() -> dict:
    """Four samples as the official loader gives them, and the noise of the forward."""
    rows = len(PROMPTS)
    samples = [official_sample(length, row) for row, length in enumerate(PROMPTS)]
    pad = torch.nn.utils.rnn.pad_sequence
    ids = pad([s[0] for s in samples], batch_first=True, padding_value=OFFICIAL_PADDING)
    labels = pad([s[1] for s in samples], batch_first=True, padding_value=-100)
    return {
        'pixel_values': formula_input('official pixels', (rows, 12, 224, 224)),
        'input_ids': ids,
        'labels': labels,
        'attention_mask': (ids != OFFICIAL_PADDING).long(),
        'proprio': formula_input('official proprio', (rows, 8), 0.5).clamp(-1, 1),
        'actions': formula_input('official actions', (rows, 8, 7), 0.5).clamp(-1, 1),
        'latent': formula_input('official latent', (8, 7 * 64), 0.02),
    }


def parts(batch: dict, size: int) -> list[dict]:
    """Cut a batch into micro-batches in our form."""
    whole = {k: v for k, v in batch.items() if k != 'latent'}
    cut = [
        {k: v[first : first + size] for k, v in whole.items()}
        for first in range(0, len(PROMPTS), size)
    ]
    return [from_official_batch(part) | {'initial_latent': batch['latent']} for part in cut]


def trained_gradients(model, micro_batches: list[dict], tmp_path) -> tuple[float, dict]:
    """One optimiser step of the trainer: its mean loss, and the gradients AdamW would get."""
    settings = [f'output_dir={tmp_path}', 'steps=1', f'accumulate={len(micro_batches)}',
                'compute.device=cpu', 'compute.precision=fp32', 'adaptation.mode=full',
                'optimizer.clip_norm=0', 'log.tensorboard=false']  # fmt: skip
    config = load_config(None, settings)
    batches = SimpleNamespace(
        training=lambda first: iter(micro_batches), prepare=lambda batch, device: batch
    )
    trainer = Trainer(config, model, batches, Hooks(lambda *_: None), make_accelerator(config))
    found = {}

    def capture(*_):
        found.update({n: p.grad.clone() for n, p in model.named_parameters()})

    trainer.optimizer.step = capture
    logged = {}
    log = SimpleNamespace(write=lambda step, values, group: logged.update({group: values}))
    trainer.train(log)
    return logged['train']['loss'], found


@pytest.fixture(scope='module', params=[
    'pro',
    pytest.param('original', marks=pytest.mark.slow(reason='of two, one is always tried')),
])
def official(request):
    """Model, loss and gradients of the official forward written from its description."""
    model, batch = tiny_model(request.param), official_batch()
    weights = {released_name(n): p.detach().clone() for n, p in model.named_parameters()}
    for value in weights.values():
        value.requires_grad_()
    towers = {n: weights[f'vla.vision_backbone.{n}']
              for n, _ in model.vision_backbone.named_parameters()}  # fmt: skip
    language = model.config.language
    reference = OfficialReference(
        lambda pixels, _: torch.func.functional_call(model.vision_backbone, towers, (pixels,)),
        weights, vars(language), pro=request.param == 'pro',
    )  # fmt: skip
    loss = reference.loss(batch)
    loss.backward()
    return model, batch, float(loss.detach()), {n: w.grad for n, w in weights.items()}


@pytest.mark.parametrize(
    'size',
    [4, 2, pytest.param(1, marks=pytest.mark.slow(reason='more micro-batches of the same kind'))],
    ids=lambda n: f'micro-batches of {n}',
)
def test_trainer_has_the_official_loss_and_gradients(official, size, tmp_path):
    model, batch, wanted_loss, wanted = official
    loss, gradients = trained_gradients(model, parts(batch, size), tmp_path)
    assert loss == pytest.approx(wanted_loss, rel=1e-5)
    for name, gradient in gradients.items():
        right = wanted[released_name(name)]
        if name.endswith('gating_factor'):
            # One number in which much cancels (block 3: 5e-10): measured against its block.
            norm = name.replace('gating_factor', 'ffn.0.weight')
            scale = max(right.abs().max(), wanted[released_name(norm)].abs().max())
            assert float((gradient - right).abs().max()) < 1e-4 * scale, name
        else:  # measured: 2.5e-5 at worst
            assert relative_error(gradient, right) < 1e-3, name


def test_the_official_reference_repeats_the_recorded_actions():
    """So that what the trainer is held against is itself held against the official classes."""
    recorded = np.load(GOLDEN / 'tiny_pro_f32.npz')
    model, inputs = tiny_model('pro'), tiny_inputs()
    length = inputs['input_ids'].shape[1]
    ids = torch.cat((inputs['input_ids'], torch.ones(1, QUERIES, dtype=torch.long)), dim=1)
    labels = torch.full_like(ids, -100)
    labels[:, length:] = 151387
    weights = {released_name(n): p.detach() for n, p in model.named_parameters()}
    reference = OfficialReference(
        lambda pixels, _: model.vision_backbone(pixels),
        weights, vars(model.config.language), pro=True,
    )  # fmt: skip
    target = torch.from_numpy(recorded['normalized_actions']).reshape(1, 8, 7)
    batch = inputs | {
        'input_ids': ids, 'labels': labels, 'attention_mask': torch.ones_like(ids),
        'latent': torch.zeros(8, 7 * 64), 'actions': target,
    }  # fmt: skip
    with torch.no_grad():
        assert float(reference.loss(batch)) < 1e-5 * float(target.abs().max())


def test_last_gradients_follow_from_the_recording_alone(tmp_path):
    """Loss and the gradients of the policy's last layer, computed from recorded stages only."""
    recorded = np.load(GOLDEN / 'tiny_pro_f32.npz')
    predicted = torch.from_numpy(recorded['normalized_actions']).reshape(8, 7)
    x = torch.from_numpy(recorded['block23_out'])[0]
    actions = formula_input('recorded targets', (8, 7), 0.5)
    model, inputs = tiny_model('pro'), tiny_inputs()
    batch = inputs | {'actions': actions[None], 'initial_latent': torch.zeros(8, 7 * 64)}
    loss, gradients = trained_gradients(model, [batch], tmp_path)
    assert loss == pytest.approx(float((predicted - actions).abs().mean()), rel=1e-5)
    towards = (predicted - actions).sign() / actions.numel()
    name = 'policy.action_head.model.'
    norm = dict(model.policy.network.layer_norm2.named_parameters())
    plain = torch.nn.functional.layer_norm(x, x.shape[-1:])
    normed = plain * norm['weight'].detach() + norm['bias'].detach()
    assert relative_error(gradients[f'{name}fc2.bias'], towards.sum(0)) < 1e-5
    assert relative_error(gradients[f'{name}fc2.weight'], towards.T @ normed) < 1e-4
    back = towards @ model.policy.network.fc2.weight.detach()
    assert relative_error(gradients[f'{name}layer_norm2.weight'], (back * plain).sum(0)) < 1e-4


def test_an_official_batch_becomes_prompts_alone():
    batch = official_batch()
    made = from_official_batch({k: v for k, v in batch.items() if k != 'attention_mask'})
    assert made['attention_mask'].sum(dim=1).tolist() == list(PROMPTS)
    assert made['input_ids'].shape == (4, 14)
    assert made['input_ids'][1].tolist() == batch['input_ids'][1, :14].tolist()
    assert 'labels' not in made
    # The official collator squeezes: one sample has its proprioception as a vector.
    one = {k: v[:1] for k, v in batch.items() if k != 'latent'}
    given = one | {'proprio': one['proprio'].squeeze()}
    assert from_official_batch(given)['proprio'].shape == (1, 8)


@pytest.mark.parametrize(('labels', 'reason'), [
    (torch.full((4, 78), -100), 'row 0: no action token'),
    (torch.full((4, 78), 198), 'row 0: no action token'),
    (torch.full((4, 78), 151387), 'row 0: no prompt in front'),
])
def test_an_official_batch_without_prompt_or_actions_is_refused(labels, reason):
    with pytest.raises(ObservationError, match=reason):
        from_official_batch(official_batch() | {'labels': labels})
