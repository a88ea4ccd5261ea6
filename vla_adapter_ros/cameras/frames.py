# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Frames, the sources that give them, and one thread per camera that keeps the newest.

Drivers queue frames. Whoever reads slower than the camera sees the past, so the thread reads as
fast as the camera gives, and the consumer takes the newest frame when it is ready. It reconnects
a camera that was lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vla_adapter_ros.errors import CameraError

OPENING, STREAMING, STALLED, LOST, ENDED = 'opening', 'streaming', 'stalled', 'lost', 'ended'

# A driver that has not returned after this time hangs.
STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Frame:
    """One colour image, with its depth image where the camera has one.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, C-contiguous, owned by the frame.
        stamp: when the image was taken [s], on `time.monotonic()`: a host whose wall clock is
            set while running must not bend the ages of its images.
        number: the camera's own count where it has one, else counted on arrival.
        depth: (H, W) uint16 distance [mm], 0 = unknown; None without depth.
    """

    pixels: np.ndarray
    stamp: float
    number: int
    depth: np.ndarray | None = None


class EndOfStream(Exception):
    """A recording has been played to its end; reopening would start it again."""


class FrameSource(Protocol):
    """The interface that `FrameGrabber` reads; one thread makes all calls."""

    def open(self) -> str:
        """Connect and start; returns a description of the streaming mode. Raises CameraError."""
        ...

    def read(self, timeout: float) -> Frame:
        """Wait up to `timeout` [s] for a frame. Raises CameraError or EndOfStream."""
        ...

    def close(self) -> None:
        """Release the camera; never raises, may be called twice."""
        ...

    @property
    def details(self) -> dict[str, str]:
        """Diagnostic details of the open camera: serial number, clock of the stamps."""
        ...


@dataclass(frozen=True)
class CameraStatus:
    """State of a camera.

    Attributes:
        state: one of opening, streaming, stalled, lost, ended.
        message: the mode when streaming, otherwise the fault and its remedy.
        frames: frames received since start.
        dropped_frames: frames replaced by a newer one before they were taken.
        reconnects: times the camera came back after it was lost.
        rate: frames received per second, over the last seconds.
        details: diagnostic details of the source.
    """

    state: str
    message: str
    frames: int = 0
    dropped_frames: int = 0
    reconnects: int = 0
    rate: float = 0.0
    details: dict[str, str] = field(default_factory=dict)


class FrameGrabber:
    """Runs a frame source.

    Args:
        source: of the frames; only the grabber's thread touches it.
        wake: called in that thread after a new frame and after a change of state; it must return
            immediately (wake an executor, do not publish).
        reconnect_period: wait between two attempts to open [s].
        stall_timeout: a camera that gives no frame for this long is closed and reopened [s].
    """

    def __init__(
        self,
        source: FrameSource,
        wake: Callable[[], None],
        reconnect_period: float = 1.0,
        stall_timeout: float = 2.0,
    ) -> None:
        self._source = source
        self._wake = wake
        self._reconnect_period = reconnect_period
        self._stall_timeout = stall_timeout
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._newest: Frame | None = None
        self._state, self._message = OPENING, 'opening the camera'
        self._details: dict[str, str] = {}
        self._frames = self._dropped_frames = self._reconnects = 0
        self._arrivals: deque[float] = deque(maxlen=60)
        # A daemon: a driver that hangs in a system call must not keep the process from exiting.
        self._thread = threading.Thread(target=self._run, name='frame-grabber', daemon=True)

    def start(self) -> None:
        """Open the camera in the background."""
        self._thread.start()

    def request_stop(self) -> None:
        """Have the camera closed in the background; `ended` says when it is."""
        self._stop.set()

    @property
    def ended(self) -> bool:
        """Whether the thread does not run (any more): the camera is closed."""
        return not self._thread.is_alive()

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> bool:
        """Close the camera; False if its driver hangs for longer than `timeout` [s]."""
        self.request_stop()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return self.ended

    def take(self) -> Frame | None:
        """Return the newest frame once, or None if it was taken already."""
        with self._lock:
            frame, self._newest = self._newest, None
        return frame

    def status(self) -> CameraStatus:
        """Return the state of the camera; a driver that hangs shows as stalled."""
        with self._lock:
            state, message = self._state, self._message
            silent = time.monotonic() - self._arrivals[-1] if self._arrivals else 0.0
            if state == STREAMING and silent > self._stall_timeout:
                state, message = STALLED, f'no frame for {silent:.1f} s'
            return CameraStatus(
                state, message, self._frames, self._dropped_frames, self._reconnects,
                self._rate(), dict(self._details),
            )

    def _rate(self) -> float:
        recent = [t for t in self._arrivals if t > time.monotonic() - 2.0]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 2 else 0.0

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._stream()
            except EndOfStream as end:
                self._change(ENDED, str(end) or 'the recording has ended')
                return
            except CameraError as error:
                self._change(LOST, str(error))
            except Exception as error:
                # Drivers raise what they like; the node must outlive all of it.
                first_line = (str(error) or repr(error)).splitlines()[0]
                self._change(LOST, f'camera driver failed: {type(error).__name__}: {first_line}')
            finally:
                self._source.close()
            self._stop.wait(self._reconnect_period)

    def _stream(self) -> None:
        mode = self._source.open()
        came_back = self._state == LOST and self._frames > 0
        # Streaming is only claimed with a frame in hand: many cameras open and then give nothing.
        first = True
        while not self._stop.is_set():
            frame = self._source.read(self._stall_timeout)
            self._keep(frame)
            if first:
                first = False
                self._reconnects += came_back
                self._change(STREAMING, mode)
            else:
                self._wake()

    def _keep(self, frame: Frame) -> None:
        details = self._source.details
        with self._lock:
            self._dropped_frames += self._newest is not None
            self._newest = frame
            self._frames += 1
            self._arrivals.append(time.monotonic())
            self._details = details

    def _change(self, state: str, message: str) -> None:
        with self._lock:
            self._state, self._message = state, message
            if state != STREAMING:
                self._arrivals.clear()
        self._wake()
