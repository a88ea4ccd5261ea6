# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The RealSense node on the real graph, playing recordings through the SDK's pipeline."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from support.camera_listener import CameraListener, pixels
from support.realsense_recording import (
    DISTORTION,
    FOCAL,
    SERIAL,
    needs_sdk,
    raw_depth_of,
    record,
    red_of,
)
from support.ros_harness import NodeProcess, isolated_environment, wait_until

pytestmark = needs_sdk


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp('realsense') / 'd405.db3'
    record(path, 90)
    return str(path)


@pytest.fixture
def start():
    running = []

    def start(**parameters):
        environment = isolated_environment()
        running.append(CameraListener(environment, 'wrist'))
        running.append(NodeProcess('realsense_camera', parameters, environment))
        return running[-1], running[-2]

    yield start
    for item in running:
        item.close() if isinstance(item, CameraListener) else item.stop()


def test_colour_depth_and_camera_info_are_published(start, recording):
    _, listener = start(file=recording, depth=True)
    wait_until(lambda: len(listener.images) > 30 and len(listener.depths) > 20, 30, 'images')
    color = listener.images[-1]
    assert (color.width, color.height, color.encoding) == (640, 480, 'rgb8')
    assert color.header.frame_id == 'wrist_optical_frame'
    reds = [int(pixels(m)[0, 0, 0]) for m in listener.images]
    assert reds == sorted(reds)
    depth = listener.depths[-1]
    assert (depth.encoding, depth.step) == ('16UC1', 1280)
    millimetres = np.frombuffer(depth.data, '<u2')
    same_moment = next(m for m in listener.images if m.header.stamp == depth.header.stamp)
    number = int(pixels(same_moment)[0, 0, 0]) - red_of(0)
    assert np.all(millimetres == raw_depth_of(number) // 10)


def test_camera_info_holds_the_intrinsics_and_the_images_stamp(start, recording):
    _, listener = start(file=recording)
    wait_until(lambda: len(listener.infos) > 5 and len(listener.images) > 10, 30, 'camera_info')
    info = listener.infos[-3]
    assert list(info.k) == [FOCAL, 0, 320, 0, FOCAL, 240, 0, 0, 1]
    assert list(info.d) == pytest.approx(DISTORTION)
    assert info.distortion_model == 'plumb_bob'
    stamps = [m.header.stamp for m in listener.images]
    assert info.header.stamp in stamps
    assert not listener.depths


def test_diagnostics_show_serial_and_clock_offset(start, recording):
    _, listener = start(file=recording)
    listener.wait_for_state('streaming: Intel RealSense D405 recorded in d405.db3')
    assert listener.values['serial'] == SERIAL
    assert listener.values['stamps'].startswith('camera clock + ')
    # A wrong offset shows in every delay; a busy machine only adds to some.
    wait_until(lambda: min(listener.delays) < 0.05, 20, 'an image without delay')
    assert min(listener.delays) > -0.005


def test_end_of_the_recording_is_reported_and_the_node_lives(start, recording):
    node, listener = start(file=recording)
    listener.wait_for_state('has been played to its end')
    assert node.alive
    assert node.stop() == 0
    assert 'Traceback' not in node.log


def test_wrong_profile_lists_the_right_ones_and_can_be_corrected(start, recording):
    node, listener = start(file=recording, width=848)
    listener.wait_for_state('no colour stream of 848×480@30; it offers: 640×480@30')
    assert node.alive
    assert listener.set_parameter('realsense_camera', 'width', 640)[0]
    wait_until(lambda: listener.images, 20, 'images')


def test_stall_is_reported_and_survived(start, tmp_path):
    path = tmp_path / 'stall.db3'
    record(path, 60, gap_at=20, gap=2.0)
    _, listener = start(file=str(path), stall_timeout=0.5, reconnect_period=0.1)
    listener.wait_for_state('gave no frame for 0.5 s')
    seen = len(listener.images)
    wait_until(lambda: len(listener.images) > seen + 5, 20, 'images after the stall')
    wait_until(lambda: int(listener.values.get('reconnects', 0)) >= 1, 20, 'reconnect count')


def test_no_camera_is_said_and_the_node_waits_for_one(start):
    # Serial numbers are digits, so the command line makes a number of one.
    node, listener = start(serial=130322273894, reconnect_period=0.1)
    listener.wait_for_state('lost: no RealSense camera is connected; plug it into a USB 3 port')
    assert node.alive
    assert node.log.count('no RealSense camera') == 1


def test_broken_rate_is_refused_in_words(start, recording):
    node, listener = start(file=recording, fps=29.97)
    listener.wait_for_state('parameter fps: got 29.97, expected an integer for a RealSense')
    assert node.alive
