# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""LoRA adapters in files of peft, merged into the layers below them while these are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.weights.files import read_json_object
from vla_adapter_ros.weights.tensors import LazyTensor, check_finite, is_finite, open_safetensors

ADAPTER_CONFIG, ADAPTER_WEIGHTS = 'adapter_config.json', 'adapter_model.safetensors'
_SPECIAL = ('use_dora', 'rank_pattern', 'alpha_pattern', 'fan_in_fan_out', 'lora_bias')
_PREFIX = 'base_model.model.'
_HALF = re.compile(r'(.+)\.lora_([AB])(?:\.default)?\.weight')
_WRAPPERS = re.compile(r'\.(?:base_layer|modules_to_save(?:\.default)?)\.')
Halves = dict[str, dict[str, LazyTensor]]  # layer -> A (rank, in, …) and B (out, rank, …)


def read_adapter(folder: Path) -> tuple[dict[str, LazyTensor], Halves]:
    """Open peft's files: whole tensors and LoRA halves, by the names of the adapted network.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    path = folder / ADAPTER_WEIGHTS
    if not path.is_file():
        raise CheckpointError(f'{folder}: {ADAPTER_WEIGHTS} is missing')
    return split(
        {name.removeprefix(_PREFIX): lazy for name, lazy in open_safetensors(path).items()}
    )


def split(tensors: Mapping[str, LazyTensor]) -> tuple[dict[str, LazyTensor], Halves]:
    """Part the tensors of an adapted network into its layers and the halves of their adapters."""
    whole: dict[str, LazyTensor] = {}
    halves: Halves = {}
    for name, lazy in tensors.items():
        if found := _HALF.fullmatch(name):
            halves.setdefault(found[1], {})[found[2]] = lazy
        else:
            whole[_WRAPPERS.sub('.', name)] = lazy
    return whole, halves


def read_scale(folder: Path, halves: Halves) -> float:
    """Return the factor of B·A that training used, from `adapter_config.json`.

    Raises:
        CheckpointError: no such file, a kind of adapter that is not a plain LoRA, or another rank
            than that of the halves.
    """
    path = folder / ADAPTER_CONFIG
    config = read_json_object(path)
    special = [key for key in _SPECIAL if config.get(key)]
    if (kind := config.get('peft_type', 'LORA')) != 'LORA':
        special.append(f'peft_type {kind!r}')
    if special:
        raise CheckpointError(f'{path}: {special[0]} is not supported; merge it with peft')
    rank, alpha = (_number(path, config, key) for key in ('r', 'lora_alpha'))
    for layer, pair in halves.items():
        if 'A' in pair and pair['A'].shape[0] != rank:
            raise CheckpointError(
                f'{path}: r is {rank:g}, the adapter of {layer} has rank {pair["A"].shape[0]}'
            )
    return alpha / (rank**0.5 if config.get('use_rslora') else rank)


def _number(path: Path, config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    if not isinstance(value, (int, float)) or not value > 0:
        raise CheckpointError(f'{path}: {key} is {value!r}, expected a number above 0')
    return float(value)


def merge(
    weights: Mapping[str, LazyTensor], halves: Halves, scale: float, where: Path
) -> dict[str, LazyTensor]:
    """Return the weights with W + scale · B·A in place of W; computed when they are read.

    Raises:
        CheckpointError: half of an adapter is missing, or the layer that it adapts, or their
            shapes do not fit each other.
    """
    merged = dict(weights)
    for layer, pair in halves.items():
        name = f'{layer}.weight'
        if name not in weights or pair.keys() != {'A', 'B'}:
            missing = name if name not in weights else f'half of the adapter of {layer}'
            raise CheckpointError(f'{where}: {missing} is missing')
        weight = weights[name]
        _check_shapes(layer, weight, pair, where)
        merged[name] = replace(weight, read=partial(_merged, weight, pair, scale))
    return merged


def _check_shapes(
    layer: str, weight: LazyTensor, pair: Mapping[str, LazyTensor], where: Path
) -> None:
    (rank, *into), (out, columns, *kernel) = pair['A'].shape, (*pair['B'].shape, 0)[:-1]
    if (out, *into) != weight.shape or rank != columns or any(n != 1 for n in kernel):
        a, b, w = (list(x.shape) for x in (pair['A'], pair['B'], weight))
        raise CheckpointError(f'{where}: {layer}: A {a} and B {b} do not fit the weight {w}')


def _merged(
    weight: LazyTensor, pair: Mapping[str, LazyTensor], scale: float, dtype: torch.dtype | None
) -> Tensor:
    stored = weight.read(None)
    # A convolution's A has the kernel's shape, its B is 1 x 1: as matrices they are a layer's.
    a, b = (pair[half].read(torch.float32).flatten(1) for half in 'AB')
    result = stored.float() + scale * (b @ a).reshape(stored.shape)
    if not is_finite(result):
        for part in (weight, *pair.values()):
            check_finite(part)
    return result.to(dtype or stored.dtype)
