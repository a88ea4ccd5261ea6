# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A person's goals become motion inside the limits; a leader is followed closely."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.errors import ContractError, VLAAdapterError
from vla_adapter_ros.robot.contract import contract_path, load_contract
from vla_adapter_ros.robot.kinematics import Kinematics
from vla_adapter_ros.teaching.jogging import JOINT_STEP, KeyJogger, PadJogger, PadSettings
from vla_adapter_ros.teaching.leader import Leader
from vla_adapter_ros.teaching.motion import TeachMotion

PATH = contract_path('alicia_d')
CONTRACT = load_contract(PATH)
START = np.array([0.2, -0.3, 0.6, 0.1, 0.5, 0.0, 1.0])
TICK = 0.02


class Arm:
    """An arm that goes exactly where it is commanded, and its teacher."""

    def __init__(self, speed=1.0, contract=CONTRACT, kinematics=True):
        solver = Kinematics.of(contract, PATH.parent) if kinematics else None
        self.kinematics = solver
        self.motion = TeachMotion(contract, self, solver, speed)
        self.now = 100.0
        self.path, self.plans, self.commands = [], [], []
        self.state = START.copy()
        self.report()
        self.state[0] += 1e-4
        self.report()

    def report(self):
        positions = self.state.copy()
        positions[-1] = CONTRACT.gripper.to_position(positions[-1])
        self.motion.observe(CONTRACT.names, positions, self.now)

    def send(self, command):
        self.commands.append(command)

    def plan(self, plan):
        self.plans.append(plan)

    def engage(self):
        self.motion.engage(self.now)
        return self

    def run(self, seconds, each=lambda time: None):
        for i in range(round(seconds / TICK)):
            each(i * TICK)
            self.motion.tick(self.now)
            self.now += TICK
            if self.motion.engaged:
                self.state = self.motion.commanded(self.now)[0]
            self.path.append(self.state.copy())
            self.report()
        return self

    @property
    def velocities(self):
        return np.diff(self.path, axis=0) / TICK


def test_nothing_moves_before_it_is_engaged():
    arm = Arm()
    with pytest.raises(VLAAdapterError, match='not engaged'):
        arm.motion.jog_joint(0, 0.1, arm.now)
    arm.run(0.2)
    assert not arm.plans and not arm.commands


def test_engaging_does_not_move_the_arm():
    arm = Arm().engage().run(1.0)
    assert np.ptp(np.array(arm.path), axis=0).max() < 1e-6


def test_unbelievable_state_is_not_engaged():
    motion = TeachMotion(CONTRACT, None)
    with pytest.raises(VLAAdapterError, match='not engaged: no joint state received yet'):
        motion.engage(0.0)
    motion.observe(CONTRACT.names, np.zeros(7), 0.0)
    with pytest.raises(VLAAdapterError, match='exactly zero on all joints'):
        motion.engage(0.01)


def test_joint_step_arrives_and_nothing_else_moves():
    arm = Arm().engage()
    arm.motion.jog_joint(2, 0.1, arm.now)
    arm.run(1.5)
    moved = arm.state - arm.path[0]
    assert moved[2] == pytest.approx(0.1, abs=2e-3)
    assert np.abs(np.delete(moved, 2)).max() < 1e-3


def test_speed_is_a_share_of_the_contracts():
    arm = Arm(speed=0.2).engage()
    arm.run(2.0, lambda t: arm.motion.jog_joint(0, 0.05, arm.now))
    limit = 0.2 * CONTRACT.max_velocity[0]
    assert 0.8 * limit < np.abs(arm.velocities[:, 0]).max() <= limit * 1.01


def test_acceleration_is_limited():
    arm = Arm().engage()
    arm.run(1.0, lambda t: arm.motion.jog_joint(0, 0.05, arm.now))
    arm.motion.hold(arm.now)
    arm.run(1.0)
    acceleration = np.abs(np.diff(arm.velocities, axis=0)).max(axis=0) / TICK
    assert np.all(acceleration[:-1] <= CONTRACT.max_acceleration[:-1] * 1.05)
    assert acceleration[0] > 1.0


def test_released_key_stops_soon():
    """A key that repeats faster than the arm moves must not pile up travel."""
    arm = Arm(speed=0.3).engage()
    arm.run(2.0, lambda t: arm.motion.jog_joint(0, JOINT_STEP, arm.now))
    before = arm.state[0]
    arm.run(3.0)
    assert arm.state[0] - before < 0.36


