# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Cameras that do what a test tells them."""

from __future__ import annotations

import ctypes
import errno
import threading
import time

import numpy as np

from vla_adapter_ros.cameras import v4l2
from vla_adapter_ros.cameras.frames import EndOfStream, Frame
from vla_adapter_ros.errors import CameraError


class ScriptedCamera:
    """A frame source at a given rate that can be unplugged, stalled and ended."""

    def __init__(self, fps: float = 200.0):
        self.period = 1.0 / fps
        self.plugged = threading.Event()
        self.plugged.set()
        self.stalled = False
        self.ended = False
        self.broken: Exception | None = None
        self.opened = 0
        self.closed = 0
        self.produced = 0
        self.threads: set[int] = set()

    details = {'serial': 'fake'}  # noqa: RUF012

    def open(self) -> str:
        self.threads.add(threading.get_ident())
        if not self.plugged.is_set():
            raise CameraError('fake camera is not connected; plug it in')
        self.opened += 1
        return 'fake 64×48@200'

    def read(self, timeout: float) -> Frame:
        self.threads.add(threading.get_ident())
        if self.broken:
            raise self.broken
        if self.ended:
            raise EndOfStream('fake recording has ended')
        if self.stalled:
            time.sleep(timeout)
            raise CameraError(f'fake camera gave no frame for {timeout:g} s')
        time.sleep(self.period)
        if not self.plugged.is_set():
            raise CameraError('fake camera was unplugged')
        self.produced += 1
        return Frame(np.zeros((48, 64, 3), np.uint8), time.monotonic(), self.produced)

    def close(self) -> None:
        self.closed += 1


class FakeVideoDriver:
    """Answers V4L2 requests as a C920-like camera does."""

    modes = (
        ('YUYV', 640, 480, (30,)), ('YUYV', 1280, 720, (10,)),
        ('MJPG', 640, 480, (30, 15)), ('MJPG', 1280, 720, (30,)),
    )
    ranges = {'focus': (0, 250, 5), 'exposure': (3, 2047, 1), 'auto_focus': (0, 1, 1)}  # noqa: RUF012

    def __init__(self, capabilities: int = 1):
        self.capabilities = capabilities
        self.values: dict[str, int] = {}

    def __call__(self, descriptor: int, request: int, entry: ctypes.Structure) -> int:
        handler = {
            v4l2.QUERYCAP: self._capability, v4l2.ENUM_FMT: self._format,
            v4l2.ENUM_FRAMESIZES: self._size, v4l2.ENUM_FRAMEINTERVALS: self._interval,
            v4l2.QUERYCTRL: self._query, v4l2.S_CTRL: self._set,
        }[request]
        if handler(entry) is False:
            raise OSError(errno.EINVAL, 'Invalid argument')
        return 0

    def _capability(self, entry):
        entry.card, entry.driver = b'HD Pro Webcam', b'uvcvideo'
        entry.capabilities, entry.device_caps = 0x80000001, self.capabilities

    def _format(self, entry):
        formats = sorted({m[0] for m in self.modes})
        if entry.index >= len(formats):
            return False
        entry.pixelformat = v4l2.fourcc(formats[entry.index])

    def _size(self, entry):
        sizes = [m for m in self.modes if v4l2.fourcc(m[0]) == entry.pixel_format]
        if entry.index >= len(sizes):
            return False
        entry.type, entry.width, entry.height = 1, *sizes[entry.index][1:3]

    def _interval(self, entry):
        rates = next(m[3] for m in self.modes if v4l2.fourcc(m[0]) == entry.pixel_format
                 and m[1:3] == (entry.width, entry.height))
        if entry.index >= len(rates):
            return False
        entry.type, entry.numerator, entry.denominator = 1, 1, rates[entry.index]

    def _query(self, entry):
        name = {code: name for name, code in v4l2.CONTROLS.items()}[entry.id]
        if name not in self.ranges:
            return False
        entry.minimum, entry.maximum, entry.step = self.ranges[name]

    def _set(self, entry):
        self.values[{c: n for n, c in v4l2.CONTROLS.items()}[entry.id]] = entry.value
