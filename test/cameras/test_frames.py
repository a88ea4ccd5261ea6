# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The thread that drains a camera: newest frame only, reconnect, never die."""

from __future__ import annotations

import time

import pytest

from support.camera_fakes import ScriptedCamera
from support.ros_harness import wait_until
from vla_adapter_ros.cameras.frames import ENDED, LOST, STALLED, STREAMING, FrameGrabber


@pytest.fixture
def camera():
    return ScriptedCamera()


@pytest.fixture
def grabber(camera):
    wakes = []
    grabber = FrameGrabber(camera, lambda: wakes.append(1), 0.02, 0.2)
    grabber.wakes = wakes
    grabber.start()
    yield grabber
    assert grabber.stop(2.0)


def state_is(grabber, state):
    return lambda: grabber.status().state == state


def test_slow_consumer_gets_the_newest_frame(camera, grabber):
    wait_until(lambda: camera.produced > 3, 5)
    assert grabber.take() is not None
    behind, ages = [], []
    for _ in range(3):  # a busy machine may hold up one of them
        start = camera.produced
        time.sleep(0.3)  # a consumer that is busy for about 60 frames
        taken = grabber.take()
        behind.append(camera.produced - taken.number)
        ages.append(time.monotonic() - taken.stamp)
        assert camera.produced - start > 20
    assert min(behind) <= 1
    assert min(ages) < 0.05


def test_every_frame_is_either_served_or_counted(camera, grabber):
    wait_until(lambda: camera.produced > 50, 5)
    grabber.stop(2.0)
    assert grabber.take() is not None
    status = grabber.status()
    assert status.frames == camera.produced
    assert status.dropped_frames == camera.produced - 1


def test_frame_is_served_once(camera, grabber):
    wait_until(lambda: camera.produced > 3, 5)
    grabber.stop(2.0)
    assert grabber.take() is not None
    assert grabber.take() is None


def test_consumer_is_woken_for_every_frame(camera, grabber):
    wait_until(lambda: camera.produced > 20, 5)
    grabber.stop(2.0)
    assert len(grabber.wakes) >= camera.produced


def test_unplugged_camera_is_reported_and_found_again(camera, grabber):
    wait_until(state_is(grabber, STREAMING), 5)
    camera.plugged.clear()
    wait_until(state_is(grabber, LOST), 5)
    wait_until(lambda: 'plug it in' in grabber.status().message, 5)
    camera.plugged.set()
    wait_until(state_is(grabber, STREAMING), 5)
    status = grabber.status()
    assert status.reconnects == 1
    assert status.message == 'fake 64×48@200'
    before = camera.produced
    wait_until(lambda: camera.produced > before + 3, 5)


def test_camera_absent_at_start_is_waited_for():
    camera = ScriptedCamera()
    camera.plugged.clear()
    grabber = FrameGrabber(camera, lambda: None, 0.02, 0.2)
    grabber.start()
    wait_until(state_is(grabber, LOST), 5)
    assert grabber.take() is None
    camera.plugged.set()
    wait_until(state_is(grabber, STREAMING), 5)
    assert grabber.status().reconnects == 0  # it never was there before
    assert grabber.stop(2.0)


def test_stalled_camera_is_reopened(camera, grabber):
    wait_until(state_is(grabber, STREAMING), 5)
    camera.stalled = True
    wait_until(state_is(grabber, LOST), 5)
    assert 'no frame' in grabber.status().message
    wait_until(lambda: camera.opened > 1, 5)
    camera.stalled = False
    wait_until(state_is(grabber, STREAMING), 5)


def test_driver_that_hangs_shows_as_stalled():
    camera = ScriptedCamera()
    grabber = FrameGrabber(camera, lambda: None, 0.02, 0.1)
    grabber.start()
    wait_until(state_is(grabber, STREAMING), 5)
    camera.period = 1.0  # inside the driver's call for a second, whatever the timeout says
    wait_until(state_is(grabber, STALLED), 5)
    assert 'no frame for' in grabber.status().message
    grabber.stop(3.0)


def test_unexpected_driver_error_does_not_end_the_thread(camera, grabber):
    wait_until(state_is(grabber, STREAMING), 5)
    camera.broken = RuntimeError('xioctl(VIDIOC_QBUF) failed\nmore')
    wait_until(state_is(grabber, LOST), 5)
    wait_until(
        lambda: 'RuntimeError: xioctl(VIDIOC_QBUF) failed' in grabber.status().message, 5
    )
    assert '\n' not in grabber.status().message
    camera.broken = None
    wait_until(state_is(grabber, STREAMING), 5)


def test_end_of_a_recording_is_not_an_error(camera, grabber):
    wait_until(state_is(grabber, STREAMING), 5)
    camera.ended = True
    wait_until(state_is(grabber, ENDED), 5)
    opened = camera.opened
    time.sleep(0.1)
    assert camera.opened == opened
    assert grabber.status().message == 'fake recording has ended'


def test_camera_is_closed_as_often_as_opened(camera, grabber):
    wait_until(state_is(grabber, STREAMING), 5)
    grabber.stop(2.0)
    assert camera.closed == camera.opened == 1
    assert len(camera.threads) == 1


def test_rate_is_measured(camera, grabber):
    wait_until(lambda: grabber.status().rate > 0, 5)
    time.sleep(0.5)
    rate = grabber.status().rate
    assert 50 < rate < 200  # 200 frames per second at most, less what sleeping adds
