# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What `UsbCamera` reads: a V4L2 device, a video file, or a generated picture.

All three offer what is used of `cv2.VideoCapture`, so that one class drives them.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

import numpy as np

# OpenCV waits this long for a frame of a V4L2 device (its default is 10 s). It is read when cv2
# is loaded, so it must be set before.
os.environ.setdefault('OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT', '2')
import cv2

_COUNTER_BITS = 32
_BLOCK = 8


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
        """Return a property; a file's position is no time of capture."""
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
        picture = np.roll(self._ramp, self._number * 4, axis=1)
        write_number(picture, self._number)
        return True, picture

    def get(self, prop: int) -> float:
        """Return a property."""
        return {
            cv2.CAP_PROP_FRAME_WIDTH: float(self._size[0]),
            cv2.CAP_PROP_FRAME_HEIGHT: float(self._size[1]),
            cv2.CAP_PROP_FPS: 1.0 / self._period,
        }.get(prop, 0.0)

    def release(self) -> None:
        """Nothing to close."""


def write_number(picture: np.ndarray, number: int) -> None:
    """Write a frame number into an image as one row of black and white blocks."""
    bits = (number >> np.arange(_COUNTER_BITS)) & 1
    row = np.repeat(bits * 255, _BLOCK).astype(np.uint8)[: picture.shape[1]]
    picture[:_BLOCK, : len(row)] = row[None, :, None]


def read_number(picture: np.ndarray) -> int:
    """Return the number that `write_number` wrote."""
    centres = np.arange(_COUNTER_BITS) * _BLOCK + _BLOCK // 2
    bits = picture[_BLOCK // 2, centres[centres < picture.shape[1]], 0] > 127
    return int(np.sum(bits.astype(np.int64) << np.arange(len(bits))))


def _wait_for(due: float, period: float) -> float:
    """Sleep until `due`; returns when the next frame is due. Missed frames are not caught up."""
    now = time.monotonic()
    if due > now:
        time.sleep(due - now)
    return max(due, now) + period
