# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Bootstrap intervals, reproducible: the random numbers are always the same."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from vla_adapter_ros.evaluation.statistics import CONFIDENCE

RESAMPLES = 10_000


def percentile_interval(means: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a statistic from its values in all resamples, (R,)."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def crossed_interval(values: np.ndarray, strata: Sequence[Hashable]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values that rows and columns both influence.

    The two-way cluster bootstrap of Owen, "The pigeonhole bootstrap" (Annals of Applied Statistics
    1(2), 2007): rows and columns are drawn with replacement, independently of each other, and a
    value counts as often as its row was drawn, times as often as its column was. A single row is
    in every resample: the interval then says nothing about other rows. Of two or three rows it
    sees too little variation and is too narrow where rows differ much; where they differ little
    it is rather too wide, as Owen shows.

    Args:
        values: (S, N), for instance a row for each training seed and a column for each scene; of
            differences between two paired networks, both are drawn together.
        strata: N labels; from each stratum, such as a task, as many columns are drawn as it has.
    """
    rng = np.random.default_rng(0)
    rows, columns = values.shape
    times = np.zeros((RESAMPLES, columns), np.int64)
    for label in dict.fromkeys(strata):
        chosen = [n for n, other in enumerate(strata) if other == label]
        times[:, chosen] = _drawn(rng, len(chosen))
    sums = (times @ values.T * _drawn(rng, rows)).sum(axis=1)
    return percentile_interval(sums / values.size)


def _drawn(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return how often each of `count` is drawn in `count` draws; (resamples, count)."""
    return rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)
