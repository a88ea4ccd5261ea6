# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""States of runs that began with peft's LoRA layers, as those of ours: A and Bᵀ in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_A, _B = '.lora_A.default.weight', '.lora_B.default.weight'
_OURS = '.lora_factors'


def join_adapters(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by name, A (rank, in) and B (out, rank) of peft as our (rank, in + out)."""
    return {
        _our_name(name): torch.cat((value, tensors[name.removesuffix(_A) + _B].t()), 1)
        if name.endswith(_A)
        else value
        for name, value in tensors.items()
        if not name.endswith(_B)
    }


def from_peft(state: dict[str, Any], groups: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return a trainer's state as our layers have it; one without peft's layers as it is.

    Adam works element by element, so its moments are joined as the weights are: the run goes on
    as it would have.

    Args:
        state: of `Trainer`.
        groups: names of the parameters that train now, by group of the optimiser.
    """
    before = list(state['trained'])
    if not any(name.endswith(_A) for name in before):
        return state
    now = [name for group in groups for name in group]
    order = {name: number for number, name in enumerate(now)}
    # The groups were made by the same rule: A and B both belong where their product does.
    if {_our_name(name) for name in before} != set(now):
        return state  # refused by name
    group_of = {name: number for number, group in enumerate(groups) for name in group}
    numbered = sorted(before, key=lambda name: group_of[_our_name(name)])
    moments = state['optimizer']['state']
    joined: dict[int, dict[str, Tensor]] = {number: {} for number in range(len(now))}
    for kind in next(iter(moments.values()), {}):
        values = {name: moments[number][kind] for number, name in enumerate(numbered)}
        if kind == 'step':
            values = {name: v for name, v in values.items() if not name.endswith(_B)}
            values = {_our_name(name): value for name, value in values.items()}
        else:
            values = join_adapters(values)
        for name, value in values.items():
            joined[order[name]][kind] = value
    counts = [len(group) for group in groups]
    starts = [sum(counts[:number]) for number in range(len(counts))]
    return {
        **state,
        'trained': join_adapters(state['trained']),
        'optimizer': {
            'state': joined if moments else {},
            'param_groups': [
                {**group, 'params': list(range(start, start + count))}
                for group, start, count in zip(
                    state['optimizer']['param_groups'], starts, counts, strict=True
                )
            ],
        },
        'average': _average(state['average'], before),
    }


def _our_name(name: str) -> str:
    return name.removesuffix(_A).removesuffix(_B) + _OURS if name.endswith((_A, _B)) else name


def _average(stored: dict[str, Tensor] | None, before: list[str]) -> dict[str, Tensor] | None:
    """Return the moving average, which names the weights by their number."""
    if stored is None:
        return None
    others = {name: value for name, value in stored.items() if not name.startswith('module.')}
    means = join_adapters({name: stored[f'module.{i}'] for i, name in enumerate(before)})
    return others | {f'module.{i}': value for i, value in enumerate(means.values())}
