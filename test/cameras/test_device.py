# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""OpenCV's real Video4Linux2 path on an emulated kernel driver (fake_v4l2.c, preloaded).

Each test runs in a process of its own, as the library must be loaded before Python.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from vla_adapter_ros.cameras import v4l2
from vla_adapter_ros.cameras.usb import write_number

FOLDER = Path(__file__).resolve().parents[1] / 'support'
SLOT = 256 * 1024
HEADER = Path('/usr/include/linux/videodev2.h')
SIZES = {'640x480': (640, 480), '1280x720': (1280, 720)}

pytestmark = pytest.mark.skipif(
    not (shutil.which('gcc') and HEADER.is_file()), reason='needs gcc and the kernel headers'
)


def jpeg_frames(path: Path, width: int, height: int, count: int = 90) -> None:
    """Write numbered MJPG frames, red below the number."""
    with path.open('wb') as file:
        for number in range(count):
            picture = np.zeros((height, width, 3), np.uint8)
            picture[..., 2] = 200
            write_number(picture, number)
            data = cv2.imencode('.jpg', picture)[1].tobytes()
            file.write((struct.pack('<I', len(data)) + data).ljust(SLOT, b'\0'))


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp('camera')
    source, target = FOLDER / 'fake_v4l2.c', folder / 'fake_v4l2.so'
    command = ['gcc', '-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', target, source, '-ldl']
    subprocess.run(command, check=True)
    for name, size in SIZES.items():
        jpeg_frames(folder / name, *size)
    return folder


@pytest.fixture
def camera(library, tmp_path):
    """camera(code, size) runs Python code with the camera plugged in → what it printed as JSON.

    The code finds `path` (of the device), `camera(**settings)`, `plug()`, `unplug()`.
    """
    device = tmp_path / 'video9'
    log = tmp_path / 'controls.log'
    device.touch()
    log.touch()

    def run(code: str, size: str = '640x480') -> object:
        environment = {
            **os.environ, 'LD_PRELOAD': str(library / 'fake_v4l2.so'),
            'FAKE_CAMERA': str(device), 'FAKE_CAMERA_FRAMES': str(library / size),
            'FAKE_CAMERA_LOG': str(log), 'PYTHONPATH': str(FOLDER.parents[1]),
        }
        process = subprocess.run(
            [sys.executable, '-c', PRELUDE + code, str(device)], env=environment,
            capture_output=True, text=True, timeout=60, cwd=FOLDER,
        )
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout)

    run.controls = lambda: [line.split() for line in log.read_text().splitlines()]
    return run


PRELUDE = """
import json, sys, time
from pathlib import Path
import numpy as np
from vla_adapter_ros.cameras.usb import UsbCamera, UsbSettings
from vla_adapter_ros.cameras.frames import FrameGrabber
from vla_adapter_ros.cameras.usb import read_number
from vla_adapter_ros.errors import CameraError
path = sys.argv[1]
def camera(**settings):
    return UsbCamera(UsbSettings(device=path, **settings))
def plug(): Path(path).touch()
def unplug(): Path(path).unlink()
def show(*values): print(json.dumps(values))
def age(frame): return time.monotonic() - frame.stamp
def wait(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
"""


@pytest.mark.parametrize('size', ['640x480', '1280x720'])
def test_mjpg_frames_arrive_in_order_as_rgb_at_30_hz(camera, size):
    width, height = SIZES[size]
    mode, shape, numbers, seconds, mean = camera(f"""
c = camera(width={width}, height={height})
mode = c.open()
c.read(1.0)
start = time.monotonic()
frames = [c.read(1.0) for _ in range(30)]
seconds = time.monotonic() - start
show(mode, frames[0].pixels.shape, [read_number(f.pixels) for f in frames], seconds,
     frames[0].pixels[50:].reshape(-1, 3).mean(0).tolist())
""", size)
    assert mode == f'Fake C920e: {width}×{height}@30'
    assert shape == [height, width, 3]
    assert np.all(np.diff(numbers) > 0)
    assert 0.9 < seconds < 2.0
    assert mean == pytest.approx([200, 0, 0], abs=4)


