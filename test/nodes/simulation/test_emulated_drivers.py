# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The emulated drivers on the real graph behave as the vendor's do, traps included."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from support.driver_client import JOINTS, DriverClient
from support.ros_harness import NodeProcess, isolated_environment, wait_until
from vla_adapter_ros.control.plausibility import PlausibilityMonitor
from vla_adapter_ros.nodes.common.messages import to_seconds
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.robot.joint_state import JointStateReader

START = np.array([0.2, -0.3, 0.6, 0.1, 0.5, 0.0])
COUNTS = 4e-3  # two counts of the servos [rad]
B, A = 'emulated_standalone_driver', 'emulated_ros2_control'
HAND = '/alicia_d_driver_node/hand'


@pytest.fixture
def start():
    running = []

    def start(module, **parameters):
        environment = isolated_environment()
        client = DriverClient(environment)
        running.extend([NodeProcess(module, parameters, environment), client])
        client.process = running[-2]
        client.wait_for_states()
        if parameters.get('first_reply_after') == 0.0:
            # A state or two may come before the answer.
            wait_until(lambda: client.joints.any(), 10, 'first answer')
        return client

    yield start
    for item in running:
        item.close() if isinstance(item, DriverClient) else item.stop()


def near(client, target):
    return lambda: np.abs(client.joints - target).max() < COUNTS


def all_of(target):
    return {**dict(zip(JOINTS, target))}


# -- front end B: the standalone driver -------------------------------------------------------


def test_standalone_driver_publishes_zeros_before_the_first_answer(start):
    client = start(B, first_reply_after=4.0)
    assert not client.history()[0].any()
    wait_until(near(client, START), 10, 'first answer')
    stamps = [to_seconds(s.header.stamp) for s in client.states]
    assert np.all(np.diff(stamps) > 0)  # fresh all along: age says nothing


def test_standalone_driver_names_joints_in_order_at_100_hz(start):
    client = start(B)
    client.wait_for_states(100)
    assert list(client.states[-1].name) == [*JOINTS, 'Gripper']
    assert np.median(np.diff(client.times[-80:])) == pytest.approx(0.01, abs=0.004)


def test_missing_joint_is_driven_to_zero(start):
    client = start(B, first_reply_after=0.0)
    client.command({'Joint1': 0.3, 'Gripper': 1000}, speed=2.0)
    wait_until(near(client, np.array([0.3, 0, 0, 0, 0, 0])), 10, 'the other joints at zero')


def test_common_speed_is_the_largest_of_the_message(start):
    client = start(B, first_reply_after=0.0)
    target = START + np.array([0.6, 0.6, 0, 0, 0, 0])
    client.command(all_of(target), speed=0.6)
    begin = time.monotonic()
    wait_until(near(client, target), 10, 'target')
    assert 0.7 < time.monotonic() - begin < 2.0


def test_default_speed_applies_without_velocities(start):
    client = start(B, first_reply_after=0.0, default_speed_deg_s=60.0)
    target = START + np.array([0.6, 0, 0, 0, 0, 0])
    client.command(all_of(target))
    begin = time.monotonic()
    wait_until(near(client, target), 10, 'target')
    assert 0.4 < time.monotonic() - begin < 1.5  # 0.6 rad at 60 deg/s


def test_gripper_command_counts_to_1000_and_state_is_metres(start):
    client = start(B, first_reply_after=0.0)
    assert client.gripper == pytest.approx(0.0)
    client.command({**all_of(START), 'Gripper': 0.0})
    wait_until(lambda: client.gripper > 0.0249, 10, 'closed gripper')
    client.command(all_of(START))  # without the gripper: it stays
    client.wait_for_states(30)
    assert client.gripper > 0.0249


def test_nothing_stops_it_at_the_limits_of_the_arm(start):
    client = start(B, first_reply_after=0.0)
    client.command(all_of([0, 2.5, 0, 0, 0, 0]), speed=6.0)
    wait_until(lambda: client.joints[1] > 2.4, 10, 'beyond the limit')


def test_demonstration_lets_the_arm_go(start):
    client = start(B, first_reply_after=0.0)
    client.wait_for_states(10)
    client.flag('/demonstration', True)
    wait_until(lambda: np.abs(client.joints - START).max() > 0.2, 10, 'falling')
    client.flag('/demonstration', False)
    client.wait_for_states(20)
    held = client.joints
    client.wait_for_states(50)
    assert np.abs(client.joints - held).max() < COUNTS


def test_zero_calibration_needs_one_message(start):
    client = start(B, first_reply_after=0.0)
    wait_until(near(client, START), 10, 'first answer')
    client.flag('/zero_calibrate', False)
    client.wait_for_states(20)
    assert np.abs(client.joints - START).max() < COUNTS
    client.flag('/zero_calibrate', True)
    wait_until(near(client, np.zeros(6)), 10, 'zeros')


# -- front end A: ros2_control ----------------------------------------------------------------


def test_ros2_control_drives_to_zero_at_activation(start):
    client = start(A)
    assert np.abs(client.history()[0]).max() > 0.1
    wait_until(near(client, np.zeros(6)), 10, 'the zero pose')


