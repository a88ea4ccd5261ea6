# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""ros2_control's joint_trajectory_controller, without ROS: what it accepts and how it moves.

Follows the documented behaviour of ros2_controllers (Jazzy and later): splines by what the points
carry (linear for positions, cubic with velocities, quintic with accelerations), a new message
replaces the old one from the state commanded at that moment (`open_loop_control: true`), every
joint must be named, the last velocity must be zero, and the end is held. A message whose stamp
lies in the past is sampled where the clock is, even if that is a jump. Written on its own, not
over `runtime`: it is what the runtime's trajectories are tested against.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError

# ros2_controllers compares the last velocity with the epsilon of a float.
_ZERO_VELOCITY = 1.2e-7


class TrajectoryError(VLAAdapterError):
    """A trajectory is refused; the motion before it continues."""


@dataclass(frozen=True)
class TrajectoryPoint:
    """One point, as in trajectory_msgs/JointTrajectoryPoint; an empty sequence means not given.

    Attributes:
        time_from_start: [s].
        positions: (J,) in the order of the trajectory's joint names.
        velocities: (J,) or empty.
        accelerations: (J,) or empty; used only where velocities are given too.
    """

    time_from_start: float
    positions: Sequence[float]
    velocities: Sequence[float] = ()
    accelerations: Sequence[float] = ()


@dataclass(frozen=True)
class Trajectory:
    """A message to the controller, as in trajectory_msgs/JointTrajectory.

    Attributes:
        joint_names: in any order, each of the controller's joints once.
        points: at least one.
        stamp: time of the start [s]; 0 starts when the message is accepted.
    """

    joint_names: Sequence[str]
    points: Sequence[TrajectoryPoint]
    stamp: float = 0.0


