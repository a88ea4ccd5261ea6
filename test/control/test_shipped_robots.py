# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Every contract that ships drives its robot, emulated: from policy to the driver's topics."""

import numpy as np
import pytest

from support.motion_helpers import ROBOTS, robot
from vla_adapter_ros.control.front_ends import TrajectoryCommand, make_front_end
from vla_adapter_ros.control.gripper_goals import GripperCancel, GripperGoal
from vla_adapter_ros.control.safety import SafetyFilter
from vla_adapter_ros.inference.simple_policies import RandomMotionPolicy
from vla_adapter_ros.motion.scheduler import ChunkScheduler
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.joint_state import JointStateReader
from vla_adapter_ros.simulation.servo_gripper import ServoGripper
from vla_adapter_ros.simulation.trajectory_controller import (
    JointTrajectoryController,
    Trajectory,
    TrajectoryPoint,
)

TICK = 0.02
NAMES = sorted(path.stem for path in ROBOTS.glob('*.yaml'))
ACTIONS = ('franka', 'so101', 'ur5e_robotiq', 'xarm6')


class Driver:
    """Takes commands in the driver's units and gives joint states in the driver's units."""

    def __init__(self, contract):
        self.contract, self.goals, self.streamed, self.now = contract, [], None, 0.0
        self.names = contract.driver_names
        middle = 0.5 * (contract.lower + contract.upper)[:-1]
        self.controllers = {
            contract.front_end.arm_topic: JointTrajectoryController(self.names[:-1], middle)
        }
        if topic := contract.front_end.gripper_topic:
            opened = contract.front_end.gripper_command(np.array([1.0]))
            self.controllers[topic] = JointTrajectoryController(self.names[-1:], opened)
        self.gripper = ServoGripper(1.0, contract.gripper.max_velocity)

    def take(self, command):
        front_end = self.contract.front_end
        if isinstance(command, TrajectoryCommand):
            points = [
                TrajectoryPoint(float(t), p, v)
                for t, p, v in zip(command.times, command.positions, command.velocities)
            ]
            self.controllers[command.topic].accept(Trajectory(command.names, points), self.now)
        elif isinstance(command, GripperGoal):
            self.goals.append(command.position)
            self.gripper.go(front_end.gripper_fraction(command.position))
        else:
            assert not isinstance(command, GripperCancel)
            assert command.topic == front_end.arm_topic and command.names == self.names
            self.streamed = command.positions[:-1]
            self.gripper.go(front_end.gripper_fraction(command.positions[-1]))

    def state(self, now):
        front_end = self.contract.front_end
        self.now = now
        if front_end.gripper_topic:
            command = self.controllers[front_end.gripper_topic].sample(now)[0][0]
            self.gripper.go(front_end.gripper_fraction(command))
        self.gripper.step(TICK)
        arm = self.streamed
        if arm is None:
            arm = self.controllers[front_end.arm_topic].sample(now)[0]
        position = self.contract.gripper.to_position(self.gripper.opening)
        return list(self.names), [*arm, position]


def driven(contract, seconds):
    """Run a policy for a time; returns the driver and its states (N, J + 1)."""
    driver, reader = Driver(contract), JointStateReader(contract)
    safety = SafetyFilter(contract)
    scheduler = ChunkScheduler(contract, safety=safety)
    front_end, policy = make_front_end(contract), RandomMotionPolicy(contract, seed=1)
    states = []
    for now in np.arange(0.0, seconds, TICK):
        states.append(reader.receive(*driver.state(now), now, now).state)
        if not states[1:]:
            scheduler.reset(states[0], now)
        scheduler.update(now)
        commanded = float(scheduler.commanded(now)[0][-1])
        front_end.observe(states[-1][-1], commanded, now)
        if scheduler.needs_inference(now):
            chunk = policy.predict(Observation({}, states[-1], 'move', now))
            plan = scheduler.accept(chunk, now, states[-1])
            assert plan is not None, scheduler.last_refusal
            for command in front_end.on_plan(plan):
                driver.take(command)
        for command in front_end.due(now):
            driver.take(command)
        if front_end.rate:
            driver.take(front_end.stream(scheduler, now))
    assert not safety.tripped and not safety.limit_clamps.any()
    return driver, np.array(states)


@pytest.mark.parametrize('name', NAMES)
def test_a_policy_moves_the_robot_within_its_limits(name):
    contract = robot(name)
    driver, states = driven(contract, 8.0)
    assert (states >= contract.lower - 1e-6).all() and (states <= contract.upper + 1e-6).all()
    speeds = np.abs(np.diff(states[:, :-1], axis=0)) / TICK
    assert (speeds.max(axis=0) <= 1.01 * contract.max_velocity[:-1]).all()
    assert (np.ptp(states, axis=0) > 0.02).all(), 'a joint did not move'
    if name in ACTIONS:
        low, high = sorted(contract.front_end.gripper_command(np.array([0.0, 1.0])))
        assert 1 <= len(driver.goals) <= 40
        assert low <= min(driver.goals) and max(driver.goals) <= high


@pytest.mark.parametrize('name', ['so101', 'ur5e_robotiq', 'xarm6', 'franka', 'piper'])
def test_a_contract_of_a_robot_that_was_not_there_says_so_and_where_its_limits_are_from(name):
    text = (ROBOTS / f'{name}.yaml').read_text()
    assert 'NOT RUN ON HARDWARE' in text and '# Limits: ' in text and '# Driver' in text
    assert robot(name).name == name


def test_speeds_are_left_out_where_the_driver_takes_them_for_something_else():
    contract = robot('piper')
    scheduler = ChunkScheduler(contract)
    scheduler.reset(0.5 * (contract.lower + contract.upper), 0.0)
    command = make_front_end(contract).stream(scheduler, 0.0)
    assert len(command.velocities) == 0 and len(command.positions) == 7
