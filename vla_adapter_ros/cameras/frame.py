# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A camera frame, and what a frame source must offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


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


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole model of one stream [px], as `sensor_msgs/CameraInfo` wants it.

    Attributes:
        width: image width.
        height: image height.
        fx: focal length in columns.
        fy: focal length in rows.
        cx: column of the optical axis.
        cy: row of the optical axis.
        distortion: (k1, k2, p1, p2, k3), the `plumb_bob` model.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...]


class EndOfStream(Exception):
    """A recording has been played to its end; reopening would start it again."""


class FrameSource(Protocol):
    """What `FrameGrabber` reads; one thread calls all of it."""

    def open(self) -> str:
        """Connect and start; returns the mode in words. Raises CameraError."""
        ...

    def read(self, timeout: float) -> Frame:
        """Wait up to `timeout` [s] for a frame. Raises CameraError or EndOfStream."""
        ...

    def close(self) -> None:
        """Release the camera; never raises, may be called twice."""
        ...

    @property
    def details(self) -> dict[str, str]:
        """What a person wants to know about the open camera: serial, clock offset."""
        ...
