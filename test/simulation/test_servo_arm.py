# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The servos of the emulated arm: resolution, speed steps, torque, zero."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.simulation.servo_arm import (
    ServoArm,
    actual_speed,
    metres_to_opening,
    opening_to_metres,
)

COUNT = 2 * np.pi / 4096


def settle(arm, seconds=10.0):
    for _ in range(int(seconds * 100)):
        arm.step(0.01)


def test_target_is_reached_within_one_count():
    arm = ServoArm(np.zeros(6))
    target = np.array([0.5, -0.4, 1.0, 0.3, -0.2, 0.1])
    arm.command(target, None, 1.0)
    settle(arm)
    error = target - arm.joints
    assert np.all(np.abs(error) <= 2 * COUNT)
    assert np.any(error != 0)  # counts, not real numbers


def test_all_joints_move_at_the_one_speed():
    arm = ServoArm(np.zeros(6))
    arm.command(np.array([1.0, 0.5, 0.0, 0.0, 0.0, -1.0]), None, np.deg2rad(21.97))
    arm.step(1.0)
    moved = np.rad2deg(arm.joints)
    assert moved[0] == pytest.approx(21.97, abs=0.2)
    assert moved[1] == pytest.approx(21.97, abs=0.2)
    assert moved[5] == pytest.approx(-21.97, abs=0.2)
    assert moved[2] == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize(
    ('wanted', 'actual'), [(20.0, 21.97), (10.0, 8.79), (1.0, 4.39), (900.0, 439.45)]
)
def test_speed_comes_in_steps(wanted, actual):
    assert np.rad2deg(actual_speed(np.deg2rad(wanted))) == pytest.approx(actual, abs=0.01)


def test_positions_are_cut_at_half_a_turn_and_nowhere_else():
    arm = ServoArm(np.zeros(6))
    arm.command(np.full(6, 9.0), None, 7.0)
    settle(arm)
    assert np.all(np.abs(arm.joints - np.pi) < 3 * COUNT)


def test_gripper_is_1000_when_open():
    assert opening_to_metres(1000.0) == 0.0
    assert opening_to_metres(0.0) == pytest.approx(0.025)
    assert metres_to_opening(0.0125) == pytest.approx(500.0)
    assert metres_to_opening(-0.01) == 1000.0


def test_gripper_stays_when_not_commanded():
    arm = ServoArm(np.zeros(6), gripper=300.0)
    arm.command(np.zeros(6), None, 1.0)
    settle(arm, 1.0)
    assert arm.gripper == 300.0
    arm.command(np.zeros(6), 0.0, 1.0)
    settle(arm, 1.0)
    assert arm.gripper == 0.0


def test_arm_without_torque_falls():
    arm = ServoArm([0, 0, 0.5, 0, 0, 0])
    arm.set_torque(False)
    arm.step(0.5)
    arm.step(0.5)
    assert np.abs(arm.joints - [0, 0, 0.5, 0, 0, 0]).max() > 0.2


def test_hand_moves_only_a_torque_free_arm():
    arm = ServoArm(np.zeros(6))
    arm.move_by_hand(np.full(6, 0.3))
    assert np.abs(arm.joints).max() < 2 * COUNT
    arm.set_torque(False)
    arm.move_by_hand(np.full(6, 0.3), 200.0)
    arm.step(0.1)
    assert arm.joints == pytest.approx(np.full(6, 0.3), abs=2 * COUNT)
    assert arm.gripper == 200.0


def test_torque_on_keeps_the_pose_of_the_hand():
    arm = ServoArm(np.zeros(6))
    arm.command(np.full(6, 1.0), None, 1.0)
    arm.set_torque(False)
    arm.move_by_hand(np.full(6, 0.3))
    arm.set_torque(True)
    settle(arm, 2.0)
    assert arm.joints == pytest.approx(np.full(6, 0.3), abs=2 * COUNT)


def test_commands_without_torque_do_not_move_it():
    arm = ServoArm(np.zeros(6))
    arm.set_torque(False)
    arm.move_by_hand(np.zeros(6))
    arm.command(np.full(6, 1.0), None, 1.0)
    arm.step(0.1)
    assert np.abs(arm.joints).max() < 2 * COUNT


def test_zero_calibration_makes_the_present_pose_zero():
    arm = ServoArm(np.full(6, 0.4))
    arm.set_zero()
    assert np.abs(arm.joints).max() < 2 * COUNT
