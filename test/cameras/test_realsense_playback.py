# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The RealSense class through the SDK's real pipeline, playing recordings of a software device."""

from __future__ import annotations

import time

import numpy as np
import pytest

from support.realsense_recording import (
    DISTORTION,
    FOCAL,
    SERIAL,
    needs_sdk,
    raw_depth_of,
    record,
    red_of,
)
from support.ros_harness import wait_until
from vla_adapter_ros.cameras.frames import ENDED, EndOfStream, FrameGrabber
from vla_adapter_ros.cameras.realsense import RealSenseCamera, RealSenseSettings
from vla_adapter_ros.errors import CameraError

pytestmark = needs_sdk
FRAMES = 30


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp('realsense') / 'd405.db3'
    record(path, FRAMES)
    return str(path)


@pytest.fixture
def camera(recording):
    camera = RealSenseCamera(RealSenseSettings(file=recording, depth=True))
    camera.open()
    yield camera
    camera.close()


def read_all(camera):
    frames = []
    with pytest.raises(EndOfStream, match='played to its end'):
        while True:
            frames.append(camera.read(1.0))
    return frames


@pytest.fixture(scope='module')
def frames(recording):
    camera = RealSenseCamera(RealSenseSettings(file=recording, depth=True))
    camera.open()
    yield read_all(camera)
    camera.close()


def test_colour_frames_are_each_given_once_and_unchanged(frames):
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= FRAMES * 0.8
    for frame in frames:
        assert frame.pixels.shape == (480, 640, 3)
        assert frame.pixels.dtype == np.uint8
        assert np.all(frame.pixels == [red_of(frame.number), 0, 0])


def test_depth_is_in_millimetres_and_of_the_same_moment(frames):
    with_depth = [frame for frame in frames if frame.depth is not None]
    assert len(with_depth) >= len(frames) * 0.7
    for frame in with_depth:
        assert frame.depth.dtype == np.uint16
        assert frame.depth.shape == (480, 640)
        assert np.all(frame.depth == raw_depth_of(frame.number) // 10)


def test_frames_outlive_the_memory_of_the_sdk(camera):
    first = camera.read(1.0)
    copy = first.pixels.copy()
    for _ in range(10):
        camera.read(1.0)
    assert np.array_equal(first.pixels, copy)


def test_stamps_follow_the_cameras_clock_on_the_hosts_time(camera):
    frames, arrivals = [], []
    for _ in range(20):
        frames.append(camera.read(1.0))
        arrivals.append(time.monotonic())
    stamps = np.array([f.stamp for f in frames])
    camera_times = np.array([f.number / 30 for f in frames])
    ages = np.array(arrivals) - stamps
    assert np.all(ages >= 0)
    # A busy machine reads some of them late.
    assert np.median(ages) < 0.1
    # Equal up to the settling of the least delay: not the jitter of arrival.
    assert np.ptp((stamps - camera_times)[10:]) < 0.01
    assert 'camera clock + ' in camera.details['stamps']
    assert '(0 resets)' in camera.details['stamps']


def test_intrinsics_are_the_cameras(camera):
    model = camera.color_intrinsics
    assert (model.width, model.height) == (640, 480)
    assert model.fx == model.fy == FOCAL
    assert (model.cx, model.cy) == (320, 240)
    assert model.distortion == pytest.approx(DISTORTION)
    assert camera.depth_intrinsics == model


def test_mode_and_serial_are_told(recording):
    camera = RealSenseCamera(RealSenseSettings(file=recording))
    assert camera.open() == 'Intel RealSense D405 recorded in d405.db3: colour 640×480@30'
    assert camera.details['serial'] == SERIAL
    assert camera.read(1.0).depth is None
    camera.close()


def test_profile_not_offered_is_answered_with_the_cameras_list(recording):
    camera = RealSenseCamera(RealSenseSettings(file=recording, width=848))
    with pytest.raises(CameraError) as error:
        camera.open()
    assert str(error.value) == (
        'Intel RealSense D405 offers no colour stream of 848×480@30; it offers: 640×480@30'
    )


def test_depth_not_recorded_is_named(tmp_path):
    path = tmp_path / 'colour.db3'
    record(path, 5, depth=False)
    camera = RealSenseCamera(RealSenseSettings(file=str(path), depth=True))
    with pytest.raises(CameraError, match=r'no depth stream of 640×480@30; it offers: none'):
        camera.open()


@pytest.mark.slow(reason='five seconds of a recording; the node is always tested so')
def test_stall_is_an_error_and_the_stream_goes_on(tmp_path):
    path = tmp_path / 'stall.db3'
    record(path, 10, gap_at=5, gap=1.2)
    camera = RealSenseCamera(RealSenseSettings(file=str(path)))
    camera.open()
    before = []
    with pytest.raises(CameraError, match=r'gave no frame for 0\.5 s; the recording has a gap'):
        while True:
            before.append(camera.read(0.5).number)
    assert before[-1] == 4
    after = camera.read(4.0)
    assert after.number >= 5
    assert np.all(after.pixels == [red_of(after.number), 0, 0])
    camera.close()


def test_missing_recording_is_named():
    camera = RealSenseCamera(RealSenseSettings(file='/none/x.db3'))
    with pytest.raises(CameraError, match=r'recording /none/x\.db3 does not exist'):
        camera.open()


def test_damaged_recording_is_one_line(tmp_path):
    path = tmp_path / 'damaged.db3'
    path.write_bytes(b'not a recording')
    with pytest.raises(CameraError) as error:
        RealSenseCamera(RealSenseSettings(file=str(path))).open()
    assert '\n' not in str(error.value)


def test_reopened_recording_starts_again(camera):
    numbers = [camera.read(1.0).number for _ in range(20)]
    camera.close()
    camera.close()
    camera.open()
    # Playing goes on by the clock: a busy machine may miss the first frames, but not all of those
    # that came before.
    assert camera.read(1.0).number < numbers[-1]


@pytest.mark.slow(reason='three seconds of a recording')
def test_slow_consumer_of_the_pipeline_gets_the_newest_frame(recording):
    source = RealSenseCamera(RealSenseSettings(file=recording))
    grabber = FrameGrabber(source, lambda: None, 0.1, 2.0)
    grabber.start()
    wait_until(lambda: grabber.status().frames > 3, 10)
    grabber.take()
    ages = []
    for _ in range(2):  # a busy machine may hold up one of them
        time.sleep(0.3)  # about 9 frames
        ages.append(time.monotonic() - grabber.take().stamp)
    assert min(ages) < 0.1
    assert grabber.status().dropped_frames >= 8
    wait_until(lambda: grabber.status().state == ENDED, 10)
    assert grabber.stop(5.0)


def test_no_camera_is_one_sentence():
    with pytest.raises(CameraError, match='no RealSense camera is connected; plug it'):
        RealSenseCamera(RealSenseSettings()).open()
