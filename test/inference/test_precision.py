# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`dtype: auto` on a CPU: measured, gated by the actions, and explained."""

from __future__ import annotations

import re

import pytest
import torch

from support.policy_cases import ONE_THREAD, alicia, needs_int8, observation
from vla_adapter_ros.inference import int8, precision
from vla_adapter_ros.inference.int8 import Int8Linear, int8_works
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.inference.precision import faster_precisions, layer_times, rank
from vla_adapter_ros.model import VLAAdapter, VLAAdapterConfig


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    policy = Policy.random(alicia(), settings=ONE_THREAD)
    last = policy.engine.model.policy.network.fc2
    with torch.no_grad():  # undo the spread of random policies, which magnifies every error
        last.weight.mul_(0.01)
        last.bias.add_(0.5)
    directory = tmp_path_factory.mktemp('auto') / 'checkpoint'
    policy.save(directory)
    return directory


def load(directory, monkeypatch, faster):
    monkeypatch.setattr(precision, 'faster_precisions', lambda model: faster)
    return Policy.from_pretrained(directory, device='cpu', threads=1)


def test_the_fastest_precision_that_keeps_the_actions_is_taken_and_explained(
    checkpoint, monkeypatch
):
    policy = load(checkpoint, monkeypatch, [('bfloat16', 2.4)])
    provenance = policy.predict(observation()).provenance
    assert policy.engine.dtype == provenance['dtype'] == 'bfloat16'
    because = provenance['dtype_because']
    assert because.startswith('auto: bfloat16 is 2.4 times as fast as float32 on this CPU, action')


def test_a_precision_that_changes_the_actions_is_not_taken(checkpoint, monkeypatch):
    monkeypatch.setattr(int8, 'MAX_ERROR', 1e-9)
    policy = load(checkpoint, monkeypatch, [('bfloat16', 2.4)])
    assert policy.engine.dtype == 'float32'
    because = policy.provenance['dtype_because']
    assert because.startswith('auto: float32; bfloat16 is not: action cosine')
    assert because.endswith(
        'a cosine of at least 0.995 and an error of at most 1e-09 are required'
    )


@needs_int8
def test_the_next_one_is_tried_if_the_fastest_changes_the_actions(checkpoint, monkeypatch):
    monkeypatch.setattr(
        Int8Linear, 'forward', lambda self, x: x.new_zeros(*x.shape[:-1], len(self.scale))
    )
    policy = load(checkpoint, monkeypatch, [('int8', 4.0), ('bfloat16', 2.0)])
    assert policy.engine.dtype == 'bfloat16'
    assert '; int8 is not: action cosine' in policy.provenance['dtype_because']


def test_a_small_network_runs_in_float32_and_says_that_nothing_is_measured(
    checkpoint, monkeypatch
):
    monkeypatch.setattr(precision, 'layer_times', None)
    policy = Policy.from_pretrained(checkpoint, device='cpu', threads=1)
    assert policy.engine.dtype == 'float32'
    assert re.fullmatch(
        r'auto: float32 without measuring, because the network is small: 1\.\d million weights '
        r'in linear layers, of 50 from which it is measured',
        policy.predict(observation()).provenance['dtype_because'],
    )


def test_a_network_that_runs_no_faster_otherwise_says_so(checkpoint, monkeypatch):
    monkeypatch.setattr(precision, 'MIN_WEIGHTS', 1)
    monkeypatch.setattr(precision, 'layer_times', lambda *_: {'float32': 1.0, 'bfloat16': 0.9})
    policy = Policy.from_pretrained(checkpoint, device='cpu', threads=1)
    assert policy.engine.dtype == 'float32'
    because = 'auto: float32, because none is 1.2 times as fast on this CPU'
    assert policy.provenance['dtype_because'] == because


def test_a_large_network_is_measured_by_the_layers_that_hold_its_weights(monkeypatch):
    measured = []
    monkeypatch.setattr(
        precision, 'layer_times', lambda *shape: measured.append(shape) or {'float32': 1.0}
    )
    with torch.device('meta'):
        model = VLAAdapter(VLAAdapterConfig())
    assert faster_precisions(model) == []
    # The language model's MLP, 24 layers of gate, up and down: 896 × 4864.
    assert measured == [(896, 4864)]


@pytest.mark.parametrize(
    ('seconds', 'expected'),
    (
        ({'float32': 10.0, 'bfloat16': 4.0, 'int8': 2.0}, [('int8', 5.0), ('bfloat16', 2.5)]),
        # int8 is less exact: a little faster is not enough.
        ({'float32': 10.0, 'bfloat16': 4.0, 'int8': 3.9}, [('bfloat16', 2.5)]),
        # No instructions for bfloat16: it is slower.
        ({'float32': 10.0, 'bfloat16': 30.0, 'int8': 5.0}, [('int8', 2.0)]),
        ({'float32': 10.0, 'bfloat16': 9.0}, []),
    ),
)
def test_a_less_exact_precision_must_gain_something(seconds, expected):
    assert rank(seconds) == expected


def test_layer_times_are_measured_in_each_precision_that_works_here():
    times = layer_times(64, 32)
    assert list(times) == ['float32', 'bfloat16'] + ['int8'] * int8_works()
    assert all(time_s > 0.0 for time_s in times.values())
