# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Action chunks: rows, padding, strides, and the three action spaces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from support.data_samples import contract
from vla_adapter_ros.data.training.actions import (
    chunk_rows,
    chunk_transform,
    contract_kinematics,
    joint_deltas,
)
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.robot.action_space import ActionConverter


def test_chunk_starts_with_the_target_of_the_frame_itself():
    rows, is_pad = chunk_rows(np.array([0, 5]), np.array([20, 20]), 4)
    assert rows.tolist() == [[0, 1, 2, 3], [5, 6, 7, 8]]
    assert not is_pad.any()


def test_chunk_holds_the_last_target_after_the_end():
    rows, is_pad = chunk_rows(np.array([7, 9]), np.array([10, 10]), 4)
    assert rows.tolist() == [[7, 8, 9, 9], [9, 9, 9, 9]]
    assert is_pad.tolist() == [[False, False, False, True], [False, True, True, True]]


def test_stride_takes_targets_one_step_period_apart():
    # 30 frames/s, 10 Hz contract: targets due 3, 6, … frames after the observation; row i is due
    # one frame after frame i.
    rows, is_pad = chunk_rows(np.array([10]), np.array([18]), 3, stride=3)
    assert rows.tolist() == [[12, 15, 17]]
    assert is_pad.tolist() == [[False, False, True]]


values = st.floats(-3, 3, width=32)


@settings(deadline=None)
@given(arrays(np.float64, (2, 4, 7), elements=values), arrays(np.float64, (2, 7), elements=values))
def test_robot_undoes_the_training_transform(targets, state):
    for space in ('joint_position', 'joint_delta'):
        used = contract(action_space=space)
        actions = chunk_transform(used, space)(targets, state)
        for n in range(2):
            back = ActionConverter(used).to_targets(actions[n], state[n])
            np.testing.assert_allclose(back, targets[n], atol=1e-12)


def test_joint_delta_keeps_the_gripper_absolute():
    targets = np.full((1, 2, 7), 0.75)
    actions = joint_deltas(targets, np.full((1, 7), 0.5))
    assert actions[0, 0].tolist() == [0.25] * 6 + [0.75]
    assert targets[0, 0, 0] == 0.75


def _rotation(vector):
    import pinocchio

    return pinocchio.exp3(np.asarray(vector, float))


class Wrist:
    """A tool that only turns: the first three joints are its rotation vector."""

    def tool_pose(self, joints):
        return np.zeros(3), _rotation(joints[:3])


def turn_of(vector):
    targets = np.append(vector, np.zeros(4))[None, None]
    return chunk_transform(contract(), 'ee_delta', Wrist())(targets, np.zeros((1, 7)))[0, 0, 3:6]


@settings(deadline=None)
@given(arrays(np.float64, 3, elements=st.floats(-1.8, 1.8)))
def test_rotation_vector_is_the_inverse_of_the_exponential(vector):
    np.testing.assert_allclose(turn_of(vector), vector, atol=1e-7)


@pytest.mark.parametrize('axis', [[1, 0, 0], [0, 1, 0], [0.6, 0, 0.8], [-0.6, 0.8, 0]])
def test_half_turns_have_a_rotation_vector(axis):
    half = np.pi * np.array(axis)
    np.testing.assert_allclose(_rotation(turn_of(half)), _rotation(half), atol=1e-6)


def test_tool_deltas_need_kinematics():
    with pytest.raises(DatasetError, match='kinematics of the URDF are needed'):
        chunk_transform(contract(), 'ee_delta')


def test_unknown_action_space_is_refused():
    with pytest.raises(DatasetError, match="got 'joints', expected one of"):
        chunk_transform(contract(), 'joints')


class Crane:
    """A tool that moves with the first two joints and turns with the third."""

    def tool_pose(self, joints):
        return np.array([joints[0], joints[1], 0.0]), _rotation([0, 0, joints[2]])


def test_tool_deltas_are_relative_to_the_observed_pose_in_the_base_frame():
    state = np.array([[0.1, 0.2, 0.3, 0, 0, 0, 1.0]])
    targets = np.array([[[0.4, 0.1, 0.8, 0, 0, 0, 0.25], [0.1, 0.2, 0.3, 0, 0, 0, 1.0]]])
    actions = chunk_transform(contract(), 'ee_delta', Crane())(targets, state)
    np.testing.assert_allclose(actions[0, 0], [0.3, -0.1, 0, 0, 0, 0.5, 0.25], atol=1e-12)
    np.testing.assert_allclose(actions[0, 1], [0, 0, 0, 0, 0, 0, 1.0], atol=1e-12)


def test_robot_undoes_tool_deltas_of_its_urdf():
    pytest.importorskip('pinocchio')
    used = contract(action_space='ee_delta')
    kinematics = contract_kinematics(used)
    generator = np.random.default_rng(1)
    state = np.append(generator.uniform([-0.4, -0.4, 0.2, -0.4, -0.4, -0.4], 0.4, 6), 1.0)
    targets = state + np.cumsum(generator.uniform(-0.05, 0.05, (1, 8, 7)), axis=1)
    actions = chunk_transform(used, 'ee_delta', kinematics)(targets, state[None])
    assert np.abs(actions[0, :, :3]).max() < 0.2
    back = ActionConverter(used, kinematics).to_targets(actions[0], state)
    np.testing.assert_allclose(back, targets[0], atol=2e-3)
