# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A USB (UVC) camera through OpenCV and Video4Linux2, with fixed focus, exposure and colour.

A policy sees what its training data showed. A camera that refocuses or re-exposes gives other
images of the same scene, so the automatic functions are off by default. A video file and a
generated image stand in for a camera: all three offer the part of `cv2.VideoCapture` in use.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from vla_adapter_ros.cameras import v4l2
from vla_adapter_ros.cameras.frames import EndOfStream, Frame
from vla_adapter_ros.cameras.settings import StreamSettings, setting
from vla_adapter_ros.cameras.v4l2 import choose_device, opened
from vla_adapter_ros.errors import CameraError

# OpenCV waits this long for a frame of a V4L2 device (its default is 10 s). It is read when cv2
# is loaded, so it must be set before.
os.environ.setdefault('OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT', '2')
import cv2

GENERATED = 'generated'
_VIDEO_SUFFIXES = ('.mp4', '.avi', '.mkv', '.mov', '.webm')
# A driver's capture time is believed if it is at most this old on arrival.
_MAX_BUFFER_AGE_S = 1.0
_COUNTER_BITS = 32
_BLOCK_PX = 8


@dataclass(frozen=True)
class UsbSettings(StreamSettings):
    """Settings of a USB camera; -1 leaves a control as the camera has it."""

    device: str = setting(
        '', 'Path under /dev/v4l/by-id, a video file, or `generated`; empty: the only camera.'
    )
    pixel_format: str = setting(
        'MJPG', 'Pixel format on the bus.', choices=('MJPG', 'YUYV', 'UYVY', 'RGB3', 'BGR3')
    )
    loop: bool = setting(False, 'Start a video file again at its end.')
    auto_focus: bool = setting(False, 'Let the camera focus: images change by themselves.')
    focus: int = setting(0, 'Focus position, 0 = far.', low=-1, high=100_000)
    auto_exposure: bool = setting(False, 'Let the camera choose the exposure.')
    exposure: int = setting(156, 'Exposure time [0.1 ms].', low=-1, high=100_000)
    gain: int = setting(-1, 'Sensor gain.', low=-1, high=100_000)
    auto_white_balance: bool = setting(False, 'Let the camera choose its white point.')
    white_balance: int = setting(4500, 'Colour temperature [K].', low=-1, high=100_000)
    power_line_frequency: int = setting(
        -1, 'Against flicker: 0 off, 1 = 50 Hz, 2 = 60 Hz.', low=-1, high=3
    )

    def controls(self) -> dict[str, int]:
        """Return the controls to set, in the order the hardware needs: modes before values."""
        wanted = {
            'auto_focus': int(self.auto_focus),
            # V4L2's menu: 1 = manual, 3 = aperture priority (what webcams call automatic).
            'auto_exposure': 3 if self.auto_exposure else 1,
            'auto_white_balance': int(self.auto_white_balance),
            # Else the camera lowers its frame rate in a dark room.
            'exposure_changes_frame_rate': 0,
            'power_line_frequency': self.power_line_frequency,
            'focus': -1 if self.auto_focus else self.focus,
            'exposure': -1 if self.auto_exposure else self.exposure,
            'gain': -1 if self.auto_exposure else self.gain,
            'white_balance': -1 if self.auto_white_balance else self.white_balance,
        }
        return {name: value for name, value in wanted.items() if value >= 0}


