# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Small policies, a tiny random network, and inputs for both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from support.float32_rounding import float64_actions
from vla_adapter_ros.inference.engine import EngineSettings
from vla_adapter_ros.inference.int8 import INT8_NEEDS, int8_works
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.model import VLAAdapter, VLAAdapterConfig
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.processing.pipeline import ModelInputs
from vla_adapter_ros.robot.contract import RobotContract, load_contract

ROBOTS = Path(__file__).resolve().parents[2] / 'config' / 'robots'
ONE_THREAD = EngineSettings(device='cpu', threads=1)
needs_int8 = pytest.mark.skipif(not int8_works(), reason=f'int8 needs {INT8_NEEDS}')


def alicia(**changes) -> RobotContract:
    """The shipped contract, with changed top-level keys."""
    data = load_contract(ROBOTS / 'alicia_d.yaml').to_dict()
    return RobotContract.from_dict(data | changes)


def action_tolerance(policy: Policy, seen: Observation) -> np.ndarray:
    """How far a float32 run of the policy can be from another, in physical units, per action.

    A matrix library may round by where the arrays lie in memory, and the last layer of random
    policies magnifies that.
    """
    inputs, trained = policy.pipeline(seen), policy.engine.model
    model = VLAAdapter.from_config(trained.config)
    model.load_state_dict(trained.state_dict())
    arrays = (inputs.pixel_values, inputs.input_ids, inputs.proprio)
    exact, bound = float64_actions(model, *(torch.tensor(a)[None] for a in arrays))
    bounds = policy.statistics.action
    return float(2 * bound * exact.abs().max()) * 0.5 * (bounds.q99 - bounds.q01) + 1e-12


def observation(seed: int = 0, proprio: int = 7, **changes) -> Observation:
    """Noise images of both cameras, and a state."""
    random = np.random.default_rng(seed)
    values = {
        'images': {
            name: random.integers(0, 256, (480, 640, 3), dtype=np.uint8)
            for name in ('third_person', 'wrist')
        },
        'proprioception': random.uniform(0.0, 1.0, proprio),
        'instruction': 'pick up the red block',
        'stamp': 12.5,
    }
    return Observation(**(values | changes))


def network():
    torch.manual_seed(0)
    return VLAAdapter.from_config(VLAAdapterConfig.tiny())


def inputs(length=7, seed=0):
    random = np.random.default_rng(seed)
    return ModelInputs(
        random.standard_normal((12, 96, 96)).astype(np.float32),
        random.integers(0, 500, length),
        random.uniform(-1, 1, 7).astype(np.float32),
    )


def tensors(case: ModelInputs) -> list[torch.Tensor]:
    """Inputs of a network as tensors with a batch of one."""
    arrays = (case.pixel_values, case.input_ids, case.proprio)
    return [torch.from_numpy(array)[None] for array in arrays]
