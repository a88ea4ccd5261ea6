# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From the latest messages to an observation, or to the reason why there is none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from vla_adapter_ros.control.clock import Arrival
from vla_adapter_ros.control.observation_inputs import Inputs, InputSettings
from vla_adapter_ros.errors import DamagedImageError, ObservationError
from vla_adapter_ros.robot.contract import resolve_contract

CONTRACT = resolve_contract('alicia_d_sim')
JOINTS = [0.1, 0.2, 0.3, 0.0, -0.5, 0.0, 0.005]


def at(stamp, now):
    return Arrival.of(stamp, now, now)


def image(value, width=320, height=240):
    data = np.full((height, width, 3), value, np.uint8)
    return SimpleNamespace(
        encoding='rgb8', height=height, width=width, step=3 * width, is_bigendian=0,
        data=data.tobytes(),
    )  # fmt: skip


@pytest.fixture
def inputs():
    inputs = Inputs(CONTRACT, InputSettings(0.2, 0.2, 0.1))
    feed(inputs, 10.0)
    return inputs


def feed(inputs, now, wrist_stamp=None):
    inputs.receive_joint_state(CONTRACT.names, JOINTS, at(now, now), None)
    inputs.receive_image('third_person', image(1), at(now - 0.03, now))
    inputs.receive_image('wrist', image(2), at(now if wrist_stamp is None else wrist_stamp, now))


def test_observation_holds_images_state_and_the_oldest_stamp(inputs):
    assert inputs.skip(10.05) is None
    observation = inputs.snapshot('reach').observe()
    assert list(observation.images) == ['third_person', 'wrist']
    assert observation.images['wrist'].shape == (240, 320, 3)
    assert observation.images['wrist'][0, 0, 0] == 2
    assert observation.stamp == pytest.approx(9.97)
    # 0.005 m of 0.025 m closed: four fifths open.
    np.testing.assert_allclose(observation.proprioception, [*JOINTS[:6], 0.8])


@pytest.mark.parametrize(
    ('stamp', 'seen'),
    [
        (20.205, 0.205),
        (20.27, 0.27),
        # Nothing is kept from before what an image may be older.
        (20.0, 0.18),
        # Joint states that are older than the images are what there is.
        (20.35, 0.29),
    ],
)
def test_the_joint_state_is_of_the_moment_of_the_oldest_image(inputs, stamp, seen):
    inputs.reset()
    for k in range(30):
        joints = [0.01 * k, *JOINTS[1:]]
        inputs.receive_joint_state(CONTRACT.names, joints, at(20 + 0.01 * k, 20 + 0.01 * k), None)
    now = max(stamp, 20.29)
    inputs.receive_image('third_person', image(1), at(now, now))
    inputs.receive_image('wrist', image(2), at(stamp, now))
    assert inputs.snapshot('reach').state[0] == pytest.approx(seen, abs=1e-6)


def test_a_snapshot_is_not_changed_by_later_messages(inputs):
    snapshot = inputs.snapshot('reach')
    feed(inputs, 11.0)
    inputs.receive_image('wrist', image(9), at(11.0, 11.0))
    assert snapshot.observe().images['wrist'][0, 0, 0] == 2


def test_stale_image_and_skew_are_named_and_counted(inputs):
    assert inputs.skip(10.3).text.startswith('stale joint states')
    feed(inputs, 12.0, wrist_stamp=11.85)
    assert 'between wrist image and' in inputs.skip(12.0).text
    assert sum(inputs.skipped.values()) == 2


def test_wrong_size_names_the_camera_and_both_sizes(inputs):
    inputs.receive_image('wrist', image(2, 640, 480), at(10.0, 10.0))
    with pytest.raises(ObservationError, match='wrist image is 640×480.*says 320×240'):
        inputs.snapshot('reach').observe()


def test_gap_and_fault_of_the_joint_state_are_told_apart(inputs):
    assert inputs.state_gap(10.1) == inputs.state_fault(10.1) == ''
    assert 'stale' in inputs.state_gap(10.5)
    assert inputs.state_fault(10.5) == ''
    feed(inputs, 11.0)
    inputs.receive_joint_state(CONTRACT.names, [np.nan] * 7, at(11.0, 11.0), None)
    assert 'Joint1 is nan' in inputs.state_fault(11.0)


