# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The policy that stands still, before an arm that sags."""

from __future__ import annotations

import numpy as np
import pytest

from support.motion_helpers import HOME, changed_robot
from vla_adapter_ros.inference.simple_policies import HoldPolicy
from vla_adapter_ros.processing.observation import Observation

SAG = np.array([0.0, 0.003, -0.003, 0.0, 0.002, 0.0, 0.0])


@pytest.mark.parametrize('space', ['joint_position', 'joint_delta'])
def test_an_arm_that_sags_below_its_command_does_not_sink_chunk_by_chunk(space):
    policy, delta = HoldPolicy(changed_robot(action_space=space)), space == 'joint_delta'
    commanded = HOME.copy()
    for _ in range(50):
        measured = commanded + SAG
        chunk = policy.predict(Observation({}, measured, 'wait', 0.0))
        base = np.append(measured[:-1], 0.0) if delta else 0.0
        commanded = base + chunk.actions[-1]
    assert np.abs(commanded - HOME).max() <= 0.003 + 1e-9


def test_an_arm_that_was_moved_is_held_where_it_is_now():
    policy = HoldPolicy(changed_robot())
    policy.predict(Observation({}, HOME, 'wait', 0.0))
    moved = HOME + 0.2
    chunk = policy.predict(Observation({}, moved, 'wait', 0.0))
    np.testing.assert_array_equal(chunk.actions, np.tile(moved, (8, 1)))
