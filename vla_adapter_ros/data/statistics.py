# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Statistics of data: per-dimension moments and true quantiles.

Normalisation uses the 1 % and 99 % quantiles (BOUNDS_Q99 of the official code), so they are
computed from all values. Quantiles averaged over episodes, as some tools store, are not quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

QUANTILES = {'q01': 0.01, 'q10': 0.10, 'q50': 0.50, 'q90': 0.90, 'q99': 0.99}
HISTOGRAM_BINS = 256

Statistics = dict[str, list[Any]]


def summarise(values: np.ndarray) -> Statistics:
    """Return min, max, mean, std, count and quantiles of (N, D) values along N."""
    values = np.asarray(values, np.float64)
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    summary = {
        'min': values.min(axis=0).tolist(),
        'max': values.max(axis=0).tolist(),
        'mean': values.mean(axis=0).tolist(),
        'std': values.std(axis=0).tolist(),
        'count': [len(values)],
    }
    return summary | {name: row.tolist() for name, row in zip(QUANTILES, quantiles, strict=True)}


def image_histogram(image: np.ndarray) -> np.ndarray:
    """Return the (3, 256) histogram of a uint8 RGB image."""
    import cv2

    counts = [cv2.calcHist([image], [c], None, [HISTOGRAM_BINS], [0, HISTOGRAM_BINS])
              for c in range(3)]  # fmt: skip
    return np.concatenate(counts, axis=1).T.astype(np.int64)


def summarise_histogram(histogram: np.ndarray) -> Statistics:
    """Return the statistics, scaled to 0..1 and shaped (3, 1, 1), of a (3, 256) histogram."""
    counts = np.asarray(histogram, np.float64)
    levels = np.arange(HISTOGRAM_BINS) / (HISTOGRAM_BINS - 1)
    total = counts.sum(axis=1)
    mean = counts @ levels / total
    variance = counts @ levels**2 / total - mean**2
    cumulative = np.cumsum(counts, axis=1)
    rows: dict[str, np.ndarray] = {
        'min': levels[(counts > 0).argmax(axis=1)],
        'max': levels[HISTOGRAM_BINS - 1 - (counts[:, ::-1] > 0).argmax(axis=1)],
        'mean': mean,
        'std': np.sqrt(np.maximum(variance, 0.0)),
    }
    for name, fraction in QUANTILES.items():
        rows[name] = levels[(cumulative >= fraction * total[:, None]).argmax(axis=1)]
    summary: Statistics = {name: row.reshape(3, 1, 1).tolist() for name, row in rows.items()}
    return summary | {'count': [int(total[0])]}


def pool_statistics(parts: Sequence[Mapping[str, Any]]) -> Statistics:
    """Return the statistics of several parts together, of their own statistics.

    Quantiles are the means of the parts' (weighted by count), as lerobot combines them; the others
    are those of all values.

    Args:
        parts: min, max, mean, std, count and any quantiles, nested lists of one shape.
    """
    names = [name for name in parts[0] if all(name in part for part in parts)]
    values = {name: np.array([part[name] for part in parts], np.float64) for name in names}
    counts = values['count'].reshape(len(parts), -1)[:, 0]
    weights = counts / counts.sum()

    def mean(rows: np.ndarray) -> np.ndarray:
        return np.tensordot(weights, rows, 1)

    pooled = {name: mean(values[name]) for name in names if name in ('mean', *QUANTILES)}
    variance = mean(values['std'] ** 2 + (values['mean'] - pooled['mean']) ** 2)
    pooled |= {'min': values['min'].min(0), 'max': values['max'].max(0), 'std': np.sqrt(variance)}
    statistics: Statistics = {name: pooled[name].tolist() for name in names if name != 'count'}
    return statistics | {'count': [int(counts.sum())]}


def flatten_statistics(statistics: Mapping[str, Statistics]) -> dict[str, Any]:
    """Return {'stats/<feature>/<name>': value}, the columns of LeRobot's episode table."""
    return {
        f'stats/{feature}/{name}': value
        for feature, values in statistics.items()
        for name, value in values.items()
    }


def nested_statistics(row: Mapping[str, Any], feature: str) -> Statistics:
    """Return a feature's statistics from a row of LeRobot's episode table; {} if it has none."""
    prefix = f'stats/{feature}/'
    found = {name: value for name, value in row.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): v for name, v in found.items() if v is not None}
