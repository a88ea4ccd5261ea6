# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Cubic Hermite splines under velocity and acceleration limits, in closed form.

A joint_trajectory_controller given positions and velocities interpolates each segment with the
cubic that meets both ends. So does this module, and because the velocity of a cubic is a parabola
and its acceleration a line, the peaks of a segment are known exactly: limits need no sampling.

Shapes: N knots, J joints; `durations` (N - 1,), `positions` and `velocities` (N, J).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vla_adapter_ros.robot.contract import RobotContract

# Knots closer than this are merged [s].
MERGE_S = 1e-4
# Segments grow by this factor more than limits demand: rounding must not break them.
_GROWTH = 1.005
# A joint may overshoot the range of two neighbouring targets by this much [rad].
MAX_OVERSHOOT = 5e-3


@dataclass(frozen=True)
class JointLimits:
    """Limits of J joints that move together; arrays of shape (J,)."""

    lower: np.ndarray
    upper: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray

    @staticmethod
    def of_arm(contract: RobotContract) -> JointLimits:
        """Return the limits of the arm joints."""
        return JointLimits._slice(contract, slice(0, -1))

    @staticmethod
    def of_gripper(contract: RobotContract) -> JointLimits:
        """Return the limits of the gripper's open fraction."""
        return JointLimits._slice(contract, slice(-1, None))

    def with_velocity_scale(self, factor: float) -> JointLimits:
        """Return limits with scaled velocities; braking keeps its full force."""
        return replace(self, velocity=self.velocity * factor)

    def scaled(self, factor: float) -> JointLimits:
        """Return limits with scaled velocities and accelerations."""
        return replace(
            self, velocity=self.velocity * factor, acceleration=self.acceleration * factor
        )

    @staticmethod
    def _slice(contract: RobotContract, part: slice) -> JointLimits:
        return JointLimits(
            contract.lower[part],
            contract.upper[part],
            contract.max_velocity[part],
            contract.max_acceleration[part],
        )


