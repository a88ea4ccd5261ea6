# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
from array import array
from dataclasses import replace

import numpy as np
import pytest

from support.motion_helpers import robot
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.robot.joint_state import JointStateReader

NAMES = [*robot().joint_names, 'Gripper']
VALUES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.005]
STATE = pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8])
ARM, ARM_VALUES = NAMES[:-1], VALUES[:-1]


def read(names, values):
    reader = JointStateReader(robot())
    reading = reader.receive(names, values, 0.0, 0.0)
    return None if reading is None else reading.state


def test_state_is_in_contract_order_with_open_fraction():
    state = read(NAMES, array('d', VALUES))
    assert state == STATE
    assert state.dtype == np.float64


def test_any_order_and_other_joints_are_fine():
    order = [3, 6, 0, 5, 1, 4, 2]
    names = ['spare', *(NAMES[i] for i in order)]
    values = [float('nan'), *(VALUES[i] for i in order)]
    assert read(names, values) == STATE


def test_order_may_change_from_message_to_message():
    reader = JointStateReader(robot())
    for i, step in enumerate((1, -1, 1)):
        assert reader.receive(NAMES[::step], VALUES[::step], i * 0.1, i * 0.1).state == STATE


def test_gripper_a_little_past_open_is_kept_as_measured():
    assert read(NAMES, [*VALUES[:-1], -0.00025])[-1] == pytest.approx(1.01)


@pytest.mark.parametrize(
    ('names', 'values', 'message'),
    [
        (NAMES, VALUES[:-1], '7 names but 6 positions'),
        (NAMES, [], '7 names but 0 positions'),
        (NAMES, [*VALUES[:2], float('nan'), *VALUES[3:]], 'Joint3 is nan'),
        (NAMES, [*VALUES[:-1], float('inf')], 'Gripper is inf'),
        ([*NAMES, 'Joint2'], [*VALUES, 0.0], 'Joint2 named more than once'),
    ],
)
def test_bad_state_is_refused_in_one_line_that_names_the_joint(names, values, message):
    with pytest.raises(ObservationError) as error:
        read(names, values)
    assert message in str(error.value) and '\n' not in str(error.value)


def test_bad_message_does_not_spoil_the_next():
    reader = JointStateReader(robot())
    with pytest.raises(ObservationError):
        reader.receive(NAMES, VALUES[:4], 0.0, 0.0)
    assert reader.receive(NAMES, VALUES, 0.1, 0.1).state == STATE


# Split over messages ---------------------------------------------------------------------------


def test_nothing_of_a_bad_message_is_taken_so_that_no_joint_looks_missing():
    reader = JointStateReader(robot())
    reader.receive(NAMES, VALUES, 0.0, 0.0)
    bad = [9.0, 9.0, float('nan'), *VALUES[3:]]
    for now in (0.4, 0.8, 1.2):
        with pytest.raises(ObservationError, match='Joint3 is nan'):
            reader.receive(NAMES, bad, now, now)
    assert reader.missing(1.2) == ''
    state = reader.receive(NAMES[2:], VALUES[2:], 0.3, 0.3).state
    assert state[:2].tolist() == VALUES[:2]


def test_arm_and_gripper_in_messages_of_their_own_make_one_state():
    reader = JointStateReader(robot(), max_age=0.2)
    assert reader.receive(ARM, ARM_VALUES, 0.99, 1.0) is None
    assert 'no Gripper' in reader.missing(1.0)
    assert reader.receive(['Gripper'], [0.005], 1.0, 1.01) is None
    assert reader.missing(1.01) == ''
    reading = reader.receive(ARM, ARM_VALUES, 1.01, 1.02)
    assert reading.state == STATE
    assert reading.stamp == 1.01


def test_a_gripper_does_not_make_an_arm_look_newer():
    reader = JointStateReader(robot(), max_age=0.2)
    reader.receive(ARM, ARM_VALUES, 1.0, 1.0)
    for i in range(100):
        assert reader.receive(['Gripper'], [0.005], 1.0 + i * 0.01, 1.0 + i * 0.01) is None
    assert reader.missing(1.99) == (
        'joint states: Joint1, Joint2, Joint3, Joint4, Joint5, Joint6 no longer published; '
        'other joints still are'
    )


def test_a_state_has_the_stamp_of_its_oldest_arm_joint():
    reader = JointStateReader(robot(), max_age=0.2)
    reader.receive(NAMES[3:], VALUES[3:], 1.0, 1.0)
    assert reader.receive(NAMES[:3], VALUES[:3], 1.1, 1.1).stamp == 1.0
    assert reader.receive(NAMES[3:], VALUES[3:], 1.15, 1.15).stamp == 1.1


