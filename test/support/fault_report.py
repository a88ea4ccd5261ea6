# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What was asked of the arm after a fault, as shares of its limits, and the table of faults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_REST_SPEED = 0.01  # rad/s
# A joint this close to its target follows it [rad].
_FOLLOWS = 0.1
# Sampling and rounding of the measured shares.
TOLERANCE = 1.03


@dataclass(frozen=True)
class FaultRow:
    """One line of the table.

    Attributes:
        fault: its name.
        where: `bench` or `graph`, and the robot.
        velocity, acceleration, position: the largest asked for, as shares of the limit.
        distance: largest distance of a target from the measured pose, as a share of the allowed.
        rest: time from the fault to rest [s]; NaN if the arm moves at the end.
        reason: shown.
        violation: what was broken, or ''.
    """

    fault: str
    where: str
    velocity: float
    acceleration: float
    position: float
    distance: float
    rest: float
    reason: str
    violation: str


def allowed_distance(contract) -> float:
    """Return how far from the arm a joint may be commanded to go [rad].

    What an arm may lag behind, the soft bound beyond, and the way of a brake from full speed.
    """
    bounds, fastest = contract.supervision, contract.max_velocity[:-1].max()
    brake = fastest**2 / (2.0 * contract.max_acceleration[:-1].min())
    return bounds.lag * fastest + bounds.soft_tracking_error + brake


def position_shares(positions: np.ndarray, contract) -> np.ndarray:
    """Return positions (..., J) of the arm as shares of the way from mid-range to a limit."""
    middle = (contract.upper + contract.lower)[:-1] / 2
    half = (contract.upper - contract.lower)[:-1] / 2
    return np.abs(positions - middle) / half


def shares(
    asked, contract, since: float, allowed: float, near: float = 0.02
) -> tuple[float, float, float, float]:
    """Return the largest velocity, acceleration, position and distance asked for, as shares.

    Args:
        asked: `times` (N,), `targets` (N, 6), `measured` (N, 6).
        contract: the limits.
        since: time of the fault [s].
        allowed: distance of a target from the measured pose [rad].
        near: a target this close to the arm is where the arm is [rad].
    """
    start = max(int(np.searchsorted(asked.times, since)) - 2, 0)
    times = np.array(asked.times[start:])
    targets, measured = np.array(asked.targets[start:]), np.array(asked.measured[start:])
    step = np.diff(times)[:, None]
    # NaN where somebody else moved the target.
    velocity = np.nan_to_num(np.diff(targets, axis=0)) / step
    # A target that comes closer to the arm relieves it; only what leads away is asked of it.
    farther = np.abs(targets[1:] - measured[:-1]) - np.abs(targets[:-1] - measured[:-1])
    farther = np.where(np.abs(targets[1:] - measured[:-1]) > near, farther, 0.0)
    asked_velocity = np.nan_to_num(np.maximum(farther, 0.0)) / step
    away = asked_velocity > _REST_SPEED
    change = np.diff(velocity, axis=0) / step[1:]
    # A joint that does not follow is not slowed by a target that turns back to it.
    follows = np.abs(targets - measured)[2:] < _FOLLOWS
    faster = np.abs(velocity[1:]) > np.abs(velocity[:-1])
    acceleration = np.where(away[1:] & away[:-1] & (follows | faster), change, 0.0)
    return (
        float((np.abs(asked_velocity) / contract.max_velocity[:-1]).max()),
        float((np.abs(acceleration) / contract.max_acceleration[:-1]).max()),
        float(position_shares(targets, contract)[np.isfinite(targets)].max()),
        float(np.where(away, np.abs(targets[1:] - measured[1:]), 0.0).max() / allowed),
    )


def rest_after(asked, since: float) -> float:
    """Return the time from `since` to the last motion of the target [s]; NaN if it still moves."""
    times, targets = np.array(asked.times), np.array(asked.targets)
    speed = np.nan_to_num(np.abs(np.diff(targets, axis=0))).max(axis=1) / np.diff(times)
    moving = np.flatnonzero(speed > _REST_SPEED)
    last = times[moving[-1] + 1] if len(moving) else since
    return float('nan') if last > times[-1] - 0.1 else max(float(last - since), 0.0)


def table(rows: Iterable[FaultRow]) -> list[str]:
    """Return the lines of the table; the last counts faults and violations."""
    rows = list(rows)
    width = max((len(row.fault) for row in rows), default=5)
    lines = [
        f'{"fault":{width}}  {"where":20} {"vel":>5} {"acc":>5} {"pos":>5} {"dist":>5} '
        f'{"rest":>6}  reason'
    ]
    for row in rows:
        rest = 'moves' if np.isnan(row.rest) else f'{row.rest:.2f} s'
        lines.append(
            f'{row.fault:{width}}  {row.where:20} {row.velocity:5.0%} {row.acceleration:5.0%} '
            f'{row.position:5.0%} {row.distance:5.0%} {rest:>6}  {row.reason[:90]}'
        )
        if row.violation:
            lines.append(f'{"":{width}}  VIOLATION: {row.violation}')
    violations = sum(bool(row.violation) for row in rows)
    lines.append(f'{len(rows)} faults, {violations} violations')
    return lines