class JointTrajectoryController:
    """Turns trajectories into a commanded state at any time.

    Times are seconds on one clock of the caller. Until the first trajectory, and after the end
    of one, the commanded state is a hold.
    """

    def __init__(
        self,
        joint_names: Sequence[str],
        positions: Sequence[float],
        *,
        allow_nonzero_velocity_at_end: bool = False,
    ) -> None:
        self.joint_names = tuple(joint_names)
        self._allow_moving_end = allow_nonzero_velocity_at_end
        self.hold(positions)

    def hold(self, positions: Sequence[float]) -> None:
        """Drop the trajectory and hold (J,) positions."""
        count = len(self.joint_names)
        self._times = np.array([-math.inf])
        self._coefficients = np.zeros((0, 6, count))
        self._last = np.array(positions, float)
        self._still = np.zeros(count)
        if self._last.shape != (count,):
            raise TrajectoryError(f'hold: expected {count} positions, got {positions!r}')

    def accept(self, trajectory: Trajectory, now: float) -> None:
        """Replace the current motion by `trajectory`, from the state commanded `now`.

        Raises:
            TrajectoryError: the message is refused, with the reason; nothing changes.
        """
        order = self._check_names(trajectory.joint_names)
        times = self._check_times(trajectory, now)
        start = trajectory.stamp or now
        rows = [self._check_point(i, point, order) for i, point in enumerate(trajectory.points)]
        self._check_end(rows[-1])
        before = self.sample(now), self._acceleration(now)
        states = [(*before[0], before[1]), *rows]
        knots = np.concatenate([[now], start + times])
        # With a stamp in the past some points are over. The real controller then samples the
        # message where the clock is, without a bridge from the commanded state: it may jump.
        first = int(np.searchsorted(knots[1:], now, 'right'))
        knots, states = knots[first:], states[first:]
        self._coefficients = np.array(
            [
                _spline(float(t1 - t0), a, b)
                for t0, t1, a, b in zip(knots, knots[1:], states, states[1:])
            ]
        ).reshape(-1, 6, len(self.joint_names))
        self._times = knots
        self._last = states[-1][0].copy()

    def sample(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Return commanded positions and velocities (J,) at `time`; do not modify them."""
        if time >= self._times[-1] or len(self._coefficients) == 0:
            return self._last, self._still
        # Asked before the start, which only happens when the clock jumped back: the start.
        t, c = self._segment(max(time, float(self._times[0])))
        position = c[0] + t * (c[1] + t * (c[2] + t * (c[3] + t * (c[4] + t * c[5]))))
        slope = c[1] + t * (2 * c[2] + t * (3 * c[3] + t * (4 * c[4] + t * 5 * c[5])))
        return position, slope

    def _segment(self, time: float) -> tuple[float, np.ndarray]:
        index = int(np.searchsorted(self._times, time, 'right')) - 1
        return time - float(self._times[index]), self._coefficients[index]

    def _acceleration(self, time: float) -> np.ndarray:
        if time >= self._times[-1] or len(self._coefficients) == 0:
            return self._still
        t, c = self._segment(max(time, float(self._times[0])))
        return 2 * c[2] + t * (6 * c[3] + t * (12 * c[4] + t * 20 * c[5]))

    def _check_names(self, names: Sequence[str]) -> list[int]:
        """Return for each of our joints its column in the message."""
        names = list(names)
        for name in names:
            if name not in self.joint_names:
                expected = ', '.join(self.joint_names)
                raise TrajectoryError(f'joint {name!r} is unknown; expected {expected}')
            if names.count(name) > 1:
                raise TrajectoryError(f'joint {name!r} is named {names.count(name)} times')
        missing = [name for name in self.joint_names if name not in names]
        if missing:
            raise TrajectoryError(f'joints {", ".join(missing)} are missing; all are required')
        return [names.index(name) for name in self.joint_names]

    @staticmethod
    def _check_times(trajectory: Trajectory, now: float) -> np.ndarray:
        if not trajectory.points:
            raise TrajectoryError('the trajectory has no points')
        times = np.array([float(point.time_from_start) for point in trajectory.points])
        if not (np.isfinite(times).all() and math.isfinite(trajectory.stamp)) or times[0] < 0.0:
            raise TrajectoryError(f'times must be finite and not negative, got {times.tolist()}')
        for i in np.flatnonzero(np.diff(times) <= 0.0):
            raise TrajectoryError(
                f'time of point {i + 1} ({times[i + 1]:g} s) is not after '
                f'point {i} ({times[i]:g} s)'
            )
        if trajectory.stamp and trajectory.stamp + times[-1] < now:
            late = now - trajectory.stamp - times[-1]
            raise TrajectoryError(f'the trajectory ended {late:.3f} s ago')
        return times

    def _check_point(
        self, index: int, point: TrajectoryPoint, order: list[int]
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        def values(kind: str, given: Sequence[float]) -> np.ndarray | None:
            if len(given) == 0 and kind != 'positions':
                return None
            if len(given) != len(order):
                raise TrajectoryError(f'point {index}: {len(given)} {kind}, expected {len(order)}')
            row = np.asarray(given, float)[order]
            if not np.isfinite(row).all():
                bad = self.joint_names[int(np.flatnonzero(~np.isfinite(row))[0])]
                raise TrajectoryError(f'point {index}: {kind} of {bad} are not finite')
            return row

        return (
            values('positions', point.positions),
            values('velocities', point.velocities),
            values('accelerations', point.accelerations),
        )

    def _check_end(self, last: tuple[np.ndarray, np.ndarray | None, np.ndarray | None]) -> None:
        velocities = last[1]
        if velocities is None or self._allow_moving_end:
            return
        for i in np.flatnonzero(np.abs(velocities) > _ZERO_VELOCITY):
            raise TrajectoryError(
                f'velocity of the last point of {self.joint_names[i]} is {velocities[i]:g}, '
                'expected 0'
            )


def _spline(
    h: float,
    a: tuple[np.ndarray, np.ndarray | None, np.ndarray | None],
    b: tuple[np.ndarray, np.ndarray | None, np.ndarray | None],
) -> np.ndarray:
    """Return (6, J) polynomial coefficients from state `a` to `b` over `h` seconds.

    The degree follows from what both ends carry: 1 (positions), 3 (velocities) or 5
    (accelerations). States are (positions, velocities, accelerations).
    """
    p0, p1 = a[0], b[0]
    c = np.zeros((6, len(p0)))
    c[0] = p0
    if a[1] is None or b[1] is None:
        c[1] = (p1 - p0) / h
        return c
    v0, v1 = a[1], b[1]
    c[1] = v0
    if a[2] is None or b[2] is None:
        c[2] = (3 * (p1 - p0) - (2 * v0 + v1) * h) / h**2
        c[3] = (2 * (p0 - p1) + (v0 + v1) * h) / h**3
        return c
    a0, a1 = a[2], b[2]
    c[2] = 0.5 * a0
    c[3] = (20 * (p1 - p0) - (8 * v1 + 12 * v0) * h - (3 * a0 - a1) * h**2) / (2 * h**3)
    c[4] = (30 * (p0 - p1) + (14 * v1 + 16 * v0) * h + (3 * a0 - 2 * a1) * h**2) / (2 * h**4)
    c[5] = (12 * (p1 - p0) - 6 * (v1 + v0) * h - (a0 - a1) * h**2) / (2 * h**5)
    return c
