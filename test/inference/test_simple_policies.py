# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The policies without a network: hold, before an arm that sags, and random movements."""

from __future__ import annotations

import numpy as np
import pytest

from support.motion_helpers import HOME, changed_robot
from vla_adapter_ros.inference.simple_policies import (
    CHUNK_SIZE,
    JOINT_DELTA,
    HoldPolicy,
    RandomMotionPolicy,
    small_movements,
)
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


@pytest.mark.parametrize('space', ['joint_position', 'joint_delta', 'ee_delta'])
def test_random_movements_are_small_differ_and_follow_from_the_seed(space):
    robot = changed_robot(action_space=space)
    around = small_movements(changed_robot(action_space='joint_position'))[0]
    observation = Observation({}, around, 'wander', 3.0)
    policy = RandomMotionPolicy(robot, seed=4)
    chunks = [policy.predict(observation).actions for _ in range(50)]
    assert chunks[0].shape == (CHUNK_SIZE, robot.action_dim)
    assert np.ptp([chunk[-1] for chunk in chunks], axis=0).min() > 0.01
    centre, half = small_movements(robot)
    ends = np.array([chunk[-1] for chunk in chunks])
    assert (np.abs(ends - centre) <= half + 1e-9).all()
    again = RandomMotionPolicy(robot, seed=4).predict(observation)
    np.testing.assert_array_equal(again.actions, chunks[0])
    assert (again.instruction, again.observation_stamp) == ('wander', 3.0)


def test_random_joint_offsets_do_not_walk_to_the_limits():
    robot = changed_robot(action_space='joint_delta')
    policy, state = RandomMotionPolicy(robot), HOME.copy()
    for _ in range(300):
        actions = policy.predict(Observation({}, state, 'wander', 0.0)).actions
        assert np.abs(actions[:, :-1]).max() <= JOINT_DELTA + 1e-9
        state = np.append(state[:-1] + actions[-1, :-1], actions[-1, -1])
    centre, half = small_movements(changed_robot(action_space='joint_position'))
    assert (np.abs(state - centre) <= half + 1e-9).all()