def test_a_gripper_that_is_no_longer_published_makes_the_state_incomplete():
    reader = JointStateReader(robot(), max_age=0.2)
    reader.receive(['Gripper'], [0.005], 1.0, 1.0)
    assert reader.receive(ARM, ARM_VALUES, 1.2, 1.2) is not None
    assert reader.receive(ARM, ARM_VALUES, 1.3, 1.3) is None
    assert reader.missing(1.3).startswith('joint states: Gripper no longer published')


def test_messages_of_a_mobile_base_are_ignored_whatever_is_in_them():
    reader = JointStateReader(robot(), max_age=0.2)
    reader.receive(NAMES, VALUES, 1.0, 1.0)
    assert reader.receive(['wheel', 'wheel'], [float('nan')], 1.01, 1.01) is None
    assert reader.receive([], [], 1.01, 1.01) is None
    assert reader.receive(NAMES, VALUES, 1.02, 1.02).state == STATE


def test_a_missing_joint_is_named_with_what_is_published_and_the_ways_out():
    reader = JointStateReader(robot())
    assert reader.missing(0.0) == ''
    reader.receive([*ARM, 'finger_joint'], [*ARM_VALUES, 0.0], 1.0, 1.0)
    reader.receive(['wheel'], [0.0], 1.0, 1.0)
    text = reader.missing(1.0)
    assert text.startswith('joint states: no Gripper; published are Joint1')
    assert 'finger_joint, wheel.' in text
    assert 'driver_name' in text and 'remap' in text and '\n' not in text


def test_silence_of_all_joints_is_not_a_missing_joint():
    reader = JointStateReader(robot(), max_age=0.2)
    reader.receive(NAMES, VALUES, 1.0, 1.0)
    assert reader.missing(9.0) == ''


def test_names_of_many_kinds_of_message_do_not_pile_up():
    reader = JointStateReader(robot())
    for i in range(1000):
        reader.receive([f'joint_{i}'], [0.0], i, i)
    assert len(reader._kinds) <= 64


# Names of the driver ---------------------------------------------------------------------------


def renamed():
    base = robot()
    joints = tuple(
        replace(joint, driver_name=f'left_{i}') for i, joint in enumerate(base.joints)
    )
    gripper = replace(base.gripper, driver_name='finger_joint')
    return replace(base, joints=joints, gripper=gripper)


def test_joints_are_read_by_the_drivers_names():
    reader = JointStateReader(renamed())
    names = [*(f'left_{i}' for i in range(6)), 'finger_joint']
    assert reader.receive(names, VALUES, 0.0, 0.0).state == STATE
    other = JointStateReader(renamed())
    assert other.receive(NAMES, VALUES, 0.0, 0.0) is None
    assert 'no left_0 (Joint1), left_1 (Joint2)' in other.missing(0.0)


# Two sources of one joint ----------------------------------------------------------------------


def test_a_joint_that_alternates_between_two_values_has_two_sources():
    reader = JointStateReader(robot())
    other = [0.0] * 6 + [0.005]
    with pytest.raises(ObservationError, match='alternates between .* two nodes publish it'):
        for i in range(4):
            reader.receive(NAMES, (VALUES, other)[i % 2], i * 0.01, i * 0.01)


def test_an_arm_that_moves_to_and_fro_is_not_taken_for_two():
    reader = JointStateReader(robot())
    for i in range(400):
        values = [0.5 * np.sin(2 * np.pi * i * 0.02), *VALUES[1:]]
        assert reader.receive(NAMES, values, i * 0.02, i * 0.02) is not None


@pytest.mark.parametrize(
    ('messages', 'publishers', 'problem'),
    [
        ([NAMES], ['driver'], ''),
        ([ARM, ['Gripper']], ['arm', 'gripper'], ''),
        ([NAMES, ['wheel']], ['arm', 'base'], ''),
        ([NAMES, ARM], ['driver'], ''),
        ([NAMES], ['driver', 'gui'], 'not each with other joints'),
        ([NAMES, NAMES[::-1]], ['driver', 'gui'], 'not each with other joints'),
        ([NAMES, ['Gripper']], ['driver', 'gripper'], 'both with Gripper'),
    ],
)
def test_publishers_may_share_the_topic_but_no_joint(messages, publishers, problem):
    reader = JointStateReader(robot())
    for names in messages:
        reader.receive(names, [0.001] * len(names), 1.0, 1.0)
    found = reader.shared(publishers)
    assert problem in found and bool(problem) == bool(found)
    if problem:
        assert all(publisher in found for publisher in publishers)