def evaluate_cubic(
    t: float | np.ndarray,
    h: float | np.ndarray,
    p0: np.ndarray,
    v0: np.ndarray,
    p1: np.ndarray,
    v1: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return position and velocity at time `t` of the cubic of duration `h` between two knots."""
    slope = (p1 - p0) / h
    a = (6.0 * slope - 4.0 * v0 - 2.0 * v1) / h
    jerk = (-12.0 * slope + 6.0 * (v0 + v1)) / (h * h)
    position = p0 + t * (v0 + t * (0.5 * a + t * (jerk / 6.0)))
    return position, v0 + t * (a + t * 0.5 * jerk)


def end_accelerations(
    durations: np.ndarray, positions: np.ndarray, velocities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the acceleration at the start and at the end of each segment, (N - 1, J) each."""
    h = durations[:, None]
    slope = (positions[1:] - positions[:-1]) / h
    v0, v1 = velocities[:-1], velocities[1:]
    return (6.0 * slope - 4.0 * v0 - 2.0 * v1) / h, (-6.0 * slope + 2.0 * v0 + 4.0 * v1) / h


def segment_peaks(
    durations: np.ndarray, positions: np.ndarray, velocities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest |velocity| and |acceleration| within each segment, (N - 1, J) each."""
    a0, a1 = end_accelerations(durations, positions, velocities)
    v0, v1 = velocities[:-1], velocities[1:]
    peak_velocity = np.maximum(np.abs(v0), np.abs(v1))
    # Acceleration crosses zero inside the segment: the velocity has its extremum there.
    turns = a0 * a1 < 0.0
    if turns.any():
        change = np.where(turns, a0 - a1, 1.0)
        extremum = np.abs(v0 + a0 * a0 * durations[:, None] / (2.0 * change))
        peak_velocity = np.where(turns, np.maximum(peak_velocity, extremum), peak_velocity)
    return peak_velocity, np.maximum(np.abs(a0), np.abs(a1))


def position_bounds(
    durations: np.ndarray, positions: np.ndarray, velocities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest position within each segment, (N - 1, J) each."""
    a0, a1 = end_accelerations(durations, positions, velocities)
    h = durations[:, None]
    v0 = velocities[:-1]
    p0, p1 = positions[:-1], positions[1:]
    jerk = (a1 - a0) / h
    # Roots of v0 + a0 t + jerk t²/2; the form below also holds when the jerk vanishes. A root
    # outside the segment is moved to its end, where the position counts anyway.
    q = -(a0 + np.copysign(np.sqrt(np.maximum(a0 * a0 - 2.0 * jerk * v0, 0.0)), a0))
    with np.errstate(divide='ignore', invalid='ignore'):
        roots = np.stack((q / jerk, 2.0 * v0 / q))
    t = np.minimum(np.fmax(roots, 0.0), h)
    turns = p0 + t * (v0 + t * (0.5 * a0 + t * (jerk / 6.0)))
    low = np.minimum(np.minimum(p0, p1), turns.min(axis=0))
    return low, np.maximum(np.maximum(p0, p1), turns.max(axis=0))


def monotone_velocities(
    durations: np.ndarray, positions: np.ndarray, start_velocity: np.ndarray | None
) -> np.ndarray:
    """Return knot velocities (N, J) whose spline never leaves the range of adjacent positions.

    The slope of the parabola through three neighbours (exact for constant acceleration), limited
    to three times the smaller neighbouring chord slope (Fritsch and Carlson, 1980), and zero at
    turning points. So the arm never overshoots past a target. The last velocity is zero.

    Args:
        durations: (N - 1,) [s], all > 0.
        positions: (N, J).
        start_velocity: (J,) if the start is already moving; None takes the first chord's slope.
    """
    slopes = (positions[1:] - positions[:-1]) / durations[:, None]
    velocities = np.zeros_like(positions)
    velocities[0] = slopes[0] if start_velocity is None else start_velocity
    before, after = slopes[:-1], slopes[1:]
    h0, h1 = durations[:-1, None], durations[1:, None]
    parabola = (h1 * before + h0 * after) / (h0 + h1)
    bound = 3.0 * np.minimum(np.abs(before), np.abs(after))
    limited = np.clip(parabola, -bound, bound)
    velocities[1:-1] = np.where(before * after > 0.0, limited, 0.0)
    return velocities


def smooth_velocities(
    durations: np.ndarray, positions: np.ndarray, start_velocity: np.ndarray | None
) -> np.ndarray:
    """Return knot velocities (N, J) of the cubic spline with continuous acceleration.

    It minimises the integral of the squared acceleration; on chunks of a smooth policy its peak
    acceleration is half that of the monotone one. It may overshoot a turning point slightly.
    Only the last segment deviates: the last velocity is zero, so that the motion ends at rest.

    Args:
        durations: (N - 1,) [s], all > 0.
        positions: (N, J).
        start_velocity: (J,) if the start is already moving; None leaves it free.
    """
    slopes = (positions[1:] - positions[:-1]) / durations[:, None]
    n = len(positions)
    matrix = np.zeros((n, n))
    right = np.empty_like(positions)
    inner = np.arange(1, n - 1)
    before, after = durations[:-1], durations[1:]
    matrix[inner, inner - 1] = after
    matrix[inner, inner] = 2.0 * (before + after)
    matrix[inner, inner + 1] = before
    right[1:-1] = 3.0 * (after[:, None] * slopes[:-1] + before[:, None] * slopes[1:])
    # A free end has no acceleration.
    matrix[0, :2] = (2.0, 1.0) if start_velocity is None else (1.0, 0.0)
    right[0] = 3.0 * slopes[0] if start_velocity is None else start_velocity
    matrix[-1, -2:] = (1.0, 2.0)
    right[-1] = 3.0 * slopes[-1]
    velocities = np.linalg.solve(matrix, right)
    velocities[-1] = 0.0
    return velocities


def knot_velocities(
    durations: np.ndarray,
    positions: np.ndarray,
    start_velocity: np.ndarray | None,
    limits: JointLimits,
) -> np.ndarray:
    """Return smooth velocities, blended towards monotone ones where the arm would overshoot.

    A joint may overshoot a target or a turning point by `MAX_OVERSHOOT`, but never a limit.
    Within that, velocities stay smooth.
    """
    velocities = smooth_velocities(durations, positions, start_velocity)
    low, high = position_bounds(durations, positions, velocities)
    floor = np.minimum(limits.lower, positions[0])
    ceiling = np.maximum(limits.upper, positions[0])
    leaves = (low < floor).any(axis=0) | (high > ceiling).any(axis=0)
    below = np.minimum(positions[:-1], positions[1:]) - low
    above = high - np.maximum(positions[:-1], positions[1:])
    # The overshoot of a start that is already moving cannot be changed.
    first = 0 if start_velocity is None else 1
    overshoot = np.maximum(below, above)[first:].max(axis=0, initial=0.0)
    if not leaves.any() and (overshoot <= MAX_OVERSHOOT).all():
        return velocities
    smooth = np.where(leaves, 0.0, MAX_OVERSHOOT / np.maximum(overshoot, MAX_OVERSHOOT))
    monotone = monotone_velocities(durations, positions, start_velocity)
    return monotone + smooth * (velocities - monotone)


def stretch_to_limits(
    durations: np.ndarray,
    positions: np.ndarray,
    start_velocity: np.ndarray | None,
    limits: JointLimits,
    max_rounds: int = 12,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Lengthen segments until the spline through `positions` keeps the limits of all joints.

    Each segment grows by the factor that its own peak demands (a velocity scales with 1/duration,
    an acceleration with 1/duration²), its neighbours adapt, and the round repeats; joints stay
    synchronous and every position is reached exactly. A path that starts at rest or with a free
    velocity is finished by one uniform scaling, which always succeeds.

    Args:
        durations: (N - 1,) intended durations [s].
        positions: (N, J), inside the position limits from row 1 on.
        start_velocity: (J,), or None if it is free.
        limits: of these joints.
        max_rounds: before uniform scaling, or before giving up; four are usual.

    Returns:
        (durations, velocities), or None if there is no solution for a given start velocity.
    """
    durations = durations.copy()
    for _ in range(max_rounds):
        velocities = knot_velocities(durations, positions, start_velocity, limits)
        factor = _excess(durations, positions, velocities, limits)
        if factor.max(initial=0.0) <= 1.0:
            return durations, velocities
        durations = np.where(factor > 1.0, durations * factor * _GROWTH, durations)
    if start_velocity is not None and np.any(start_velocity):
        return None
    velocities = knot_velocities(durations, positions, start_velocity, limits)
    scale = _excess(durations, positions, velocities, limits).max(initial=1.0) * _GROWTH
    return durations * scale, velocities / scale


def _excess(
    durations: np.ndarray, positions: np.ndarray, velocities: np.ndarray, limits: JointLimits
) -> np.ndarray:
    """Return the factor by which each segment must grow to keep the limits (<= 1: fits)."""
    velocity, acceleration = segment_peaks(durations, positions, velocities)
    by_velocity = (velocity / limits.velocity).max(axis=1)
    by_acceleration = np.sqrt((acceleration / limits.acceleration).max(axis=1))
    return np.maximum(by_velocity, by_acceleration)
