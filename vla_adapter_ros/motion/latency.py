# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Latency of each stage over a sliding window."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np


class SlidingWindow:
    """The last `size` values in a buffer that is allocated once."""

    def __init__(self, size: int = 200) -> None:
        self._values = np.zeros(size)
        self._scratch = np.zeros(size)
        self._next = 0
        self.count = 0

    def add(self, value: float) -> None:
        """Add a value; NaN and infinities are ignored: they would spoil every percentile."""
        if not math.isfinite(value):
            return
        self._values[self._next] = value
        self._next = (self._next + 1) % len(self._values)
        self.count = min(self.count + 1, len(self._values))

    def percentile(self, percent: float) -> float:
        """Return the nearest-rank percentile (0..100), or NaN while empty."""
        if not self.count:
            return math.nan
        window = self._scratch[: self.count]
        window[:] = self._values[: self.count]
        rank = max(math.ceil(percent / 100.0 * self.count) - 1, 0)
        window.partition(rank)
        return float(window[rank])


class LatencyMonitor:
    """Percentiles per named stage.

    Args:
        size: values kept per stage.
        skip: first values of each stage that are ignored: a cold start (allocation, compilation,
            caches) does not predict the next inference.
    """

    def __init__(self, size: int = 200, skip: int = 0) -> None:
        self._size = size
        self._skip = skip
        self._seen: dict[str, int] = {}
        self._windows: dict[str, SlidingWindow] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Add one measurement of a stage."""
        seen = self._seen.get(stage, 0)
        self._seen[stage] = seen + 1
        if seen >= self._skip:
            self._window(stage).add(seconds)

    def add_all(self, latencies: Mapping[str, float]) -> None:
        """Add one measurement of each stage."""
        for stage, seconds in latencies.items():
            self.add(stage, seconds)

    def percentile(self, stage: str, percent: float) -> float:
        """Return a percentile of a stage [s], or NaN if there is no measurement."""
        window = self._windows.get(stage)
        return math.nan if window is None else window.percentile(percent)

    def summary(self) -> dict[str, tuple[float, float, float]]:
        """Return stage → (p50, p95, p99) [s], stages without a measurement left out."""
        return {
            stage: (w.percentile(50.0), w.percentile(95.0), w.percentile(99.0))
            for stage, w in self._windows.items()
            if w.count
        }

    def _window(self, stage: str) -> SlidingWindow:
        if stage not in self._windows:
            self._windows[stage] = SlidingWindow(self._size)
        return self._windows[stage]
