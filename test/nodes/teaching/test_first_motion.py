# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The guided first motions find wrong joints, wrong signs and drivers that do not follow."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest

from vla_adapter_ros.preflight.checks import FAIL, PASS
from vla_adapter_ros.preflight.driver_checks import check_small_motion
from vla_adapter_ros.robot.contract import resolve_contract

CONTRACT = resolve_contract('alicia_d')
BEFORE = np.array([0.2, -0.3, 0.6, 0.1, 0.5, 0.0, 1.0])
A, B = 'emulated_ros2_control', 'emulated_standalone_driver'


@pytest.mark.parametrize(
    ('index', 'asked', 'moved', 'verdict', 'words'),
    [
        (0, 0.087, {0: 0.085}, PASS, 'sent from +0.200 to +0.287, measured +0.285 rad'),
        (0, 0.087, {0: -0.08}, FAIL, 'different signs or scales'),
        (0, 0.087, {1: 0.087}, FAIL, 'Joint2 +0.087 rad moved too'),
        (0, 0.087, {}, FAIL, 'it did not follow'),
        (2, -0.087, {2: -0.086, 1: 0.01}, PASS, '+0.514'),
        (6, -0.7, {6: -0.69}, PASS, 'open fraction'),
        (6, -0.7, {6: -0.3}, FAIL, 'gripper_open_command and open_position'),
        (6, -0.7, {6: -0.1}, FAIL, 'it did not follow'),
    ],
)
def test_motion_is_judged_by_what_moved(index, asked, moved, verdict, words):
    after = BEFORE.copy()
    for joint, change in moved.items():
        after[joint] += change
    check = check_small_motion(index, BEFORE[index] + asked, BEFORE, after, CONTRACT)
    assert check.verdict == verdict
    assert words in check.detail


@pytest.fixture
def bench(tmp_path):
    pytest.importorskip('rclpy', reason='needs ROS 2')
    from support.driver_client import DriverClient
    from support.node_starter import run_module
    from support.ros_harness import NodeProcess, isolated_environment

    running = []

    def run(driver, answers, **parameters):
        environment = isolated_environment()
        extra = {'startup_motion': False} if driver == A else {'first_reply_after': 0.0}
        node = NodeProcess(driver, {**extra, **parameters}, environment)
        client = DriverClient(environment)
        running.extend([node, client])
        client.wait_for_states(5)
        robot = 'alicia_d' if driver == A else 'alicia_d_standalone'
        result = run_module(
            'vla_adapter_ros.nodes.teaching.first_motion', ['--robot', robot], environment,
            tmp_path, '\n'.join(answers) + '\n', timeout=100,
        )  # fmt: skip
        return result, client

    yield run
    for item in running:
        item.close() if isinstance(item, DriverClient) else item.stop()


@pytest.mark.slow(reason='the complete check at its slow speed, for both drivers')
@pytest.mark.parametrize('driver', [A, B])
def test_good_arm_passes_slowly_and_ends_where_it_began(bench, driver):
    result, client = bench(driver, ['yes', *[''] * 7])
    assert result.returncode == 0, result.stdout + result.stderr
    assert '7 ok: ready' in result.stdout
    history = client.history()
    assert np.abs(history[-1] - history[0]).max() < 0.01
    assert 0.08 < np.abs(history - history[0]).max() < 0.1
    span = client.times[-1] - client.times[0]
    fastest = np.abs(history[40:] - history[:-40]).max() / (span / len(history) * 40)
    assert fastest < np.deg2rad(12)


def test_swapped_joints_are_found(bench):
    result, client = bench(B, ['yes', '', *['s'] * 6], fault='joints_swapped')
    assert result.returncode == 1
    assert 'the arm did not stay where it was when it was engaged' in result.stderr
    assert 'joint names, order and signs' in result.stderr
    # Nothing was asked of a joint of an arm that goes where nobody sends it.
    assert 'Enter to move' not in result.stdout
    # It rests: the state of Joint2 is Joint1's.
    assert np.ptp(client.history()[-10:, :2], axis=0).max() < 0.02


def test_gripper_whose_state_is_inverted_is_found(bench):
    result, _ = bench(A, ['yes', *['s'] * 6, ''], fault='gripper_inverted')
    assert result.returncode == 1
    said = result.stdout + result.stderr
    assert 'different signs or scales' in ' '.join(result.stdout.split()), said


