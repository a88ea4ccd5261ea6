# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The motion being executed: timed knots joined by cubics, its progress and its instruction."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.motion.hermite import MERGE_S, evaluate_cubic


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
        """Absolute time from which it rests [s]; `start` if it never moves."""
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
        return evaluate_cubic(time - float(self.times[i]), h, *self._ends(i))

    def sample_many(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and velocities (M, J) at absolute times (M,)."""
        time = np.asarray(times, dtype=float) - self.start
        inside = np.clip(time, 0.0, self.times[-1])
        i = np.clip(self.times.searchsorted(inside, 'right') - 1, 0, len(self.times) - 2)
        t, h = (inside - self.times[i])[:, None], np.diff(self.times)[i][:, None]
        positions, velocities = evaluate_cubic(t, h, *self._ends(i))
        velocities[(time < -1e-9) | (time >= self.times[-1])] = 0.0
        return positions, velocities

    def points(self, earliest: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the points for a controller: (times, positions, velocities), all times > 0.

        Args:
            earliest: knots before this time [s] are left out, the last one excepted.
        """
        kept = self.times >= earliest
        kept[0], kept[-1] = False, True
        return self.times[kept], self.positions[kept], self.velocities[kept]

    def shifted(self, offset: float) -> JointPlan:
        """Return the same motion `offset` seconds later."""
        return JointPlan(self.start + offset, self.times, self.positions, self.velocities)

    def remaining(self, now: float, shortest: float) -> JointPlan:
        """Return the rest of the motion from `now` on; at rest, `shortest` seconds of it."""
        knots = self.start + self.times - now
        ahead = knots > MERGE_S
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


def rest_plan(position: np.ndarray, now: float, duration: float = 0.05) -> JointPlan:
    """Return the plan of standing still."""
    still = np.tile(np.asarray(position, dtype=float), (2, 1))
    return JointPlan(now, np.array([0.0, duration]), still, np.zeros_like(still))


@dataclass(frozen=True)
class MotionPlan:
    """Motion of arm and gripper from a hand-over to rest.

    Progress is policy time: it runs with the clock while the arm keeps the pace of the policy,
    slower where the motion is stretched to the limits, and stops at rest or while braking.
    Differences of progress are the policy time that the arm really consumed.

    Attributes:
        arm: motion of the arm joints [rad].
        gripper: motion of the gripper's open fraction, (N, 1).
        progress: (N,) policy time at each knot of `arm` [s].
        instruction: that the chunk was computed for; empty when holding.
        chunk_start: progress at the chunk's observation [s].
        step_period: of the chunk [s].
        steps: steps of the chunk, 0 when holding.
        switch: absolute time at which the motion leaves the previous plan [s].
        due: absolute time by which the next chunk should take over [s].
        kind: `join`, `approach`, `brake` (track_planner.py), `travel`, `hold` or `rest`.
        dropped: steps of the chunk that had already passed.
    """

    arm: JointPlan
    gripper: JointPlan
    progress: np.ndarray
    instruction: str = ''
    chunk_start: float = 0.0
    step_period: float = 0.1
    steps: int = 0
    switch: float = 0.0
    due: float = -np.inf
    kind: str = 'rest'
    dropped: int = 0

    @property
    def start(self) -> float:
        """Absolute time of the first knot [s]."""
        return self.arm.start

    @property
    def end(self) -> float:
        """Absolute time at which arm and gripper rest [s]."""
        return max(self.arm.end, self.gripper.end)

    @property
    def pace(self) -> float:
        """Mean pace of the motion: 1 if it keeps up with the policy, less where it is slowed."""
        return float((self.progress[-1] - self.progress[0]) / self.arm.times[-1])

    def sample(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Return position and velocity in contract order, (J + 1,) each."""
        arm, gripper = self.arm.sample(now), self.gripper.sample(now)
        return np.concatenate((arm[0], gripper[0])), np.concatenate((arm[1], gripper[1]))

    def progress_at(self, now: float) -> float:
        """Return the policy time reached at an absolute time [s]."""
        return float(np.interp(now - self.start, self.arm.times, self.progress))

    def time_of(self, progress: float) -> float:
        """Return the first absolute time at which a progress is reached [s]."""
        i = int(self.progress.searchsorted(progress, 'left'))
        times = self.arm.times
        if i == 0 or i == len(times):
            return self.start + float(times[min(i, len(times) - 1)])
        gained = self.progress[i] - self.progress[i - 1]
        fraction = (progress - self.progress[i - 1]) / gained
        return self.start + float(times[i - 1] + fraction * (times[i] - times[i - 1]))

    def step_at(self, now: float) -> int:
        """Return the index of the chunk's step in execution, or `steps` when all are done."""
        done = (self.progress_at(now) - self.chunk_start) / self.step_period
        return min(max(int(done + 1e-6), 0), self.steps)


@dataclass(frozen=True)
class Executing:
    """Step `step` of `steps` of a chunk for `instruction`, and the kind of plan."""

    instruction: str
    step: int
    steps: int
    kind: str


class PlanHistory:
    """The plans of the last seconds, so that a past time can be looked up."""

    def __init__(self, size: int = 256) -> None:
        self._plans: deque[MotionPlan] = deque(maxlen=size)

    @property
    def current(self) -> MotionPlan:
        """The newest plan."""
        return self._plans[-1]

    def __bool__(self) -> bool:
        return bool(self._plans)

    def restart(self, plan: MotionPlan) -> None:
        """Forget the past and start with `plan`."""
        self._plans.clear()
        self._plans.append(plan)

    def push(self, plan: MotionPlan) -> None:
        """Let `plan` take over at its start."""
        self._plans.append(plan)

    def at(self, time: float) -> MotionPlan:
        """Return the plan executed at an absolute time [s]; the oldest if before its start."""
        for plan in reversed(self._plans):
            if plan.start <= time:
                return plan
        return self._plans[0]

    def executing(self, now: float) -> Executing:
        """Return the step executed at `now`; until a plan's switch that is the plan before it."""
        plans = [plan for plan in self._plans if plan.start <= now] or [self._plans[0]]
        plan = plans[-1]
        for earlier in reversed(plans):
            plan = earlier
            if now >= plan.switch:
                break
        return Executing(plan.instruction, plan.step_at(now), plan.steps, plan.kind)


def rest_motion(position: np.ndarray, now: float) -> MotionPlan:
    """Return the plan of standing still at `position` (J + 1,) in contract order."""
    position = np.asarray(position, dtype=float)
    arm, gripper = rest_plan(position[:-1], now), rest_plan(position[-1:], now)
    return MotionPlan(arm, gripper, np.zeros(2), switch=now)
