# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest

from support.motion_helpers import HOME, ROBOTS, changed_robot, chunk_to, ready, robot
from vla_adapter_ros.robot.action_space import ActionConverter, MotionError
from vla_adapter_ros.robot.kinematics import Kinematics


def test_joint_positions_are_the_targets():
    actions = np.random.default_rng(0).normal(size=(8, 7))
    targets = ActionConverter(robot()).to_targets(actions, HOME)
    assert np.array_equal(targets, actions) and targets is not actions


def test_joint_deltas_count_from_the_observed_joints_and_the_gripper_is_absolute():
    converter = ActionConverter(changed_robot(action_space='joint_delta'))
    actions = np.tile([0.1, -0.1, 0, 0, 0, 0.2, 0.25], (3, 1))
    targets = converter.to_targets(actions, HOME)
    expected = HOME + np.array([0.1, -0.1, 0, 0, 0, 0.2, -0.75])
    assert targets[2] == pytest.approx(expected)


def test_tool_deltas_move_the_tool():
    pytest.importorskip('pinocchio')
    contract = changed_robot(action_space='ee_delta')
    kinematics = Kinematics.of(contract, ROBOTS)
    converter = ActionConverter(contract, kinematics)
    actions = np.zeros((4, 7))
    actions[:, 2] = 0.01 * np.arange(1, 5)
    actions[:, -1] = 0.5
    targets = converter.to_targets(actions, HOME)
    before = kinematics.tool_positions(HOME[None, :-1])
    moved = kinematics.tool_positions(targets[:, :-1]) - before
    assert moved == pytest.approx(actions[:, :3], abs=1e-4)
    assert targets[:, -1] == pytest.approx(np.full(4, 0.5))
    scheduler = ready(contract=contract, kinematics=kinematics)
    assert scheduler.accept(chunk_to(actions, 0.0), 0.0, HOME) is not None
    actions[:, 2] = 2.0
    assert scheduler.accept(chunk_to(actions, 0.0), 0.0, HOME) is None
    assert 'cannot be reached' in scheduler.last_refusal


def test_tool_deltas_without_kinematics_are_refused_at_once():
    with pytest.raises(MotionError, match='kinematics'):
        ActionConverter(changed_robot(action_space='ee_delta'))


@pytest.mark.parametrize(
    ('actions', 'message'),
    [
        (np.zeros((8, 6)), r'\(8, 6\), expected \(K, 7\)'),
        (np.zeros(7), r'\(7,\)'),
        (np.zeros((0, 7)), 'K >= 1'),
        (np.where(np.eye(8, 7) > 0, np.nan, 0.0), 'step 0, column 0: got nan'),
    ],
)
def test_malformed_actions_are_named(actions, message):
    with pytest.raises(MotionError, match=message):
        ActionConverter(robot()).to_targets(actions, HOME)


def test_bad_observation_is_named_for_relative_actions():
    converter = ActionConverter(changed_robot(action_space='joint_delta'))
    with pytest.raises(MotionError, match='expected 7 finite values'):
        converter.to_targets(np.zeros((8, 7)), np.full(7, np.nan))
