# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How a new motion leaves the old one, and how the gripper keeps step with the arm."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.motion.plan import JointPlan
from vla_adapter_ros.motion.planning import MIN_GAP, Targets, Track

_MERGE = 1e-4


def prefixed(old: JointPlan, track: Track, now: float, lead: float) -> JointPlan:
    """Return a plan from `now` that follows `old` for `lead` seconds, then `track`.

    A controller that receives it a little later is still on `old`, and the first segment it
    interpolates leads to a point of `old`: the late arrival leaves no trace.
    """
    if lead <= 0.0:
        return JointPlan(now, track.times, track.positions, track.velocities)
    knots = old.start + old.times - now
    inside = knots[(knots > _MERGE) & (knots < lead - _MERGE)]
    times = np.concatenate(([0.0], inside))
    positions, velocities = old.sample_many(now + times)
    return JointPlan(
        now,
        np.concatenate((times, lead + track.times)),
        np.vstack((positions, track.positions)),
        np.vstack((velocities, track.velocities)),
    )


def still_track(position: np.ndarray, arm: Track) -> Track:
    """Return the track of standing still at `position` (J,) for as long as the arm moves."""
    still = np.tile(position, (2, 1))
    times = np.array([0.0, max(float(arm.times[-1]), MIN_GAP)])
    return Track(times, still, np.zeros_like(still), arm.phases[[0, -1]], 'join')


def gripper_targets(knots: np.ndarray, velocity: np.ndarray, period: float, arm: Track) -> Targets:
    """Return the gripper's targets, timed so that each is due when the arm reaches its own.

    An arm that is slowed must not be overtaken by its gripper closing on nothing.

    Args:
        knots: (K + 1, 1) open fractions: at the observation, then one per step.
        velocity: (1,) at the observation.
        period: intended time between two steps [s].
        arm: the planned motion of the arm for the same steps.
    """
    phase = float(arm.phases[0])
    ahead = min(int(phase) + 1, len(knots) - 1)
    due = np.interp(np.arange(ahead, len(knots)), arm.phases, arm.times)
    durations = np.full(len(knots) - 1, period)
    durations[ahead - 1] = max(due[0], MIN_GAP) / max(ahead - phase, MIN_GAP)
    durations[ahead:] = np.maximum(np.diff(due), MIN_GAP)
    return Targets(knots, durations, velocity, phase)
