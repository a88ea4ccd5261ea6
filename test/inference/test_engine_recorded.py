# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Engine and normalisation against the recorded official run of the small network.

The engine in float32: test/model/test_golden.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from support.model_cases import GOLDEN, engine_inputs, tiny_model
from support.policy_cases import needs_int8
from vla_adapter_ros.inference import int8
from vla_adapter_ros.inference.engine import Engine, EngineSettings
from vla_adapter_ros.inference.int8 import action_error
from vla_adapter_ros.processing.statistics import Normaliser, VectorStatistics

# The statistics that the recorded run used.
ACTION = VectorStatistics.from_dict(
    {
        'q01': [-0.54, -0.87, -0.72, -0.1, -0.15, -0.21, 0.0],
        'q99': [0.94, 0.83, 0.88, 0.12, 0.2, 0.19, 1.0],
        'mask': [True] * 6 + [False],
    },
    'recorded',
)
PROPRIO = VectorStatistics.from_dict(
    {
        'q01': [-0.17, -0.26, 0.1, 2.8, -1.1, -0.8, 0.002, -0.04],
        'q99': [0.18, 0.27, 1.3, 3.5, 1.2, 0.7, 0.04, -0.001],
    },
    'recorded',
)


@pytest.fixture(scope='module')
def recorded():
    return np.load(GOLDEN / 'tiny_pro_f32.npz')


@pytest.fixture(scope='module')
def case():
    return engine_inputs()


def run(case, dtype):
    engine = Engine(tiny_model(), EngineSettings('cpu', dtype, threads=1))
    engine.prepare([case])
    return engine.run(case)


@pytest.mark.parametrize(
    ('dtype', 'cosine'),
    (('bfloat16', 0.999), ('float16', 0.99995), pytest.param('int8', 0.995, marks=needs_int8)),
)
def test_narrow_engine_stays_close_to_the_official_actions(
    recorded, case, dtype, cosine, monkeypatch
):
    # In a network this narrow int8 changes single actions by more than its gate lets pass.
    monkeypatch.setattr(int8, 'MAX_ERROR', 0.2)
    error = action_error(run(case, dtype), recorded['normalized_actions'])
    assert cosine < error.cosine < 1.0


def test_physical_actions_are_the_official_ones(recorded):
    actions = Normaliser(ACTION).denormalise(recorded['normalized_actions'].reshape(8, 7))
    np.testing.assert_allclose(actions, recorded['actions'].reshape(8, 7), rtol=0, atol=1e-6)


def test_normalised_proprioception_is_the_official_one(recorded):
    raw = recorded['proprio_raw'].ravel()
    expected = recorded['proprio_normalized'].ravel()
    np.testing.assert_allclose(Normaliser(PROPRIO).normalise(raw), expected, rtol=0, atol=1e-7)
