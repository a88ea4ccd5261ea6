# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Packed linear layers: the same numbers, saved and undone without loss, left out where absent."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from support.float32_rounding import BFLOAT16, UNIT_ROUNDOFF, float64_actions
from support.model_cases import relative_error
from support.policy_cases import inputs, network, tensors
from vla_adapter_ros.inference import packed_linear
from vla_adapter_ros.inference.engine import Engine, EngineSettings
from vla_adapter_ros.inference.packed_linear import (
    PackedLinear,
    pack_if_possible,
    packing_works,
    unpack,
)

pytestmark = pytest.mark.skipif(
    not packing_works(torch.float32), reason='this torch or CPU has no packed linear layers'
)


@pytest.fixture
def pack_all(monkeypatch):
    monkeypatch.setattr(packed_linear, 'MIN_ELEMENTS', 0)


def packed_layers(model):
    return {n: m for n, m in model.named_modules() if isinstance(m, PackedLinear)}


@pytest.mark.parametrize('bias', (False, True))
@pytest.mark.parametrize('shape', ((64,), (5, 64), (2, 3, 64)))
def test_packed_layer_gives_the_same_numbers(shape, bias):
    torch.manual_seed(0)
    linear = nn.Linear(64, 40, bias)
    x = torch.randn(*shape) if len(shape) > 1 else torch.randn(1, *shape)
    result = PackedLinear(linear)(x)
    assert result.shape == (*x.shape[:-1], 40)
    expected = linear.double()(x.double())
    sizes = x.double().abs() @ linear.weight.abs().T + (linear.bias.abs() if bias else 0)
    # The worst case of a sum of 64 products and a bias, in any order.
    assert ((result - expected).abs() <= 65 * UNIT_ROUNDOFF * sizes).all()


@pytest.mark.parametrize('dtype', ('float32', 'bfloat16'))
def test_packed_engine_gives_the_plain_actions(pack_all, dtype):
    case = inputs()
    engine = Engine(network(), EngineSettings('cpu', dtype, threads=1))
    # CPUs without bfloat16 of their own run such layers unpacked.
    assert (len(packed_layers(engine.model)) > 20) == packing_works(getattr(torch, dtype))
    expected, bound = float64_actions(network(), *tensors(case))
    bound *= 1 if dtype == 'float32' else BFLOAT16
    assert relative_error(engine.run(case), expected[0]) < bound
    unpack(engine.model)
    assert not packed_layers(engine.model)
    assert relative_error(engine.run(case), expected[0]) < bound


def test_weights_come_back_bit_equal_in_the_state_and_after_unpacking(pack_all):
    before = {name: value.clone() for name, value in network().state_dict().items()}
    model = network()
    pack_if_possible(model)
    for state in (model.state_dict(), (unpack(model), model.state_dict())[1]):
        assert state.keys() == before.keys()
        for name, value in before.items():
            assert torch.equal(state[name], value), name


def test_policy_layers_and_small_layers_stay_as_they_are(monkeypatch):
    model = network()
    monkeypatch.setattr(packed_linear, 'MIN_ELEMENTS', 96 * 384)
    pack_if_possible(model)
    names = packed_layers(model)
    assert names
    assert not any(name.startswith('policy') for name in names)
    assert all(m.in_features * m.out_features >= 96 * 384 for m in names.values())
    assert any(type(m) is nn.Linear for m in model.vision_backbone.modules())


def test_without_the_operator_the_engine_runs_unpacked(pack_all, monkeypatch):
    def absent(_):
        raise AttributeError('no such operator')

    monkeypatch.setattr(packed_linear, 'PackedLinear', absent)
    assert not packing_works(torch.float32)
    engine = Engine(network(), EngineSettings('cpu', threads=1))
    assert engine.run(inputs()).shape == (8, 7)
