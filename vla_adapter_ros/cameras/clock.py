# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Map a camera's own clock to the host's monotonic clock from arrival times alone."""

from __future__ import annotations

from collections import deque

# A frame that arrives this much "earlier" than the best delay seen cannot be drift: the camera's
# clock was set forward [s].
_JUMP = 1.0


class ClockOffset:
    """Estimates host time minus camera time.

    A frame never arrives before it was taken, and the bus only ever adds delay, so the smallest
    difference seen is the best estimate. It is taken over a window, to follow slow drift
    (50 ppm is 1.5 ms in 30 s).

    Args:
        window: how long a difference is remembered [s].
    """

    def __init__(self, window: float = 30.0) -> None:
        self._window = window
        # (arrival, difference), differences increasing: a sliding-window minimum.
        self._candidates: deque[tuple[float, float]] = deque()
        self._last_camera_time: float | None = None
        self.resets = 0

    @property
    def offset(self) -> float | None:
        """Host time minus camera time [s], or None before the first frame."""
        return self._candidates[0][1] if self._candidates else None

    def to_host(self, camera_time: float, arrival: float) -> float:
        """Return when a frame was taken, on the host's clock [s].

        Args:
            camera_time: the frame's stamp on the camera's clock [s].
            arrival: when the frame arrived, on the host's monotonic clock [s].
        """
        difference = arrival - camera_time
        if self._was_reset(camera_time, difference):
            self._candidates.clear()
            self.resets += 1
        self._last_camera_time = camera_time
        while self._candidates and self._candidates[-1][1] >= difference:
            self._candidates.pop()
        self._candidates.append((arrival, difference))
        while self._candidates[0][0] < arrival - self._window:
            self._candidates.popleft()
        return camera_time + self._candidates[0][1]

    def _was_reset(self, camera_time: float, difference: float) -> bool:
        """Whether the camera restarted its clock (its 32-bit microseconds wrap in 71 minutes).

        A late frame looks like a clock set back, but the camera's time still goes forward: it
        keeps its true, old stamp.
        """
        if self._last_camera_time is None or self.offset is None:
            return False
        return camera_time < self._last_camera_time or difference < self.offset - _JUMP