def test_joint_states_that_come_back_unreadable_are_a_fault_until_they_stop(inputs):
    assert 'stale' in inputs.state_gap(11.0) and inputs.state_fault(11.0) == ''
    inputs.receive_joint_state(CONTRACT.names, [np.nan] * 7, at(11.0, 11.0), None)
    assert 'Joint1 is nan' in inputs.state_fault(11.1)
    assert inputs.state_fault(11.3) == ''
    feed(inputs, 12.0)
    assert inputs.state_fault(12.0) == ''


def test_joint_states_split_over_publishers_are_complete_once_all_have_arrived():
    inputs = Inputs(CONTRACT, InputSettings(0.2, 0.2, 0.1))
    inputs.receive_joint_state(CONTRACT.joint_names, JOINTS[:6], at(10.0, 10.0), None)
    assert 'no Gripper' in inputs.state_problem(10.0)
    assert 'driver_name' in inputs.skip(10.0).text
    assert inputs.state_fault(10.0) == ''
    inputs.receive_joint_state(['Gripper'], JOINTS[6:], at(10.01, 10.01), None)
    inputs.receive_joint_state(['wheel'], [5.0], at(10.01, 10.01), None)
    inputs.receive_joint_state(CONTRACT.joint_names, JOINTS[:6], at(10.02, 10.02), None)
    assert inputs.state_problem(10.02) == ''
    np.testing.assert_allclose(inputs.state, [*JOINTS[:6], 0.8])


def test_an_arm_that_falls_silent_beside_its_gripper_is_a_gap():
    inputs = Inputs(CONTRACT, InputSettings(0.2, 0.2, 0.1))
    for tick in range(100):
        now = 10.0 + 0.01 * tick
        inputs.receive_joint_state(['Gripper'], JOINTS[6:], at(now, now), None)
        if tick < 50:
            inputs.receive_joint_state(CONTRACT.joint_names, JOINTS[:6], at(now, now), None)
    assert inputs.state_gap(10.6) == ''
    assert 'Joint6 no longer published' in inputs.state_gap(10.99)


def test_inputs_without_stamps_are_judged_by_their_arrival():
    inputs = Inputs(CONTRACT, InputSettings(0.2, 0.2, 0.1))
    inputs.receive_joint_state(CONTRACT.names, JOINTS, at(0.0, 10.0), None)
    inputs.receive_image('third_person', image(1), at(0.0, 10.01))
    inputs.receive_image('wrist', image(2), at(10.0, 10.02))
    assert inputs.problem(10.05) is None
    assert inputs.snapshot('reach').observe().stamp == pytest.approx(10.0)
    assert 'stale joint states' in inputs.problem(10.25).text
    feed(inputs, 11.0)
    inputs.receive_image('wrist', image(2), at(0.0, 11.12))
    assert 'between third_person image and wrist image' in inputs.problem(11.12).text


def test_a_silent_camera_and_inputs_far_apart_are_gaps_with_the_way_out():
    inputs = Inputs(CONTRACT, InputSettings(0.2, 0.2, 0.1))
    inputs.why_silent = lambda camera: f'nobody publishes {camera}'
    inputs.receive_joint_state(CONTRACT.names, JOINTS, at(10.0, 10.0), None)
    inputs.receive_image('third_person', image(1), at(10.0, 10.0))
    assert inputs.gap(10.0) == 'no wrist image yet: nobody publishes wrist'
    inputs.receive_image('wrist', image(1), at(9.85, 10.0))
    assert 'between wrist image and' in inputs.gap(10.0)
    inputs.receive_image('wrist', image(1), at(10.0, 10.0))
    assert inputs.gap(10.0) == ''


def test_an_older_image_does_not_replace_a_newer_one(inputs):
    inputs.receive_image('wrist', image(7), at(10.04, 10.05))
    inputs.receive_image('wrist', image(8), at(10.0, 10.06))
    assert inputs.snapshot('reach').observe().images['wrist'][0, 0, 0] == 7


def test_a_damaged_image_is_told_from_a_wrong_one(inputs):
    cut = image(2)
    cut.data = cut.data[:-1]
    inputs.receive_image('wrist', cut, at(10.0, 10.0))
    with pytest.raises(DamagedImageError, match='wrist image data of'):
        inputs.snapshot('reach').observe()


def test_two_publishers_of_one_joint_are_a_fault_that_names_both(inputs):
    inputs.joint_publishers = lambda: ['driver', 'gui']
    for i in range(4):
        joints = JOINTS if i % 2 else [0.0] * 7
        now = 10.0 + 0.01 * i
        inputs.receive_joint_state(CONTRACT.names, joints, at(now, now), None)
    fault = inputs.state_fault(10.03)
    assert 'alternates between' in fault and fault.endswith('two nodes publish it (driver, gui)')