def test_stamps_are_those_of_the_driver(camera):
    clock, ages, intervals = camera("""
c = camera()
c.open()
frames = []
for _ in range(20):
    frame = c.read(1.0)
    frames.append((frame.stamp, age(frame)))
stamps = np.array([stamp for stamp, _ in frames])
show(c.details['stamps'], [a for _, a in frames], np.diff(stamps).tolist())
""")
    assert clock == 'driver'
    # Exposure was 15 ms before arrival; arrival jitters, the driver's stamps do not.
    assert min(ages) > 0.0145
    assert np.allclose(np.array(intervals) * 30, np.round(np.array(intervals) * 30), atol=0.02)


def test_drained_camera_serves_the_newest_frame_after_a_pause(camera):
    undrained, drained, dropped = camera("""
c = camera()
c.open()
c.read(1.0)
time.sleep(0.5)
undrained = age(c.read(1.0))  # the kernel's queue holds old frames
c.close()
grabber = FrameGrabber(camera(), lambda: None)
grabber.start()
wait(lambda: grabber.status().frames > 3)
ages = []
for _ in range(3):  # a busy machine may hold up one of them
    grabber.take()
    time.sleep(0.5)
    ages.append(age(grabber.take()))
show(undrained, min(ages), grabber.status().dropped_frames)
grabber.stop()
""")
    assert undrained > 0.3
    assert drained < 0.1
    assert dropped > 8


def test_unplugged_camera_comes_back(camera):
    lost, reconnects, number = camera("""
grabber = FrameGrabber(camera(), lambda: None, reconnect_period=0.05)
grabber.start()
wait(lambda: grabber.status().state == 'streaming')
unplug()
wait(lambda: 'is not connected' in grabber.status().message)
lost = grabber.status().message
plug()
wait(lambda: grabber.status().state == 'streaming')
wait(lambda: grabber.take() is not None)
show(lost, grabber.status().reconnects, grabber.status().frames)
grabber.stop()
""")
    assert lost.endswith('video9 is not connected; no camera is connected')
    assert reconnects == 1
    assert number > 1


def test_unplugging_is_noticed_at_once(camera):
    message, seconds = camera("""
c = camera()
c.open()
c.read(1.0)
unplug()
start = time.monotonic()
try:
    while True:
        c.read(1.0)
except CameraError as error:
    show(str(error), time.monotonic() - start)
""")
    assert 'stopped giving frames: unplugged' in message
    assert seconds < 1.0


def test_controls_are_set_while_streaming_modes_before_values(camera):
    warnings = camera("""
c = camera(focus=30, exposure=200)
c.open()
show(c.details['warnings'])
""")[0]
    codes = {f'{code:x}': name for name, code in v4l2.CONTROLS.items()}
    assert [(codes[code], int(value)) for code, value, _ in camera.controls()] == [
        ('auto_focus', 0), ('auto_exposure', 1), ('exposure_changes_frame_rate', 0),
        ('focus', 30), ('exposure', 200),
    ]
    assert {state for _, _, state in camera.controls()} == {'streaming'}
    assert 'the camera has no control white_balance' in warnings


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ('width=800, height=600', 'Fake C920e does not offer 800×600@30 MJPG; it offers:'
         ' 640×480@30 MJPG, 640×480@15 MJPG, 1280×720@30 MJPG'),
        ("pixel_format='YUYV'", 'Fake C920e does not offer 640×480@30 YUYV; it offers:'
         ' 640×480@30 MJPG, 640×480@15 MJPG, 1280×720@30 MJPG'),
        ('exposure=9000', 'exposure: got 9000, this camera allows 3 … 2047 in steps of 1'),
    ],
)
def test_what_the_camera_refuses_is_said_with_its_own_list(camera, settings, message):
    assert camera(f"""
try:
    camera({settings}).open()
except CameraError as error:
    show(str(error))
""") == [message]
