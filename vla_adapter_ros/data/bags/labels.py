# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""When the actions of frames are read, and how fast they then move."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.data.bags.alignment import NANOSECONDS, Alignment


def label_times(alignment: Alignment, period: int) -> np.ndarray:
    """Return the times (T,) [s] at which the frames' actions are read: one period apart.

    One period after each observation's own stamp would put the cameras' phase into the actions,
    which are executed at a steady rate; the usual age of an observation takes its place.
    """
    age = int(np.median(alignment.times - alignment.stamps))
    return (alignment.times - age + period) / NANOSECONDS


def label_speeds(actions: np.ndarray, measured: np.ndarray, period: int) -> dict[str, float]:
    """Compare the speed of actions with that of the arm: of the fastest joint of each step.

    Args:
        actions: (T, J + 1) positions; the last column is the gripper's.
        measured: (T, J + 1) where the arm was at the same times.
        period: between two rows [ns].

    Returns:
        Mean `label_speed` and `true_speed` [rad/s], and `speed_deviation`, the standard deviation
        of their difference [rad/s].
    """
    speeds = [
        np.abs(np.diff(rows[:, :-1], axis=0)).max(axis=1, initial=0) * (NANOSECONDS / period)
        for rows in (actions, measured)
    ]
    label, true = speeds if len(actions) > 1 else (np.zeros(1), np.zeros(1))
    return {
        'label_speed': round(float(label.mean()), 4),
        'true_speed': round(float(true.mean()), 4),
        'speed_deviation': round(float((label - true).std()), 4),
    }
