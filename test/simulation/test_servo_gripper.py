# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
import pytest

from vla_adapter_ros.simulation.servo_gripper import ServoGripper


def run(gripper, seconds):
    for _ in range(round(seconds / 0.01)):
        gripper.step(0.01)


def test_it_goes_to_its_target_at_its_speed_and_stays():
    gripper = ServoGripper(1.0, speed=2.0)
    gripper.go(0.0)
    run(gripper, 0.25)
    assert gripper.opening == pytest.approx(0.5) and not gripper.reached
    run(gripper, 0.5)
    assert gripper.reached and not gripper.stalled
    gripper.go(-3.0)
    assert gripper.target == 0.0


def test_an_object_stalls_it_while_it_presses_and_lets_it_open():
    gripper = ServoGripper(1.0, thing=0.4)
    gripper.go(0.0)
    run(gripper, 1.0)
    assert gripper.opening == pytest.approx(0.4) and gripper.stalled
    gripper.go(1.0)
    run(gripper, 1.0)
    assert gripper.reached


def test_one_that_stands_inside_the_objects_place_is_not_thrown_out():
    gripper = ServoGripper(0.1, thing=0.4)
    gripper.go(0.0)
    run(gripper, 0.5)
    assert gripper.opening <= 0.1
