# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From a moving start through timed targets to rest, inside velocity and acceleration limits.

The targets define a reference: a spline that passes through each of them, slowed where it would
break a limit. The arm is rarely on it when a new chunk arrives. Three kinds of track lead onto it,
tried in this order:

1. join: follow the reference from now on and let the offset from it (position and velocity) decay
   to zero by one of the next knots. The sum of two cubics is a cubic, so the knots stay where they
   are and no time is lost. This is the usual case: two chunks that nearly agree.
2. approach: head for the next target, taking as long as the limits demand.
3. brake: stop each joint as fast as allowed, then go through the targets from rest. It always
   exists, so there always is a plan.

A candidate is accepted only by its exact peaks (hermite.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.motion.hermite import (
    MERGE_S,
    JointLimits,
    evaluate_cubic,
    position_bounds,
    segment_peaks,
    stretch_to_limits,
)

# Tracks use this fraction of the limits, which leaves room for a full brake within them.
PLANNING_MARGIN = 0.98
# An offset may decay over at most this many knots …
MAX_JOIN_KNOTS = 4
# … and takes the shortest decay whose peak stays below this fraction of the limits.
PREFERRED_LOAD = 0.6
# Peaks may use this fraction of the limits: the rest is for the knots that a hand-over merges.
MAX_LOAD = 0.99
# When the reference itself uses up the limits, slow it to make room for the offset.
REFERENCE_SLOWDOWNS = (1.0, 0.85, 0.65)
# Shortest time between two knots [s].
MIN_GAP = 1e-3
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Targets:
    """K timed targets after an anchor.

    Attributes:
        knots: (K + 1, J); row 0 is the anchor (position at the observation), row i target i.
        durations: (K,) intended time between two rows [s].
        anchor_velocity: (J,) velocity at row 0.
        phase: in [0, K): progress of the motion, in rows.
    """

    knots: np.ndarray
    durations: np.ndarray
    anchor_velocity: np.ndarray
    phase: float


@dataclass(frozen=True)
class Track:
    """A planned motion of one group of joints.

    Attributes:
        times: (N,) seconds from the start state, first 0, strictly increasing.
        positions: (N, J).
        velocities: (N, J), last row zero.
        phases: (N,) progress at each knot in rows of `Targets.knots`, never decreasing.
        kind: `join`, `approach` or `brake`.
    """

    times: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray
    phases: np.ndarray
    kind: str


def plan_track(
    position: np.ndarray, velocity: np.ndarray, targets: Targets, limits: JointLimits
) -> Track:
    """Return the motion from (position, velocity) through the targets that are still ahead.

    Args:
        position: (J,) at the start.
        velocity: (J,) at the start; must be stoppable within the limits.
        targets: inside the position limits.
        limits: of these joints.
    """
    track = _join(position, velocity, targets, limits)
    if track is None:
        track = _approach(position, velocity, targets, limits)
    return track if track is not None else _brake_and_go(position, velocity, targets, limits)


def brake_track(
    position: np.ndarray, velocity: np.ndarray, limits: JointLimits, shortest: float = MIN_GAP
) -> Track:
    """Return the fastest stop: each joint decelerates nearly at its limit until it rests.

    Joints that could stop faster than `shortest` [s] take that long, if the position limits
    allow: a controller that starts slightly late would jerk through a very short segment. Close to
    a position limit a joint that has just the room to stop uses its whole acceleration.
    """
    track = _brake(position, velocity, limits, shortest, MAX_LOAD)
    if _outside(track.positions[-1], limits).any():
        track = _brake(position, velocity, limits, 0.0, MAX_LOAD)
        if (leaves := _outside(track.positions[-1], limits)).any():
            load = np.where(leaves, 1.0, MAX_LOAD)
            track = _brake(position, velocity, limits, 0.0, load)
    return track


def _outside(position: np.ndarray, limits: JointLimits) -> np.ndarray:
    return (position < limits.lower) | (position > limits.upper)


def _brake(
    position: np.ndarray,
    velocity: np.ndarray,
    limits: JointLimits,
    shortest: float,
    load: float | np.ndarray,
) -> Track:
    stop_times = np.abs(velocity) / (limits.acceleration * load)
    # A joint that is almost at rest must not make a segment in which rounding of its position
    # looks like an acceleration.
    shortest = max(shortest, MERGE_S)
    stop_times = np.where(stop_times > 0.0, np.maximum(stop_times, shortest), 0.0)
    # Stops that nearly coincide share the later knot: slightly softer, never harder.
    knots = [max(float(stop_times.max()), shortest, MIN_GAP)]
    for i in np.argsort(-stop_times):
        if stop_times[i] < knots[-1] - MERGE_S:
            knots.append(float(stop_times[i]))
        if stop_times[i] > 0.0:
            stop_times[i] = knots[-1]
    times = np.array(sorted({0.0, *knots}))
    run = np.minimum(times[:, None], stop_times)
    done = np.divide(run, stop_times, out=np.ones_like(run), where=stop_times > 0.0)
    velocities = velocity * (1.0 - done)
    positions = position + velocity * run * (1.0 - 0.5 * done)
    return Track(times, positions, velocities, np.zeros(len(times)), 'brake')


def _join(
    position: np.ndarray, velocity: np.ndarray, targets: Targets, limits: JointLimits
) -> Track | None:
    for slowdown in REFERENCE_SLOWDOWNS:
        reference = _reference(targets, limits.scaled(PLANNING_MARGIN * slowdown))
        track, hopeless = _join_reference(position, velocity, targets, limits, *reference)
        if track is not None or hopeless:
            return track
    return None


def _reference(targets: Targets, limits: JointLimits) -> tuple[np.ndarray, np.ndarray]:
    """Return (durations, velocities) of the spline through all knots within `limits`."""
    path = (targets.durations, targets.knots)
    fit = stretch_to_limits(*path, targets.anchor_velocity, limits, max_rounds=5)
    if fit is None:
        fit = stretch_to_limits(*path, None, limits)
    assert fit is not None, 'a path with a free start velocity can always be stretched'
    return fit


def _join_reference(
    position: np.ndarray,
    velocity: np.ndarray,
    targets: Targets,
    limits: JointLimits,
    durations: np.ndarray,
    reference_velocities: np.ndarray,
) -> tuple[Track | None, bool]:
    """Return the best join with this reference, and whether slowing it further is hopeless."""
    ahead = _next_knot(targets.phase, durations)
    if ahead > len(durations):
        return None, True
    segment = ahead - 1
    # Slightly below zero where a knot was too close to count.
    elapsed = (targets.phase - segment) * durations[segment]
    knots, ends = targets.knots, reference_velocities
    on_path = evaluate_cubic(
        elapsed, durations[segment], knots[segment], ends[segment], knots[ahead], ends[ahead]
    )
    offset, drift = position - on_path[0], velocity - on_path[1]
    times = np.concatenate(([0.0], np.cumsum(durations[segment:]) - elapsed))
    base_p = np.vstack((on_path[0], targets.knots[ahead:]))
    base_v = np.vstack((on_path[1], reference_velocities[ahead:]))
    phases = np.concatenate(([targets.phase], np.arange(ahead, len(targets.knots))))
    last = min(MAX_JOIN_KNOTS, len(times) - 1)
    if np.any(6.0 * np.abs(offset) > limits.acceleration * (times[last] + 1.0) ** 2):
        return None, True
    best, best_load = None, MAX_LOAD
    for knot in range(1, last + 1):
        p, v = _with_decay(base_p, base_v, times, offset, drift, knot)
        load = _load(times, p, v, position, limits)
        if load <= best_load:
            best, best_load = Track(times, p, v, phases, 'join'), load
            if load <= PREFERRED_LOAD:
                break
    return best, False


def _next_knot(phase: float, durations: np.ndarray) -> int:
    """Return the first knot ahead of `phase` that is not too close to be a knot of its own."""
    ahead = int(phase) + 1
    if ahead <= len(durations) and (ahead - phase) * durations[ahead - 1] < MIN_GAP:
        ahead += 1
    return ahead


def _with_decay(
    base_p: np.ndarray,
    base_v: np.ndarray,
    times: np.ndarray,
    offset: np.ndarray,
    drift: np.ndarray,
    knot: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Add the cubic that takes (offset, drift) to (0, 0) at `times[knot]`."""
    s = (times[:knot] / times[knot])[:, None]
    turn = drift * times[knot]
    p, v = base_p.copy(), base_v.copy()
    p[:knot] += offset * (1 - s) ** 2 * (1 + 2 * s) + turn * s * (1 - s) ** 2
    v[:knot] += offset * (6 * s * (s - 1)) / times[knot] + drift * (1 - s) * (1 - 3 * s)
    return p, v


def _load(
    times: np.ndarray, p: np.ndarray, v: np.ndarray, position: np.ndarray, limits: JointLimits
) -> float:
    """Return the largest fraction of a limit that a motion uses; infinite outside the range."""
    durations = np.diff(times)
    low, high = position_bounds(durations, p, v)
    floor = np.minimum(limits.lower, position) - _TOLERANCE
    ceiling = np.maximum(limits.upper, position) + _TOLERANCE
    if (low < floor).any() or (high > ceiling).any():
        return np.inf
    peak_velocity, peak_acceleration = segment_peaks(durations, p, v)
    return max(
        float((peak_velocity / limits.velocity).max()),
        float((peak_acceleration / limits.acceleration).max()),
    )


def _ahead(targets: Targets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the targets still ahead, the time to each from the one before, and phases."""
    ahead = min(int(targets.phase) + 1, len(targets.durations))
    durations = targets.durations[ahead - 1 :].copy()
    durations[0] = max(durations[0] * (ahead - targets.phase), MIN_GAP)
    phases = np.concatenate(([targets.phase], np.arange(ahead, len(targets.knots))))
    return targets.knots[ahead:], durations, phases


def _approach(
    position: np.ndarray, velocity: np.ndarray, targets: Targets, limits: JointLimits
) -> Track | None:
    goals, durations, phases = _ahead(targets)
    positions = np.vstack((position, goals))
    fit = stretch_to_limits(durations, positions, velocity, limits.scaled(PLANNING_MARGIN))
    if fit is None:
        return None
    durations, velocities = fit
    low, high = position_bounds(durations[:1], positions[:2], velocities[:2])
    # A joint that must turn back runs on for its stopping distance; a detour much longer than
    # that comes from waiting for another joint, and braking first is better.
    detour = np.maximum(positions[:2].min(axis=0) - low[0], high[0] - positions[:2].max(axis=0))
    if np.any(detour > 1.5 * velocity**2 / (2.0 * limits.acceleration) + 2e-3):
        return None
    times = np.concatenate(([0.0], np.cumsum(durations)))
    if _load(times, positions, velocities, position, limits) > MAX_LOAD:
        return None
    return Track(times, positions, velocities, phases, 'approach')


def _brake_and_go(
    position: np.ndarray, velocity: np.ndarray, targets: Targets, limits: JointLimits
) -> Track:
    brake = brake_track(position, velocity, limits, 0.0)
    goals, durations, phases = _ahead(targets)
    positions = np.vstack((brake.positions[-1], goals))
    at_rest = np.zeros_like(velocity)
    fit = stretch_to_limits(durations, positions, at_rest, limits.scaled(PLANNING_MARGIN))
    assert fit is not None, 'a path from rest can always be stretched'
    durations, velocities = fit
    return Track(
        np.concatenate((brake.times, brake.times[-1] + np.cumsum(durations))),
        np.vstack((brake.positions, goals)),
        np.vstack((brake.velocities, velocities[1:])),
        np.concatenate((np.full(len(brake.times), targets.phase), phases[1:])),
        'brake',
    )
