# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A timed motion: knots with positions and velocities, joined by cubics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Knots closer than this are one [s].
_MERGE = 1e-4


@dataclass(frozen=True)
class JointPlan:
    """Knots of a motion that is continuous in position and velocity and ends at rest.

    Attributes:
        start: absolute time of the first knot [s].
        times: (N,) time of each knot from `start` [s]; `times[0]` is 0, strictly increasing.
        positions: (N, J).
        velocities: (N, J) per second; the last row is zero.
    """

    start: float
    times: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray

    @property
    def end(self) -> float:
        """Absolute time from which it rests [s]: that of the last knot, if it moves at all."""
        if not self.velocities.any() and (self.positions == self.positions[0]).all():
            return self.start
        return self.start + float(self.times[-1])

    def sample(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Return position and velocity (J,) at an absolute time; at rest outside the plan."""
        time = now - self.start
        if time <= 0.0:
            moving = time > -1e-9
            return self.positions[0].copy(), self.velocities[0] * moving
        if time >= self.times[-1]:
            return self.positions[-1].copy(), np.zeros_like(self.positions[-1])
        i = int(self.times.searchsorted(time, 'right')) - 1
        h = float(self.times[i + 1] - self.times[i])
        return _cubic(time - float(self.times[i]), h, *self._ends(i))

    def sample_many(self, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and velocities (M, J) at absolute times (M,)."""
        time = np.asarray(moments, dtype=float) - self.start
        inside = np.clip(time, 0.0, self.times[-1])
        i = np.clip(self.times.searchsorted(inside, 'right') - 1, 0, len(self.times) - 2)
        t, h = (inside - self.times[i])[:, None], np.diff(self.times)[i][:, None]
        positions, velocities = _cubic(t, h, *self._ends(i))
        velocities[(time < -1e-9) | (time >= self.times[-1])] = 0.0
        return positions, velocities

    def points(self, earliest: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what a controller is sent: (times, positions, velocities), all times > 0.

        Args:
            earliest: knots before this time [s] are left out, the last one excepted.
        """
        wanted = self.times >= earliest
        wanted[0], wanted[-1] = False, True
        return self.times[wanted], self.positions[wanted], self.velocities[wanted]

    def shifted(self, offset: float) -> JointPlan:
        """Return the same motion `offset` seconds later."""
        return JointPlan(self.start + offset, self.times, self.positions, self.velocities)

    def remaining(self, now: float, shortest: float) -> JointPlan:
        """Return the rest of the motion from `now` on; at rest, `shortest` seconds of it."""
        knots = self.start + self.times - now
        ahead = knots > _MERGE
        position, velocity = self.sample(now)
        if not ahead.any():
            return rest_plan(position, now, shortest)
        return JointPlan(
            now,
            np.concatenate(([0.0], knots[ahead])),
            np.vstack((position, self.positions[ahead])),
            np.vstack((velocity, self.velocities[ahead])),
        )

    def _ends(self, i: int | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        p, v = self.positions, self.velocities
        return p[i], v[i], p[i + 1], v[i + 1]


def _cubic(
    t: float | np.ndarray,
    h: float | np.ndarray,
    p0: np.ndarray,
    v0: np.ndarray,
    p1: np.ndarray,
    v1: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    slope = (p1 - p0) / h
    a = (6.0 * slope - 4.0 * v0 - 2.0 * v1) / h
    jerk = (-12.0 * slope + 6.0 * (v0 + v1)) / (h * h)
    position = p0 + t * (v0 + t * (0.5 * a + t * (jerk / 6.0)))
    return position, v0 + t * (a + t * 0.5 * jerk)


def rest_plan(position: np.ndarray, now: float, duration: float = 0.05) -> JointPlan:
    """Return the plan of standing still."""
    still = np.tile(np.asarray(position, dtype=float), (2, 1))
    return JointPlan(now, np.array([0.0, duration]), still, np.zeros_like(still))