def test_limits_are_not_crossed():
    arm = Arm().engage()
    arm.run(6.0, lambda t: arm.motion.jog_joint(5, 0.05, arm.now))
    highest = np.max(np.array(arm.path)[:, 5])
    assert highest == pytest.approx(CONTRACT.upper[5], abs=0.01)
    assert highest <= CONTRACT.upper[5] + 1e-6


def test_tool_goes_down_to_the_table_and_no_farther():
    arm, refusals = Arm().engage(), []

    def down(time):
        try:
            arm.motion.jog_joint(1, -0.02, arm.now)
        except VLAAdapterError as error:
            refusals.append(str(error))

    arm.run(4.0, down)
    heights = arm.kinematics.tool_positions(np.array(arm.path)[:, :-1])[:, 2]
    assert -0.002 < heights.min() < 0.01
    assert set(refusals) == {'the tool would leave the workspace of the robot contract'}
    arm.motion.jog_joint(1, 0.1, arm.now)  # back up is allowed
    arm.run(1.0)
    assert arm.kinematics.tool_positions(arm.state[None, :-1])[0, 2] > heights.min() + 0.01


def test_tool_moves_straight_and_keeps_its_direction():
    arm = Arm().engage()
    position, rotation = arm.kinematics.tool_pose(arm.state[:-1])
    for _ in range(5):
        arm.motion.jog_tool(np.array([0.0, 0.0, 0.008]), np.zeros(3), arm.now)
        arm.run(0.3)
    arm.run(1.0)
    reached, turned = arm.kinematics.tool_pose(arm.state[:-1])
    assert reached - position == pytest.approx([0, 0, 0.04], abs=2e-3)
    assert turned == pytest.approx(rotation, abs=0.02)


def test_tool_turns_about_the_vertical():
    pinocchio = pytest.importorskip('pinocchio')
    arm = Arm().engage()
    position, rotation = arm.kinematics.tool_pose(arm.state[:-1])
    arm.motion.jog_tool(np.zeros(3), np.array([0.0, 0.0, 0.1]), arm.now)
    arm.run(3.5)
    reached, turned = arm.kinematics.tool_pose(arm.state[:-1])
    assert turned == pytest.approx(pinocchio.exp3(np.array([0, 0, 0.1])) @ rotation, abs=0.01)
    assert reached == pytest.approx(position, abs=2e-3)


def test_tool_step_out_of_reach_is_refused_in_words():
    arm = Arm().engage()
    with pytest.raises(VLAAdapterError, match='cannot be moved farther'):
        arm.motion.jog_tool(np.array([2.0, 0.0, 0.0]), np.zeros(3), arm.now)
    arm.run(0.5)
    assert np.abs(arm.state[:-1] - arm.path[0][:-1]).max() < 1e-6


def test_tool_steps_need_kinematics():
    arm = Arm(kinematics=False).engage()
    with pytest.raises(VLAAdapterError, match='need the key kinematics'):
        arm.motion.jog_tool(np.array([0.01, 0, 0]), np.zeros(3), arm.now)


def test_gripper_closes_without_the_arm():
    arm = Arm().engage()
    arm.motion.set_gripper(0.0)
    arm.run(1.5)
    assert arm.state[-1] == pytest.approx(0.0, abs=1e-3)
    assert np.abs(arm.state[:-1] - arm.path[0][:-1]).max() < 1e-6


def test_frozen_driver_trips_and_holds():
    arm = Arm().engage()
    arm.run(0.2)
    frozen = arm.state.copy()
    for _ in range(60):
        arm.motion.jog_joint(0, 0.05, arm.now) if arm.motion.engaged else None
        arm.motion.tick(arm.now)
        arm.now += TICK
        arm.state = frozen
        arm.report()
    assert 'frozen' in arm.motion.problem(arm.now)
    speed = np.abs(arm.motion.commanded(arm.now)[1]).max()
    assert speed == 0.0
    assert 'frozen' in arm.motion.clear(arm.now)
    assert not arm.motion.engaged