class UsbCamera:
    """A frame source; see `FrameSource`."""

    def __init__(self, settings: UsbSettings) -> None:
        self._settings = settings
        self._capture: Capture | None = None
        self._number = 0
        self._name = ''
        self._warnings: list[str] = []
        self._stamp_from = 'arrival'

    @property
    def details(self) -> dict[str, str]:
        """Name, clock of the stamps, and controls that the camera lacks."""
        return {
            'camera': self._name,
            'stamps': self._stamp_from,
            'warnings': '; '.join(self._warnings) or 'none',
        }

    def open(self) -> str:
        """Connect; returns a description of the streaming mode. Raises CameraError."""
        self._warnings = []
        device = self._settings.device
        if device == GENERATED:
            self._name = 'generated image'
            self._capture = Generated(
                self._settings.width, self._settings.height, self._settings.fps
            )
        elif device.lower().endswith(_VIDEO_SUFFIXES):
            self._capture = self._open_file(device)
        else:
            self._capture = self._open_device(choose_device(device))
        settings = self._settings
        return f'{self._name}: {settings.width}×{settings.height}@{settings.fps:g}'

    def read(self, timeout: float) -> Frame:
        """Wait for a frame. Raises CameraError when none comes, EndOfStream after a file's end.

        OpenCV's own timeout applies (2 s); `timeout` is not used by it.
        """
        assert self._capture is not None
        if not self._capture.grab():
            if isinstance(self._capture, PacedFile):
                raise EndOfStream(f'{self._settings.device} has been played to its end')
            raise CameraError(
                f'{self._name} stopped giving frames: unplugged, or its USB bus is overloaded'
            )
        arrival = time.monotonic()
        good, image = self._capture.retrieve()
        if not good or image is None:
            raise CameraError(f'{self._name} sent a frame that cannot be decoded')
        self._check_size(image.shape[1], image.shape[0])
        self._number += 1
        return Frame(
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB), self._stamp(arrival), self._number
        )

    def close(self) -> None:
        """Release the camera."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def _open_file(self, path: str) -> Capture:
        if not Path(path).is_file():
            raise CameraError(f'video file {path} does not exist')
        capture = PacedFile(path, self._settings.loop)
        if not capture.opened:
            raise CameraError(f'video file {path} cannot be decoded')
        self._name = Path(path).name
        return capture

    def _open_device(self, path: str) -> Capture:
        settings = self._settings
        with opened(path) as descriptor:
            try:
                self._name = v4l2.query_card(descriptor)
            except CameraError as error:
                raise CameraError(f'{path}: {error}') from error
            check_mode(v4l2.query_modes(descriptor), settings, self._name)
            capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
            if not capture.isOpened():
                raise CameraError(
                    f'{path} ({self._name}) cannot be streamed; is another program using it?'
                    f' `fuser {path}` names it'
                )
            for prop, value in (
                (cv2.CAP_PROP_FOURCC, v4l2.fourcc(settings.pixel_format)),
                (cv2.CAP_PROP_FRAME_WIDTH, settings.width),
                (cv2.CAP_PROP_FRAME_HEIGHT, settings.height),
                (cv2.CAP_PROP_FPS, settings.fps),
            ):
                capture.set(prop, value)
            # After streaming has started: some cameras forget controls that were set before.
            capture.grab()
            for name, value in settings.controls().items():
                if warning := v4l2.set_control(descriptor, name, value):
                    self._warnings.append(warning)
        return capture

    def _check_size(self, width: int, height: int) -> None:
        if (width, height) != (self._settings.width, self._settings.height):
            raise CameraError(
                f'{self._name} gives {width}×{height}, requested'
                f' {self._settings.width}×{self._settings.height}; set width and height'
            )

    def _stamp(self, arrival: float) -> float:
        """Return the capture time: the driver's where it gives one (monotonic), else arrival."""
        assert self._capture is not None
        buffer_time = self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3
        if 0.0 <= arrival - buffer_time <= _MAX_BUFFER_AGE_S:
            self._stamp_from = 'driver'
            return buffer_time
        self._stamp_from = 'arrival'
        return arrival


def check_mode(modes: list[v4l2.Mode], settings: UsbSettings, name: str) -> None:
    """Raise CameraError with the camera's own list if it does not offer the wanted mode."""
    wanted = v4l2.Mode(settings.pixel_format, settings.width, settings.height, settings.fps)
    # A driver that lists nothing is asked to stream, and the first frame's size is checked.
    if not modes or any(
        (m.pixel_format, m.width, m.height) == (wanted.pixel_format, wanted.width, wanted.height)
        and abs(m.fps - wanted.fps) < 0.5
        for m in modes
    ):
        return
    same_format = [m for m in modes if m.pixel_format == wanted.pixel_format]
    offered = ', '.join(str(m) for m in same_format or modes)
    raise CameraError(f'{name} does not offer {wanted}; it offers: {offered}')


