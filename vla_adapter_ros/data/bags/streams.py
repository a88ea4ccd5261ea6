# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The streams of a bag: joint states over time, and when the images were taken."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vla_adapter_ros.data.bags.alignment import NANOSECONDS

# Clocks this far apart are different clocks (simulated time), not a delay.
_OTHER_CLOCK_S = 0.5


@dataclass(frozen=True)
class JointTrack:
    """Joint states: stamps (N,) and times of recording (N,) [ns], states (N, J + 1)."""

    stamps: np.ndarray
    times: np.ndarray
    states: np.ndarray

    def between(self, start: int, end: int) -> JointTrack:
        """Return what was measured from `start` to `end` [ns], both included."""
        kept = _between(self.stamps, start, end)
        return JointTrack(self.stamps[kept], self.times[kept], self.states[kept])

    def at(self, time: float | np.ndarray) -> np.ndarray:
        """Return the states (..., J + 1) at stamps [s], between measurements on a line."""
        return np.stack([np.interp(time, self._moments, c) for c in self.states.T], axis=-1)

    @cached_property
    def _moments(self) -> np.ndarray:
        return self.stamps / NANOSECONDS

    @cached_property
    def _offset(self) -> float:
        return float(np.median(self.times - self.stamps)) / NANOSECONDS

    def stamped(self, time: int) -> float:
        """Return the stamp [s] that belongs to a time of recording [ns].

        They differ only where stamps come from another clock, as simulated time.
        """
        if abs(self._offset) < _OTHER_CLOCK_S:
            return time / NANOSECONDS
        ends = np.interp(time, self.times, self.stamps) / NANOSECONDS
        return float(ends)


@dataclass(frozen=True)
class ImageStamps:
    """A camera's messages: stamps (N,), ascending, and times of recording (N,) [ns].

    `numbers` (N,) are those in the bag; `recorded` (M,) is when each message of the bag was
    recorded [ns], also those without a readable stamp.
    """

    stamps: np.ndarray
    times: np.ndarray
    numbers: np.ndarray
    recorded: np.ndarray

    def between(self, start: int, end: int) -> ImageStamps:
        """Return the messages with stamps from `start` to `end` [ns], both included."""
        kept = _between(self.stamps, start, end)
        return ImageStamps(self.stamps[kept], self.times[kept], self.numbers[kept], self.recorded)

    def stamp(self, number: int) -> int:
        """Return the stamp [ns] of the message with a number in the bag; 0 if it has none."""
        found = self.stamps[self.numbers == number]
        return int(found[0]) if len(found) else 0


def _between(stamps: np.ndarray, start: int, end: int) -> slice:
    return slice(
        int(np.searchsorted(stamps, start, 'left')), int(np.searchsorted(stamps, end, 'right'))
    )
