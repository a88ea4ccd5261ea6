# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Resamples streams of different rates on one clock: which message each frame sees.

As on the robot: a frame sees the newest message of each stream at or before its time, and is
refused if that message is too old or the streams are too far apart. Times are integers [ns], so
that equal times compare equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.errors import DatasetError

NANOSECONDS = 1_000_000_000
# Messages closer than this may arrive in another order than they were sent.
SWAP_SECONDS = 0.1


@dataclass(frozen=True)
class Alignment:
    """Which message of each stream each frame sees.

    Attributes:
        times: (T,) frame times [ns], one period apart.
        indices: stream → (T,) number of the message.
        stamps: (T,) stamp of each frame's oldest message [ns]: the observation's stamp.
        ages: stream → (T,) age of the message at the frame's time [s].
        skew: (T,) between the oldest and the newest message of a frame [s].
    """

    times: np.ndarray
    indices: dict[str, np.ndarray]
    stamps: np.ndarray
    ages: dict[str, np.ndarray]
    skew: np.ndarray


def align(
    streams: Mapping[str, np.ndarray],
    period: int,
    max_age: Mapping[str, float],
    max_skew: float,
    place: str,
) -> Alignment:
    """Resample all streams on one regular clock, from the latest start to the earliest end.

    Args:
        streams: name → (N,) stamps [ns], ascending.
        period: of the frames [ns].
        max_age: name → oldest message a frame may see [s].
        max_skew: largest difference between a frame's stamps [s].
        place: name of the bag, for messages.

    Raises:
        DatasetError: a stream is empty, a gap is too long, the skew too
            large, or the streams do not overlap; the message names stream and time.
    """
    for name, stamps in streams.items():
        if not len(stamps):
            raise DatasetError(f'{place}: {name}: no messages')
    start = max(int(stamps[0]) for stamps in streams.values())
    end = min(int(stamps[-1]) for stamps in streams.values())
    if end <= start:
        raise DatasetError(f'{place}: the streams do not overlap: {_spans(streams)}')
    times = np.arange(start, end + 1, period, dtype=np.int64)
    origin = min(int(stamps[0]) for stamps in streams.values())
    indices, ages, seen = {}, {}, []
    for name, stamps in streams.items():
        index = np.searchsorted(stamps, times, 'right') - 1
        age = (times - stamps[index]) / NANOSECONDS
        _check_gap(name, stamps, index, age, max_age[name], origin, place)
        indices[name], ages[name] = index, age
        seen.append(stamps[index])
    skew = (np.max(seen, axis=0) - np.min(seen, axis=0)) / NANOSECONDS
    worst = int(np.argmax(skew))
    if skew[worst] > max_skew:
        raise DatasetError(
            f'{place}: at {(times[worst] - origin) / NANOSECONDS:.2f} s the streams are '
            f'{skew[worst]:.3f} s apart, allowed are {max_skew:g} s'
        )
    return Alignment(times, indices, np.min(seen, axis=0), ages, skew)


def ascending(stamps: np.ndarray, place: str) -> np.ndarray:
    """Return the order (N,) that sorts stamps [ns].

    Networks swap messages that follow close upon each other; that is put right. A clock that was
    set back is not.

    Raises:
        DatasetError: a stamp lies more than 0.1 s before the one before it.
    """
    steps = np.diff(stamps)
    back = -steps.min(initial=0) / NANOSECONDS
    if back > SWAP_SECONDS:
        raise DatasetError(
            f'{place}: message {int(steps.argmin()) + 1}: the stamp goes back by {back:.3f} s: '
            'a clock was set while recording'
        )
    return np.argsort(stamps, kind='stable')


def check_one_clock(
    joints: tuple[np.ndarray, np.ndarray],
    stream: tuple[np.ndarray, np.ndarray],
    max_skew: float,
    place: str,
) -> None:
    """Check that messages recorded at the same time have the same stamps.

    Simulated time, which all streams share, passes whatever its speed.

    Args:
        joints: times of recording and stamps (N,) [ns] of the joint states.
        stream: those of another stream (M,).
        max_skew: largest usual difference [s].
        place: the other stream, for messages.

    Raises:
        DatasetError: the stamps come from two clocks.
    """
    times, stamps = stream
    order = np.argsort(joints[0], kind='stable')
    recorded = joints[0][order]
    together = (times >= recorded[0]) & (times <= recorded[-1])
    if not together.any():
        return
    # Relative to the first one: a double does not hold nanoseconds since 1970.
    base = joints[1][0]
    own = np.interp(times[together], recorded, (joints[1][order] - base).astype(float))
    apart = float(np.median((stamps[together] - base) - own)) / NANOSECONDS
    if abs(apart) > max_skew:
        raise DatasetError(
            f'{place}: its stamps are {abs(apart):.2f} s {"ahead of" if apart > 0 else "behind"} '
            'those of the joint states that were recorded at the same time, allowed are '
            f'{max_skew:g} s: two clocks; synchronise them and record again'
        )


def _check_gap(
    name: str,
    stamps: np.ndarray,
    index: np.ndarray,
    age: np.ndarray,
    limit: float,
    origin: int,
    place: str,
) -> None:
    bad = np.flatnonzero(age > limit)
    if len(bad):
        at = int(index[bad[0]])
        gap = (stamps[at + 1] - stamps[at]) / NANOSECONDS if at + 1 < len(stamps) else age[bad[0]]
        raise DatasetError(
            f'{place}: {name}: {gap:.2f} s without a message after '
            f'{(stamps[at] - origin) / NANOSECONDS:.2f} s, allowed are {limit:g} s '
            f'({len(bad)} frames would see a stale message)'
        )


def _spans(streams: Mapping[str, np.ndarray]) -> str:
    origin = min(int(stamps[0]) for stamps in streams.values())
    return ', '.join(
        f'{name} {(stamps[0] - origin) / NANOSECONDS:.2f}..'
        f'{(stamps[-1] - origin) / NANOSECONDS:.2f} s'
        for name, stamps in streams.items()
    )


def drop_idle_frames(values: np.ndarray, mode: str, tolerance: float) -> np.ndarray:
    """Return the frames that are left when idle ones (the action does not change) are dropped.

    Args:
        values: (T, D) actions.
        mode: `off` keeps all; `ends` drops the idle frames before the first and after the last
            motion, but one each; `all` drops every idle frame, as LIBERO's no-op filter does
            (the data then moves without pauses).
        tolerance: largest change of any dimension that counts as idle.

    Returns:
        (M,) frame numbers, ascending; never empty.
    """
    if mode == 'off':
        return np.arange(len(values))
    if mode == 'all':
        kept = [0]
        for frame in range(1, len(values)):
            if np.abs(values[frame] - values[kept[-1]]).max() > tolerance:
                kept.append(frame)
        return np.array(kept)
    moving = np.flatnonzero(np.abs(np.diff(values, axis=0)).max(axis=1, initial=0) > tolerance)
    if not len(moving):
        return np.arange(1)
    return np.arange(moving[0], moving[-1] + 2)