class Capture(Protocol):
    """The part of `cv2.VideoCapture` in use."""

    def grab(self) -> bool:
        """Wait for the next frame; False when there is none."""
        ...

    def retrieve(self) -> tuple[bool, np.ndarray]:
        """Decode the grabbed frame to (H, W, 3) uint8 BGR."""
        ...

    def get(self, prop: int) -> float:
        """Return a property."""
        ...

    def release(self) -> None:
        """Close it."""
        ...


class PacedFile:
    """A video file that gives frames at its own rate, as a camera would.

    Args:
        path: video file.
        loop: start again at the end.
    """

    def __init__(self, path: str, loop: bool) -> None:
        self._capture = cv2.VideoCapture(path)
        self._loop = loop
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._period = 1.0 / rate if rate > 0 else 1.0 / 30.0
        self._next = time.monotonic()

    @property
    def opened(self) -> bool:
        """Whether the file is a video that can be decoded."""
        return self._capture.isOpened()

    def grab(self) -> bool:
        """Wait for the next frame's time; False at the end."""
        if self._capture.grab():
            self._next = _wait_for(self._next, self._period)
            return True
        if not self._loop:
            return False
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
        self._next = _wait_for(self._next, self._period)
        return self._capture.grab()

    def retrieve(self) -> tuple[bool, np.ndarray]:
        """Decode the grabbed frame."""
        return self._capture.retrieve()

    def get(self, prop: int) -> float:
        """Return a property; a file's position is not a capture time."""
        return 0.0 if prop == cv2.CAP_PROP_POS_MSEC else self._capture.get(prop)

    def release(self) -> None:
        """Close the file."""
        self._capture.release()


class Generated:
    """A moving colour ramp with the frame's number written into its top left corner.

    Args:
        width: width [px].
        height: height [px].
        fps: frames per second.
    """

    def __init__(self, width: int, height: int, fps: float) -> None:
        self._size = (width, height)
        self._period = 1.0 / fps
        self._next = time.monotonic()
        self._number = 0
        columns = np.linspace(0, 255, width, dtype=np.uint8)
        rows = np.linspace(0, 255, height, dtype=np.uint8)
        self._ramp = np.full((height, width, 3), 96, np.uint8)
        self._ramp[..., 1] = rows[:, None]
        self._ramp[..., 2] = columns

    def grab(self) -> bool:
        """Wait for the next frame's time."""
        self._next = _wait_for(self._next, self._period)
        self._number += 1
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        """Draw the frame."""
        image = np.roll(self._ramp, self._number * 4, axis=1)
        write_number(image, self._number)
        return True, image

    def get(self, prop: int) -> float:
        """Return a property."""
        return {
            cv2.CAP_PROP_FRAME_WIDTH: float(self._size[0]),
            cv2.CAP_PROP_FRAME_HEIGHT: float(self._size[1]),
            cv2.CAP_PROP_FPS: 1.0 / self._period,
        }.get(prop, 0.0)

    def release(self) -> None:
        """Nothing to close."""


def write_number(image: np.ndarray, number: int) -> None:
    """Write a frame number into an image as one row of black and white blocks."""
    bits = (number >> np.arange(_COUNTER_BITS)) & 1
    row = np.repeat(bits * 255, _BLOCK_PX).astype(np.uint8)[: image.shape[1]]
    image[:_BLOCK_PX, : len(row)] = row[None, :, None]


def read_number(image: np.ndarray) -> int:
    """Return the number that `write_number` wrote."""
    centres = np.arange(_COUNTER_BITS) * _BLOCK_PX + _BLOCK_PX // 2
    bits = image[_BLOCK_PX // 2, centres[centres < image.shape[1]], 0] > 127
    return int(np.sum(bits.astype(np.int64) << np.arange(len(bits))))


def _wait_for(due: float, period: float) -> float:
    """Sleep until `due`; returns when the next frame is due. Missed frames are not caught up."""
    now = time.monotonic()
    if due > now:
        time.sleep(due - now)
    return max(due, now) + period
