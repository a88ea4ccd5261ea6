# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Verdicts on what the topics of a robot showed."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from vla_adapter_ros.preflight.checks import FAIL, PASS, SKIP, WARN
from vla_adapter_ros.preflight.driver_checks import (
    check_driver,
    check_driver_settings,
    check_workspace,
)
from vla_adapter_ros.preflight.input_checks import (
    TopicRecord,
    check_camera,
    check_clock,
    check_gripper_answer,
    check_gripper_range,
    check_joint_states,
    check_pose,
)
from vla_adapter_ros.robot.alicia_d import read_description
from vla_adapter_ros.robot.contract import CameraSpec, contract_path, resolve_contract

CONTRACT = resolve_contract('alicia_d')
STANDALONE = resolve_contract('alicia_d_standalone')
CAMERA = CameraSpec(640, 480, 0, 'fixed')
ARM_TOPIC, GRIPPER_TOPIC = CONTRACT.front_end.arm_topic, CONTRACT.front_end.gripper_topic


def image(width=640, height=480, encoding='rgb8'):
    data = np.zeros((height, width, 3), np.uint8)
    data[0, 0] = (255, 0, 0)
    return SimpleNamespace(encoding=encoding, width=width, height=height, step=width * 3,
                           data=data.tobytes(), is_bigendian=0)


def record(rate=30.0, age=0.01, publishers=('camera',), message=None, distinct=50):
    return TopicRecord('/wrist/image', list(publishers), [i / rate for i in range(60)],
                       [age] * 60, image() if message is None else message, distinct)


def camera_check(**changes):
    return check_camera('wrist', record(**changes), CAMERA, 0.1)[0]


def test_good_camera_passes():
    check, seen = check_camera('wrist', record(), CAMERA, 0.1)
    assert check.verdict == PASS
    assert '640×480 rgb8, 30.0 Hz, 10 ms old' in check.detail
    assert seen.shape == (480, 640, 3)


def test_image_is_turned_as_the_policy_gets_it():
    turned = CameraSpec(640, 480, 90, 'wrist')
    seen = check_camera('wrist', record(), turned, 0.1)[1]
    assert seen.shape == (640, 480, 3)
    assert seen[0, -1].tolist() == [255, 0, 0]  # top left goes to top right, clockwise


@pytest.mark.parametrize(
    ('changes', 'verdict', 'words'),
    [
        ({'message': image(320, 240)}, FAIL, 'image is 320×240 pixels, the contract says 640×480'),
        ({'message': image(encoding='16UC1')}, FAIL, 'more than 8 bits'),
        ({'rate': 5.0}, FAIL, 'slower than the 10 Hz of the policy'),
        ({'rate': 15.0}, WARN, 'more than 20 Hz is better'),
        ({'age': 0.5}, FAIL, 'stamps are 0.50 s old'),
        ({'age': -3.0}, FAIL, 'stamps are 3.00 s in the future'),
        ({'publishers': ('a', 'b')}, FAIL, '2 nodes publish it (a, b): stop all but one'),
        ({'distinct': 1}, WARN, 'all images are identical'),
    ],
)
def test_camera_fault_is_named(changes, verdict, words):
    check = camera_check(**changes)
    assert check.verdict == verdict
    assert words in check.detail


def test_silent_camera_is_told_from_a_missing_one():
    offered = check_camera('wrist', TopicRecord('/t', ['node']), CAMERA, 0.1)[0]
    missing = check_camera('wrist', TopicRecord('/t'), CAMERA, 0.1)[0]
    assert 'node publishes /t but nothing arrives' in offered.detail
    assert 'no node publishes /t; start its camera node' in missing.detail
    assert offered.verdict == missing.verdict == FAIL


def states(positions=(0.1, -0.2, 0.5, 0, 0.3, 0, 0.0), names=None, count=60):
    names = list(CONTRACT.names) if names is None else names
    message = SimpleNamespace(name=names, position=list(positions))
    return [(i * 0.01, message) for i in range(count)]


def joint_record(rate=100.0, age=0.0, publishers=('driver',)):
    return TopicRecord('/joint_states', list(publishers), [i / rate for i in range(60)],
                       [age] * 60)


def test_good_joint_states_pass():
    checks = check_joint_states(joint_record(), states(), CONTRACT)
    assert [c.verdict for c in checks] == [PASS] * 3
    assert '/joint_states: 100 Hz from driver' in checks[0].detail
    assert 'Joint3 +0.50' in checks[1].detail


def test_a_camera_that_publishes_by_the_other_transport_is_named_with_the_way_out():
    record = TopicRecord(
        '/wrist/image', other_topic='/wrist/image/compressed', other_publishers=['camera']
    )
    check, image = check_camera('wrist', record, CONTRACT.cameras['wrist'], 0.1)
    assert (check.verdict, image) == (FAIL, None)
    assert check.detail == (
        'no node publishes /wrist/image, but camera publishes /wrist/image/compressed: use '
        'image_transport:=compressed'
    )


@pytest.mark.parametrize(
    ('messages', 'words'),
    [
        (states([0.0] * 7), "power and cable; its firmware must fit the driver"),
        (states([-np.pi] * 6 + [0.0]), 'power-cycle the arm'),
        (states([0.1] * 5 + [float('nan'), 0]), 'Joint6 is nan'),
        (states([0.1] * 7, [*(f'joint{i}' for i in range(1, 7)), 'right_finger']),
         'no Joint1, Joint2'),
        (states([0.1, 9.0, 0, 0, 0, 0, 0]), 'Joint2 measured at 9.000 rad'),
    ],
)
def test_joint_state_fault_is_named_with_the_way_out(messages, words):
    check = check_joint_states(joint_record(), messages, CONTRACT)[0]
    assert check.verdict == FAIL
    assert words in check.detail


