# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest

from support.motion_helpers import HOME, supervised
from vla_adapter_ros.control.plausibility import PlausibilityMonitor

ZERO = np.zeros(7)


def monitor(max_age=0.5, **bounds):
    return PlausibilityMonitor(supervised(**bounds), max_age)


def feed(watched, states, commands=None, start=0.0, period=0.02):
    """Feed states at 50 Hz; returns the reasons."""
    commands = [None] * len(states) if commands is None else commands
    times = start + period * np.arange(len(states))
    return [
        watched.observe(s, float(t), c) for s, t, c in zip(states, times, commands, strict=True)
    ]


def test_measured_state_is_believed():
    noise = np.random.default_rng(0).normal(0.0, 1e-3, (50, 7))
    watched = monitor()
    assert set(feed(watched, HOME + noise)) == {''}
    assert watched.reason(50 * 0.02) == ''


def test_nothing_received_is_said():
    assert monitor().reason(3.0) == 'no joint state received yet'


def test_exact_zeros_at_start_are_no_data_but_later_they_are():
    watched = monitor()
    assert 'exactly zero' in watched.observe(ZERO, 0.0)
    # The gripper reads something else while the arm joints have no data yet.
    assert 'exactly zero' in watched.observe(np.append(np.zeros(6), 1.0), 0.02)
    assert watched.observe(HOME * 0.05, 0.04) == ''
    assert watched.observe(ZERO, 0.1) == ''


def test_zeros_far_from_where_the_arm_was_seen_are_a_driver_that_was_restarted():
    watched = monitor()
    there = np.array([0.1, 0.2, 0.3, 0.0, -0.5, 0.0, 1.0])
    assert watched.observe(there, 0.0) == ''
    for i in range(1, 5):
        assert 'the driver lost the arm' in watched.observe(ZERO, 0.02 * i)
    assert watched.observe(there, 0.2) == ''


def test_an_arm_that_comes_to_its_zero_pose_is_believed():
    watched = monitor()
    for i, share in enumerate((0.2, 0.1, 0.02, 0.0, 0.0)):
        assert watched.observe(np.full(7, share), 0.02 * i) == ''


def test_zeros_at_start_can_be_allowed():
    assert monitor(refuse_zeros_at_start=False).observe(ZERO, 0.0) == ''


def test_minus_pi_on_all_joints_is_a_dead_bus():
    reasons = feed(monitor(), [HOME, np.append(np.full(6, -np.pi + 1e-4), 1.0)])
    assert '−π' in reasons[1]


def test_joint_far_outside_its_range_is_not_believed():
    state = HOME.copy()
    state[1] = 1.9
    assert 'Joint2 measured at 1.900 rad' in monitor().observe(state, 0.0)
    state[1] = 1.6
    assert monitor().observe(state, 0.0) == ''


def test_jump_no_arm_can_make_is_not_believed():
    jumped = HOME + np.array([0, 0, 0, 1.5, 0, 0, 0])
    assert 'measured position of Joint4 jumped by 1.50 rad' in feed(monitor(), [HOME, jumped])[1]


def test_refresh_slower_than_the_messages_is_no_jump():
    # 200 Hz messages with positions of 20 Hz, at 3 rad/s.
    states = [HOME + 0.15 * (i // 10) * np.array([1, 0, 0, 0, 0, 0, 0]) for i in range(100)]
    watched = monitor()
    assert set(feed(watched, states, period=0.005)) == {''}


def test_state_that_stands_still_while_the_command_moves_is_frozen():
    commands = [HOME + 0.01 * i * np.array([1, 0, 0, 0, 0, 0, 0]) for i in range(60)]
    reasons = feed(monitor(), [HOME] * 60, commands)
    assert reasons[10] == ''
    assert 'frozen for' in reasons[40]


def test_state_that_stands_still_with_its_command_is_not_frozen():
    assert set(feed(monitor(), [HOME] * 200, [HOME] * 200)) == {''}


def test_frozen_time_restarts_after_each_change():
    states = [HOME + 1e-4 * (i // 20) for i in range(100)]
    commands = [HOME + 0.005 * i * np.array([1, 0, 0, 0, 0, 0, 0]) for i in range(100)]
    assert set(feed(monitor(), states, commands)) == {''}


def test_stale_by_receive_time_whatever_the_stamp():
    watched = monitor(max_age=0.2)
    watched.observe(HOME, 1.0)
    assert watched.reason(1.1) == ''
    assert watched.reason(1.52) == 'stale joint state 0.52 s > 0.20 s'


def test_unreadable_message_is_the_reason_until_a_good_one_comes():
    watched = monitor()
    watched.reject('joint state: missing Joint3', 0.0)
    assert watched.reason(0.01) == 'joint state: missing Joint3'
    watched.observe(HOME, 0.02)
    assert watched.reason(0.03) == ''


@pytest.mark.parametrize('back', [-50.0, -0.3])
def test_clock_that_goes_back_does_not_look_frozen(back):
    commands = [HOME + 0.01 * i * np.array([1, 0, 0, 0, 0, 0, 0]) for i in range(60)]
    watched = monitor()
    feed(watched, [HOME] * 20, commands[:20], start=100.0)
    reasons = feed(watched, [HOME] * 20, commands[20:40], start=100.4 + back)
    assert reasons[0] == ''