def test_ros2_control_patched_stays_where_it_is(start):
    client = start(A, startup_motion=False)
    client.wait_for_states(200)
    assert np.abs(client.history() - START).max() < COUNTS


def test_ros2_control_has_200_hz_stamps_on_20_hz_positions_in_any_order(start):
    # Slow, so that the start-up motion lasts while a busy machine looks.
    client = start(A, default_speed_deg_s=5.0)
    client.wait_for_states(200)
    states = client.history()[-150:]
    changes = np.flatnonzero(np.any(np.diff(states, axis=0) != 0, axis=1))
    assert np.median(np.diff(client.times[-150:])) == pytest.approx(0.005, abs=0.003)
    assert np.median(np.diff(changes)) > 6
    assert list(client.states[-1].name) != [*JOINTS, 'Gripper']
    assert sorted(client.states[-1].name) == sorted([*JOINTS, 'Gripper'])


def test_trajectory_is_followed_at_the_drivers_speed_not_its_own(start):
    client = start(A, startup_motion=False, default_speed_deg_s=30.0)
    target = START + np.array([0.6, 0, 0, 0, 0, 0])
    begin = time.monotonic()
    client.trajectory('Alicia_controller', JOINTS, [(0.1, target)])
    wait_until(near(client, target), 10, 'target')
    assert time.monotonic() - begin > 0.9  # 0.6 rad at 30 deg/s, whatever was asked


def test_gripper_trajectory_is_in_metres(start):
    client = start(A, startup_motion=False)
    client.trajectory('Gripper_controller', ['Gripper'], [(0.3, [0.025])])
    wait_until(lambda: client.gripper > 0.0249, 10, 'closed gripper')


@pytest.mark.parametrize('names', [JOINTS[:5], [*JOINTS[:5], 'Joint7']])
def test_partial_or_unknown_joints_are_refused(start, names):
    client = start(A, startup_motion=False)
    client.trajectory('Alicia_controller', names, [(0.2, np.zeros(len(names)))])
    client.process.wait_for_log('refused a trajectory', 10)
    client.wait_for_states(100)
    assert np.abs(client.joints - START).max() < COUNTS


def test_empty_trajectory_stops_the_arm(start):
    client = start(A, startup_motion=False)
    client.trajectory('Alicia_controller', JOINTS, [(4.0, START + np.array([1, 0, 0, 0, 0, 0]))])
    wait_until(lambda: client.joints[0] > 0.4, 10, 'motion')
    client.trajectory('Alicia_controller', [], [])
    client.wait_for_states(60)
    held = client.joints
    client.wait_for_states(100)
    assert held[0] < 1.0
    assert np.abs(client.joints - held).max() < 2 * COUNTS


# -- faults, judged by what a policy node judges with -----------------------------------------


def judge(client, messages=60):
    """Reasons that the plausibility monitor gives for the next joint states."""
    contract = resolve_contract('alicia_d')
    reader, monitor = JointStateReader(contract), PlausibilityMonitor(contract)
    first = len(client.states)
    client.wait_for_states(messages)
    reasons = []
    for time_, state in zip(client.times[first:], client.states[first:]):
        start = client.states[first]
        commanded = reader.receive(start.name, start.position, 0.0, 0.0).state
        commanded[0] += 2.0 * (time_ - client.times[first])  # a command that moves
        values = reader.receive(state.name, state.position, 0.0, 0.0).state
        reasons.append(monitor.observe(values, time_, commanded))
    return reasons


@pytest.mark.parametrize('module', [A, B])
@pytest.mark.parametrize(
    ('fault', 'reason'),
    [('no_reply', 'exactly zero on all joints'), ('raw_zero', '−π on all joints'),
     ('frozen', 'frozen for')],
)
def test_fault_of_the_driver_is_recognised(start, module, fault, reason):
    extra = {'startup_motion': False} if module == A else {'first_reply_after': 0.0}
    client = start(module, **extra)
    node = 'controller_manager' if module == A else 'alicia_d_driver_node'
    assert not any('zero' in r or 'π' in r for r in judge(client, 20))
    assert client.set_parameter(node, 'fault', fault)[0]
    client.wait_for_states(20)
    assert reason in judge(client, 250 if module == A else 125)[-1]


def test_silent_driver_sends_nothing(start):
    client = start(B)
    assert client.set_parameter('alicia_d_driver_node', 'fault', 'silent')[0]
    time.sleep(0.2)
    seen = len(client.states)
    time.sleep(0.5)
    assert len(client.states) == seen
    assert not client.set_parameter('alicia_d_driver_node', 'fault', 'nonsense')[0]


def test_inverted_gripper_reports_open_for_closed(start):
    client = start(B, first_reply_after=0.0, fault='gripper_inverted')
    assert client.gripper == pytest.approx(0.025)
    client.command({**all_of(START), 'Gripper': 0.0})
    wait_until(lambda: client.gripper < 0.001, 10, 'closed, reported as open')