def test_nothing_moves_without_a_yes(bench):
    result, client = bench(A, ['no'])
    assert result.returncode == 1
    assert 'not confirmed, nothing was moved' in result.stderr
    # A servo comes to rest within a count of where it stood when it was switched on.
    assert np.abs(client.history() - client.history()[0]).max() < 0.002


def test_arm_without_data_is_not_moved(bench):
    result, _ = bench(B, ['yes'], fault='no_reply')
    assert result.returncode == 1
    assert 'exactly zero on all joints' in result.stderr


@pytest.fixture
def arm():
    """A good arm: its environment, its driver, and a client of it."""
    pytest.importorskip('rclpy', reason='needs ROS 2')
    from support.driver_client import DriverClient
    from support.ros_harness import NodeProcess, isolated_environment

    environment = isolated_environment()
    driver = NodeProcess(A, {'startup_motion': False}, environment)
    client = DriverClient(environment)
    client.wait_for_states(5)
    yield environment, driver, client
    client.close()
    driver.stop()


@pytest.fixture
def moving(arm, tmp_path):
    """`first_motion` under way, its arm, and what it says."""
    from support.node_starter import StartedProcess
    from support.ros_harness import wait_until

    environment, driver, client = arm
    answers, log = tmp_path / 'answers', tmp_path / 'log'
    answers.write_text('yes\n\n' + 's\n' * 6)
    log.touch()
    process = StartedProcess(
        'vla_adapter_ros.nodes.teaching.first_motion', [], environment, log, text=answers
    )
    wait_until(lambda: 'Is the space clear' in log.read_text(), 30, 'the first question')
    yield process, driver, client, log
    process.kill()


def test_pause_of_its_process_is_not_taken_for_a_driver_that_fell_silent(moving):
    process, _, client, log = moving
    start, furthest = client.joints, 0.0
    # Joint states may be silent for 0.5 s.
    while furthest < 0.03 and process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.7)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        furthest = np.abs(client.joints - start).max()
    assert process.wait(30) == 0, log.read_text()
    assert '1 ok' in log.read_text()


def test_driver_that_falls_silent_in_mid_motion_is_named(moving):
    from support.ros_harness import wait_until

    process, driver, client, log = moving
    start = client.joints
    wait_until(lambda: np.abs(client.joints - start).max() > 0.015, 30, 'motion of a joint')
    driver.stop()
    assert process.wait(30) == 1
    assert 'Joint1: stale joint state' in log.read_text(), log.read_text()
    assert 'order and signs' not in log.read_text()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_ctrl_c_in_mid_motion_sends_a_hold(arm, tmp_path, number):
    from trajectory_msgs.msg import JointTrajectory

    from support.node_starter import StartedProcess
    from support.ros_harness import wait_until

    environment, _, client = arm
    sent = []
    client.node.create_subscription(
        JointTrajectory, '/Alicia_controller/joint_trajectory', sent.append, 10
    )
    client.wait_for_states(5)
    answers = tmp_path / 'answers'
    answers.write_text('yes\n' + '\n' * 20)

    def interrupted_in_motion(log):
        """Whether the signal came while the first joint moved; then a hold must come."""
        process = StartedProcess(
            'vla_adapter_ros.nodes.teaching.first_motion', [], environment, log, text=answers
        )
        start, before = client.joints, len(sent)
        try:
            # Under way, and heard here: a late subscription would not get the hold either.
            wait_until(
                lambda: (
                    process.poll() is not None
                    or (len(sent) > before and np.abs(client.joints - start).max() > 0.015)
                ),
                60, 'motion of a joint',
            )  # fmt: skip
            before = len(sent)
            process.send_signal(number)
            in_time = np.abs(client.joints - start).max() < 0.05  # of 0.087 rad
            assert process.wait(20) == 1, log.read_text()
        finally:
            process.kill()
        if 'first_motion: interrupted' not in log.read_text():
            assert 'stale joint state' in log.read_text()  # on a busy machine
            return False
        if in_time:
            wait_until(lambda: len(sent) > before, 5, 'the hold')
        return in_time

    # On a busy machine the arm may have come to rest before the signal: nothing is to be stopped.
    assert any(interrupted_in_motion(tmp_path / f'log_{n}') for n in range(4))
    client.wait_for_states(100)
    # It rests where it was told to stop, not at the end of the motion.
    held = sent[-1].points[-1].positions
    assert client.joints == pytest.approx(held, abs=0.01)
    assert not any(sent[-1].points[-1].velocities)