def test_silent_driver_stops_the_motion():
    arm = Arm().engage()
    arm.run(0.5, lambda t: arm.motion.jog_joint(0, 0.05, arm.now))
    for _ in range(30):  # no joint states
        arm.now += TICK
        arm.motion.tick(arm.now)
    assert 'stale joint state' in arm.motion.tripped
    assert not arm.motion.astray, 'nothing was seen of the arm'


def test_pause_of_this_process_is_not_taken_for_a_silent_driver():
    arm = Arm().engage()
    arm.run(0.2)
    arm.now += 0.7
    arm.motion.tick(arm.now)
    arm.report()  # it waited to be read
    arm.now += TICK
    arm.motion.tick(arm.now)
    assert not arm.motion.tripped
    arm.run(0.5, lambda t: arm.motion.jog_joint(0, 0.05, arm.now))
    assert arm.state[0] > START[0] + 0.1


@pytest.mark.parametrize('period', [TICK, 0.3])
def test_driver_that_is_silent_after_a_pause_too_is_found_soon(period):
    arm = Arm().engage()
    arm.run(0.2)
    arm.now += 0.7
    arm.motion.tick(arm.now)
    assert not arm.motion.tripped
    resumed = arm.now
    while not arm.motion.tripped:
        arm.now += period
        arm.motion.tick(arm.now)
    assert 'stale joint state' in arm.motion.tripped
    assert arm.now - resumed <= max(0.1 + TICK, period)


def test_goal_is_reached_though_the_stream_paused_on_the_way():
    arm = Arm(contract=load_contract(contract_path('alicia_d_standalone')), kinematics=False)
    arm.engage()
    goal = START.copy()
    goal[0] += 0.25
    arm.motion.follow(goal)
    arm.run(0.2)
    stopped = arm.state.copy()
    assert 0.01 < stopped[0] - START[0] < 0.2, 'on its way'
    # Longer than the scheduler takes for a late tick, shorter than joint states may be silent.
    arm.now += 0.4
    arm.report()
    arm.run(TICK)
    assert np.abs(arm.state - stopped).max() < 0.03, 'goes on from where it stopped'
    arm.run(2.0)
    assert np.abs(arm.state - goal).max() < 1e-6


def sine(time, amplitude=0.5, frequency=0.3):
    target = START.copy()
    target[0] += amplitude * np.sin(2 * np.pi * frequency * time)
    return target


def test_leader_is_followed_within_a_few_hundredths_of_a_radian():
    arm, leader = Arm().engage(), Leader(CONTRACT)

    def move(time):
        positions = sine(time)
        positions[-1] = 0.0
        leader.receive(CONTRACT.names, positions, arm.now)
        arm.motion.follow(leader.target, leader.velocity)

    arm.run(5.0, move)
    wanted = np.array([sine(i * TICK)[0] for i in range(len(arm.path))])
    error = np.abs(np.array(arm.path)[:, 0] - wanted)
    assert error[50:].max() < 0.09
    assert np.sqrt((error[50:] ** 2).mean()) < 0.05
    # Following only where the leader is, without its velocity, lags far more.
    lazy = Arm().engage()
    lazy.run(5.0, lambda t: lazy.motion.follow(sine(t)))
    assert np.abs(np.array(lazy.path)[50:, 0] - wanted[50:]).max() > 0.15


def test_leader_that_stops_is_reached_exactly():
    arm = Arm().engage()
    velocity = np.zeros(7)

    def move(time):
        velocity[0] = 0.9 if time < 0.5 else 0.0
        target = START.copy()
        target[0] += 0.9 * min(time, 0.5)
        arm.motion.follow(target, velocity)

    arm.run(2.5, move)
    assert arm.state[0] == pytest.approx(START[0] + 0.45, abs=2e-3)


def test_distant_leader_is_approached_slowly():
    arm = Arm().engage()
    target = START.copy()
    target[0] += 1.5
    arm.run(1.0, lambda t: arm.motion.follow(target))
    assert np.abs(arm.velocities[:, 0]).max() < 0.25 * CONTRACT.max_velocity[0]


# -- keys and gamepad -----------------------------------------------------------------------


