# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""An episode does not begin with inputs that the policy node would refuse."""

from __future__ import annotations

from array import array

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState

from support.data_samples import HEIGHT, WIDTH, contract, image
from vla_adapter_ros.nodes.common.messages import to_time
from vla_adapter_ros.nodes.recording.recorder_inputs import RecorderInputs
from vla_adapter_ros.nodes.recording.recorder_parameters import (
    RecorderParameters,
    recorded_topics,
)

START_S = 1000.0
PUBLISHERS = {'third_person/image': ['camera'], 'wrist/image': ['camera'], 'joint_states': ['arm']}


def picture(width=WIDTH):
    message = Image(height=HEIGHT, width=width, encoding='rgb8', step=3 * width)
    message.data = array('B', image(0, 1, width, HEIGHT).tobytes())
    return message


def state(names, positions):
    return JointState(name=list(names), position=array('d', positions))


def fed(make_image=picture, parts=None, image_age=0.03, stamped=True, publishers=PUBLISHERS):
    """Inputs after half a second; returns why an episode must not begin."""
    names = contract().driver_names
    parts = parts or [(names, [0.1] * 6 + [0.0])]
    topics = recorded_topics(RecorderParameters(), contract(), None)
    inputs = RecorderInputs(contract(), topics, publishers.__getitem__)
    now = START_S
    for _ in range(15):
        now += 1 / 30
        for camera in contract().cameras:
            message = make_image()
            message.header.stamp = to_time(now - image_age if stamped else 0.0)
            inputs.receive(f'{camera}/image', round(now * 1e9), serialize_message(message))
        for part in parts:
            message = state(*part)
            message.header.stamp = to_time(now if stamped else 0.0)
            inputs.receive('joint_states', round(now * 1e9), serialize_message(message))
    return inputs.problem(round((now + 0.01) * 1e9), 1.0)


def test_good_inputs_begin_an_episode_with_stamps_or_without():
    assert fed() == ''
    assert fed(stamped=False) == ''


@pytest.mark.parametrize(
    ('image_age', 'said'),
    [(1.0, 'stamps are 1.00 s old on arrival'), (-1.0, 'stamps are 1.00 s in the future')],
)
def test_a_camera_on_another_clock_is_refused(image_age, said):
    assert fed(image_age=image_age).startswith(f'third_person/image: {said}')


def test_images_that_are_not_the_contracts_are_refused():
    said = fed(lambda: picture(2 * WIDTH))
    assert f'image is {2 * WIDTH}×{HEIGHT} pixels, the contract says {WIDTH}×{HEIGHT}' in said


def test_split_joint_states_are_fine_and_a_missing_gripper_is_named():
    names = contract().driver_names
    arm, gripper = (names[:-1], [0.1] * 6), (names[-1:], [0.0])
    assert fed(parts=[arm, gripper]) == ''
    assert f'joint_states: joint states: no {names[-1]}' in fed(parts=[arm])


def test_zeros_of_a_driver_without_data_are_refused():
    assert 'exactly zero' in fed(parts=[(contract().driver_names, [0.0] * 7)])


def test_two_publishers_of_one_topic_are_refused_by_name():
    both = {**PUBLISHERS, 'wrist/image': ['a', 'b']}
    assert '2 nodes publish it (a, b)' in fed(publishers=both)
    both = {**PUBLISHERS, 'joint_states': ['arm', 'gui']}
    assert 'joint_states: 2 nodes publish it (arm, gui)' in fed(publishers=both)


def test_silence_names_every_silent_topic():
    topics = recorded_topics(RecorderParameters(), contract(), None)
    inputs = RecorderInputs(contract(), topics, PUBLISHERS.__getitem__)
    assert inputs.problem(0, 0.5) == (
        'no messages on third_person/image, wrist/image, joint_states in the last 0.5 s'
    )