def test_no_joint_states_is_one_line():
    checks = check_joint_states(TopicRecord('/joint_states'), [], CONTRACT)
    assert len(checks) == 1
    assert 'no node publishes /joint_states; start the driver' in checks[0].detail


def test_two_drivers_at_once_fail():
    check = check_joint_states(joint_record(publishers=('sim_arm', 'driver')), states(), CONTRACT)
    assert check[0].verdict == FAIL
    assert '2 nodes publish it (sim_arm, driver)' in check[0].detail


def test_pose_outside_the_limits_is_a_warning():
    check = check_pose(np.array([0, 1.6, 0, 0, 0, 0, 1.0]), CONTRACT)
    assert check.verdict == WARN
    assert 'Joint2 +1.600 outside [-1.57, 1.57]' in check.detail
    assert 'zero pose' in check_pose(np.zeros(7), CONTRACT).detail


def test_gripper_of_another_stroke_is_noticed():
    # A 100 mm gripper, closed: 0.05 m read with the contract of the 50 mm one.
    check = check_gripper_range(np.array([0, 0, 0, 0, 0, 0, 1 - 0.05 / 0.025]), CONTRACT)
    assert check.verdict == FAIL
    assert '0.0500 reads as -100% open' in check.detail


@pytest.mark.parametrize(
    ('fraction', 'answer', 'verdict'),
    [
        (1.0, 'open', PASS), (0.02, ' Closed ', PASS), (1.0, 'closed', FAIL),
        (0.0, 'open', FAIL), (0.5, 'open', SKIP), (1.0, 'yes', SKIP),
    ],
)
def test_inverted_gripper_is_found_by_asking(fraction, answer, verdict):
    check = check_gripper_answer(fraction, answer)
    assert check.verdict == verdict
    if verdict == FAIL:
        assert 'exchange open_position and closed_position' in check.detail


def driver_check(contract, listeners, others=()):
    return check_driver(contract, lambda topic: listeners.get(topic, []), lambda topic: [], others)


def test_driver_that_listens_passes():
    listeners = {ARM_TOPIC: ['controller'], GRIPPER_TOPIC: ['controller']}
    check = driver_check(CONTRACT, listeners)
    assert check.verdict == PASS


def test_missing_driver_and_other_front_end_are_told_apart():
    assert 'start the driver' in driver_check(CONTRACT, {}).detail
    other = driver_check(CONTRACT, {'joint_commands': ['alicia_d_driver_node']})
    assert other.verdict == FAIL
    assert 'use robot:=alicia_d_standalone' in other.detail
    reverse = driver_check(STANDALONE, {ARM_TOPIC: ['controller_manager']})
    assert 'use robot:=alicia_d' in reverse.detail


@pytest.mark.parametrize('servers', [[], ['hand']])
def test_a_gripper_behind_an_action_needs_a_server_of_it(servers):
    contract = resolve_contract('franka')
    published = {contract.front_end.gripper.status_topic: servers}
    check = check_driver(contract, lambda topic: ['controller'], lambda t: published.get(t, []))
    assert check.verdict == (PASS if servers else FAIL)
    said = 'no node serves the action fr3_gripper/gripper_action'
    assert (said in check.detail) == (not servers)


def test_second_commander_fails():
    listeners = {ARM_TOPIC: ['controller'], GRIPPER_TOPIC: ['controller']}
    check = driver_check(CONTRACT, listeners, ['/move_group'])
    assert check.verdict == FAIL
    assert 'also commanded by /move_group: stop it' in check.detail


def test_a_second_node_of_the_same_name_may_be_one_that_was_killed():
    listeners = {ARM_TOPIC: ['controller'], GRIPPER_TOPIC: ['controller']}
    others = ['/vla_adapter (a second node of this name)']
    detail = driver_check(CONTRACT, listeners, others).detail
    assert 'one that was killed is announced' in detail


def test_a_workspace_that_cannot_be_watched_fails(tmp_path):
    assert check_workspace(CONTRACT, contract_path('alicia_d').parent).verdict == PASS
    kinematics = replace(CONTRACT.kinematics, urdf='missing.urdf', urdf_text='')
    missing = check_workspace(replace(CONTRACT, kinematics=kinematics), tmp_path)
    assert missing.verdict == FAIL
    assert 'workspace of the contract cannot be watched' in missing.detail
    assert check_workspace(replace(CONTRACT, workspace=None), tmp_path).verdict == SKIP


def test_slow_driver_is_a_warning_with_the_launch_argument():
    slow, gripper = check_driver_settings(20.0, 0.025, CONTRACT)
    assert slow.verdict == WARN
    assert 'speed_deg_s:=58' in slow.detail
    assert gripper.verdict == PASS
    assert check_driver_settings(60.0, None, CONTRACT)[0].verdict == PASS
    assert check_driver_settings(None, None, CONTRACT)[0].verdict == SKIP


def test_wrong_gripper_type_fails():
    assert check_driver_settings(60.0, 0.05, CONTRACT)[1].verdict == FAIL


def test_driver_settings_are_read_from_the_robot_description():
    text = '<hardware><param name="gripper_type">100mm</param>\n<param name="default_speed_deg_s"'
    assert read_description(text + '> 30.0 </param></hardware>') == (30.0, 0.05)
    assert read_description('<robot/>') == (None, None)
    assert read_description(text + '>fast</param>') == (None, 0.05)


def test_clock_of_a_simulation_beside_a_real_robot_is_noticed():
    assert check_clock([], False).verdict == PASS
    assert check_clock(['sim_arm'], True).verdict == PASS
    assert check_clock(['sim_arm'], False).verdict == WARN
    assert check_clock([], True).verdict == FAIL
