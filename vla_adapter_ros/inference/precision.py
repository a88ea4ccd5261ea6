# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`dtype: auto` on a CPU: the fastest precision whose actions are those of float32.

Which one is fastest depends on the CPU (AMX, AVX-512 with bfloat16, VNNI), so it is measured: one
layer of the network itself, in every precision. A precision that is much faster is tried on the
whole network, and taken if the actions stay close to those of float32.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from vla_adapter_ros.architecture.config import VLM_MODULES
from vla_adapter_ros.inference.engine import Engine
from vla_adapter_ros.inference.int8 import (
    Int8Linear,
    QuantisationError,
    check_actions,
    int8_works,
)
from vla_adapter_ros.inference.packed_linear import PackedLinear, packing_works
from vla_adapter_ros.processing.pipeline import ModelInputs

LOGGER = logging.getLogger(__name__)
# A network with fewer weights in its linear layers runs in float32 everywhere: it is fast anyway.
MIN_WEIGHTS = 50_000_000
# A precision must be this much faster than the next more exact one.
MIN_GAIN = 1.2
_TOKENS = 512
_REPETITIONS = 5


class LoadedPolicy(Protocol):
    """What is needed of a policy (`policy.py`)."""

    engine: Engine
    provenance: dict[str, str]

    def warm_up_inputs(self) -> list[ModelInputs]:
        """Return inputs of the form that it will get."""
        ...


PolicyT = TypeVar('PolicyT', bound=LoadedPolicy)


def fastest(policy: PolicyT, load: Callable[[str], PolicyT]) -> PolicyT:
    """Return the policy in the fastest precision that gives the actions of float32.

    Args:
        policy: in float32, on the CPU; keep no reference to it, so that its memory is free while
            another precision is loaded.
        load: loads it anew in the precision named.
    """
    faster = faster_precisions(policy.engine.model)
    if not faster:
        return _say(policy, f'auto: float32{_why_float32(policy.engine.model)}')
    examples = policy.warm_up_inputs()
    reference = np.stack([policy.engine.run(inputs) for inputs in examples])
    del policy
    refused = ''
    for name, gain in faster:
        try:
            candidate = load(name)
            actions = np.stack([candidate.engine.run(inputs) for inputs in examples])
            error = check_actions(actions, reference)
        except QuantisationError as refusal:
            refused += f'; {name} is not: {refusal}'
            continue
        why = f'auto: {name} is {gain:.1f} times as fast as float32 on this CPU, {error}{refused}'
        return _say(candidate, why)
    return _say(load('float32'), f'auto: float32{refused}')


def _say(policy: PolicyT, why: str) -> PolicyT:
    policy.provenance['dtype_because'] = why
    LOGGER.info('dtype %s', why)
    return policy


def faster_precisions(model: nn.Module) -> list[tuple[str, float]]:
    """Return the precisions in which this CPU runs a network faster than in float32.

    Returns:
        Name and how many times as fast, the fastest first. Less exact ones are left out unless
        they gain `MIN_GAIN`; none for small networks.
    """
    sizes = _linear_weights(model)
    if sizes.total() < MIN_WEIGHTS:
        return []
    # The shape that holds most of the weights stands for all.
    return rank(layer_times(*sizes.most_common(1)[0][0]))


def _linear_weights(model: nn.Module) -> Counter[tuple[int, int]]:
    """Return shape → weights of the VLM's linear layers that have it."""
    sizes = Counter[tuple[int, int]]()
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Linear, PackedLinear)) and name.split('.')[0] in VLM_MODULES:
            shape = layer.in_features, layer.out_features
            sizes[shape] += shape[0] * shape[1]
    return sizes


def _why_float32(model: nn.Module) -> str:
    """Return why no other precision was tried."""
    weights = _linear_weights(model).total()
    if weights < MIN_WEIGHTS:
        return (
            f' without measuring, because the network is small: {weights / 1e6:.1f} million '
            f'weights in linear layers, of {MIN_WEIGHTS / 1e6:.0f} from which it is measured'
        )
    return f', because none is {MIN_GAIN} times as fast on this CPU'


def rank(seconds: dict[str, float]) -> list[tuple[str, float]]:
    """Return the precisions that gain something, the fastest first, and their gain.

    Args:
        seconds: time of one layer by precision, the most exact first.
    """
    slowest = best = seconds['float32']
    gains = []
    for name, time_s in seconds.items():
        if time_s * MIN_GAIN <= best:
            best = time_s
            gains.append((name, slowest / time_s))
    return gains[::-1]


@torch.inference_mode()
def layer_times(inputs: int, outputs: int) -> dict[str, float]:
    """Return the time of one linear layer in each precision that works here [s]."""
    times = {}
    for name, dtype in (('float32', torch.float32), ('bfloat16', torch.bfloat16)):
        linear = nn.Linear(inputs, outputs, dtype=dtype).requires_grad_(False)
        layer = PackedLinear(linear) if packing_works(dtype) else linear
        times[name] = _time(layer, dtype)
    if int8_works():
        times['int8'] = _time(Int8Linear(linear), torch.bfloat16)
    return times


def _time(layer: nn.Module, dtype: torch.dtype) -> float:
    x = torch.randn(_TOKENS, layer.in_features).to(dtype)
    layer(x)
    times = []
    for _ in range(_REPETITIONS):
        start = time.perf_counter()
        layer(x)
        times.append(time.perf_counter() - start)
    return min(times)
