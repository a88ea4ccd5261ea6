# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The USB camera class on a video file, on generated images, and on devices that misbehave."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from vla_adapter_ros.cameras.frames import EndOfStream
from vla_adapter_ros.cameras.usb import (
    Generated,
    UsbCamera,
    UsbSettings,
    read_number,
    write_number,
)
from vla_adapter_ros.errors import CameraError

FRAMES = 20


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    """A file of numbered frames, 100 per second, pure red below the number."""
    path = str(tmp_path_factory.mktemp('video') / 'numbered.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*'MJPG'), 100.0, (320, 240))
    for number in range(FRAMES):
        picture = np.zeros((240, 320, 3), np.uint8)
        picture[..., 2] = 250
        write_number(picture, number)
        writer.write(picture)
    writer.release()
    return path


def read_all(camera):
    frames = []
    with pytest.raises(EndOfStream):
        while True:
            frames.append(camera.read(1.0))
    return frames


def test_video_file_gives_every_frame_once_in_order(video):
    camera = UsbCamera(UsbSettings(device=video, width=320, height=240))
    camera.open()
    frames = read_all(camera)
    assert [read_number(frame.pixels) for frame in frames] == list(range(FRAMES))
    assert [frame.number for frame in frames] == list(range(1, FRAMES + 1))
    camera.close()


def test_pixels_are_rgb(video):
    camera = UsbCamera(UsbSettings(device=video, width=320, height=240))
    camera.open()
    pixels = camera.read(1.0).pixels
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    red, green, blue = pixels[100:].reshape(-1, 3).mean(axis=0)
    assert red > 240
    assert green < 10
    assert blue < 10


def test_video_file_is_played_at_its_own_rate(video):
    camera = UsbCamera(UsbSettings(device=video, width=320, height=240))
    camera.open()
    start = time.monotonic()
    frames = read_all(camera)
    assert time.monotonic() - start > (FRAMES - 2) / 100.0
    assert np.all(np.diff([frame.stamp for frame in frames]) > 0)


def test_looped_video_has_no_end(video):
    camera = UsbCamera(UsbSettings(device=video, width=320, height=240, loop=True))
    camera.open()
    numbers = [read_number(camera.read(1.0).pixels) for _ in range(2 * FRAMES)]
    assert numbers == 2 * list(range(FRAMES))


def test_reopened_video_starts_again(video):
    camera = UsbCamera(UsbSettings(device=video, width=320, height=240))
    camera.open()
    camera.read(1.0)
    camera.close()
    camera.close()
    camera.open()
    assert read_number(camera.read(1.0).pixels) == 0


def test_generated_picture_is_paced_and_numbered():
    camera = UsbCamera(UsbSettings(device='generated', width=320, height=240, fps=100))
    assert camera.open() == 'generated image: 320×240@100'
    start = time.monotonic()
    frames = [camera.read(1.0) for _ in range(20)]
    elapsed = time.monotonic() - start
    assert 0.15 < elapsed < 1.0
    assert [read_number(f.pixels) for f in frames] == list(range(1, 21))
    assert frames[0].pixels.shape == (240, 320, 3)
    assert not np.array_equal(frames[0].pixels[20:], frames[1].pixels[20:])


def test_late_reader_does_not_get_the_missed_frames_in_a_burst():
    capture = Generated(64, 48, 100.0)
    capture.grab()
    time.sleep(0.2)
    start = time.monotonic()
    for _ in range(4):
        capture.grab()
    assert time.monotonic() - start > 0.025


def test_wrong_size_says_what_the_camera_gives(video):
    camera = UsbCamera(UsbSettings(device=video))
    camera.open()
    with pytest.raises(CameraError, match='gives 320×240, requested 640×480; set width'):
        camera.read(1.0)


def test_missing_file_is_named():
    with pytest.raises(CameraError, match=r'video file /none/there\.mp4 does not exist'):
        UsbCamera(UsbSettings(device='/none/there.mp4')).open()


def test_damaged_file_is_named(tmp_path):
    path = tmp_path / 'damaged.mp4'
    path.write_bytes(b'not a video')
    with pytest.raises(CameraError, match='cannot be decoded'):
        UsbCamera(UsbSettings(device=str(path))).open()


def test_missing_device_is_named():
    with pytest.raises(CameraError, match='/dev/video97 is not connected'):
        UsbCamera(UsbSettings(device='/dev/video97')).open()


class FakeCapture:
    """A device whose driver stamps its buffers, as uvcvideo does on the monotonic clock."""

    def __init__(self, age: float):
        self.age = age
        self.alive = True

    def grab(self):
        return self.alive

    def retrieve(self):
        return True, np.zeros((480, 640, 3), np.uint8)

    def get(self, prop):
        return (time.monotonic() - self.age) * 1e3 if prop == cv2.CAP_PROP_POS_MSEC else 0.0

    def release(self):
        pass


@pytest.mark.parametrize(
    ('age', 'clock', 'expected'), [(0.025, 'driver', 0.025), (40.0, 'arrival', 0.0)]
)
def test_driver_time_is_used_when_it_is_plausible(monkeypatch, age, clock, expected):
    camera = UsbCamera(UsbSettings(device='x'))
    monkeypatch.setattr(UsbCamera, '_open_device', lambda self, path: FakeCapture(age))
    monkeypatch.setattr('vla_adapter_ros.cameras.usb.choose_device', lambda device: device)
    camera.open()
    frame = camera.read(1.0)
    assert time.monotonic() - frame.stamp == pytest.approx(expected, abs=0.01)
    assert camera.details['stamps'] == clock


def test_device_that_stops_is_an_error_not_an_end(monkeypatch):
    capture = FakeCapture(0.0)
    monkeypatch.setattr(UsbCamera, '_open_device', lambda self, path: capture)
    monkeypatch.setattr('vla_adapter_ros.cameras.usb.choose_device', lambda device: device)
    camera = UsbCamera(UsbSettings(device='x'))
    camera.open()
    camera.read(1.0)
    capture.alive = False
    with pytest.raises(CameraError, match='unplugged, or its USB bus is overloaded'):
        camera.read(1.0)