def test_keys_move_their_joint_both_ways():
    arm = Arm().engage()
    keys = KeyJogger(arm.motion)
    for joint, (plus, minus) in enumerate(('qa', 'ws', 'ed', 'rf', 'tg', 'yh')):
        before = arm.motion.commanded(arm.now)[0]
        assert keys.press(plus, arm.now)
        arm.run(0.5)
        moved = arm.state - before
        assert moved[joint] == pytest.approx(JOINT_STEP, abs=2e-3)
        assert keys.press(minus, arm.now)
        arm.run(0.5)
        assert arm.state == pytest.approx(before, abs=2e-3)


def test_speed_keys_scale_the_step():
    arm = Arm().engage()
    keys = KeyJogger(arm.motion)
    for _ in range(9):
        keys.press('-', arm.now)
    assert keys.scale == 0.25
    keys.press('q', arm.now)
    start = arm.state[0]
    arm.run(0.5)
    assert arm.state[0] - start == pytest.approx(0.25 * JOINT_STEP, abs=1e-3)
    for _ in range(9):
        keys.press('+', arm.now)
    assert keys.scale == 2.0


def test_tool_and_gripper_keys():
    arm = Arm().engage()
    keys = KeyJogger(arm.motion)
    position = arm.kinematics.tool_pose(arm.state[:-1])[0]
    keys.press('u', arm.now)
    keys.press('c', arm.now)
    arm.run(1.5)
    reached = arm.kinematics.tool_pose(arm.state[:-1])[0]
    assert reached - position == pytest.approx([0, 0, 0.008], abs=1e-3)
    assert arm.state[-1] == pytest.approx(0.0, abs=1e-3)


def test_key_without_meaning_is_told_from_the_others():
    assert not KeyJogger(Arm().engage().motion).press('§', 0.0)


def test_gamepad_needs_its_deadman_button():
    arm = Arm().engage()
    pad = PadJogger(arm.motion, PadSettings(deadman=0, axes=(0, 1, 2)))
    assert not pad.update([1.0, 0, 0], [0], 0.02, arm.now)
    arm.run(0.5)
    assert np.ptp(np.array(arm.path)[:, :-1], axis=0).max() < 1e-6
    position = arm.kinematics.tool_pose(arm.state[:-1])[0]
    arm.run(1.0, lambda t: pad.update([0.0, 0.0, 1.0], [1], TICK, arm.now))
    arm.run(1.0)
    moved = arm.kinematics.tool_pose(arm.state[:-1])[0] - position
    assert moved == pytest.approx([0, 0, 0.08], abs=0.01)


def test_gamepad_at_rest_and_missing_axes_do_nothing():
    arm = Arm().engage()
    pad = PadJogger(arm.motion)
    assert pad.update([0.05, -0.08], [0, 0, 0, 0, 1], 0.02, arm.now)
    arm.run(0.5)
    assert np.ptp(np.array(arm.path)[:, :-1], axis=0).max() < 1e-6


# -- the leader's joint states ----------------------------------------------------------------


def test_leader_with_other_names_and_gripper_units_is_understood():
    names = [f'joint{i}' for i in range(1, 7)] + ['trigger']
    leader = Leader(CONTRACT, names, open_position=1000.0, closed_position=0.0)
    leader.receive(names[::-1], [250.0, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 1.0)
    assert leader.target == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.25])


def test_leader_velocity_is_smooth_despite_integer_counts():
    leader, count = Leader(CONTRACT), 2 * np.pi / 4096
    velocities = []
    for i in range(200):
        position = np.trunc(0.5 * i * 0.02 / count) * count
        leader.receive(CONTRACT.names, [position, 0, 0, 0, 0, 0, 0], i * 0.02)
        velocities.append(leader.velocity[0])
    assert np.mean(velocities[50:]) == pytest.approx(0.5, abs=0.02)
    assert np.std(velocities[50:]) < 0.05


def test_silent_leader_is_a_problem():
    leader = Leader(CONTRACT)
    assert 'sends no joint states' in leader.problem(0.0)
    leader.receive(CONTRACT.names, np.zeros(7), 1.0)
    assert leader.problem(1.2) == ''
    assert 'silent for 0.5 s' in leader.problem(1.5)


def test_wrong_leader_is_named():
    with pytest.raises(ContractError, match='3 joint names, expected 7'):
        Leader(CONTRACT, ['a', 'b', 'c'])
    leader = Leader(CONTRACT)
    leader.receive(['x'], [0.0], 0.0)
    assert 'no Joint1' in leader.problem(0.0) and 'published are x' in leader.problem(0.0)
