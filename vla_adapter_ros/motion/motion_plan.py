# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What is being executed: arm and gripper motion, how far it is, and for which instruction."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.motion.plan import JointPlan, rest_plan


@dataclass(frozen=True)
class MotionPlan:
    """One plan from its hand-over to rest.

    Progress is policy time: it runs with the clock while the arm keeps the pace of the policy,
    slower where the motion is stretched to the limits, and not at all at rest or while braking.
    Differences of progress are what was really consumed.

    Attributes:
        arm: motion of the arm joints [rad].
        gripper: motion of the gripper's open fraction, (N, 1).
        progress: (N,) policy time at each knot of `arm` [s].
        instruction: what it is for; empty when holding.
        chunk_start: progress at the chunk's observation [s].
        step_period: of the chunk [s].
        steps: steps of the chunk, 0 when holding.
        switch: absolute time at which the motion leaves the previous plan [s].
        due: absolute time by which the next chunk should take over [s].
        way: `join`, `approach`, `brake` (planning.py), `hold` or `rest`.
        dropped: steps of the chunk that were already passed.
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
    way: str = 'rest'
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
        share = (progress - self.progress[i - 1]) / gained
        return self.start + float(times[i - 1] + share * (times[i] - times[i - 1]))

    def step_at(self, now: float) -> int:
        """Return the index of the chunk's step under way, or `steps` when all are done."""
        done = (self.progress_at(now) - self.chunk_start) / self.step_period
        return min(max(int(done + 1e-6), 0), self.steps)


@dataclass(frozen=True)
class Executing:
    """What the arm does at one moment: step `step` of `steps` of a chunk for `instruction`."""

    instruction: str
    step: int
    steps: int
    way: str


class PlanHistory:
    """The plans of the last seconds, so that a moment in the past can be looked up."""

    def __init__(self, size: int = 256) -> None:
        self._plans: deque[MotionPlan] = deque(maxlen=size)

    @property
    def current(self) -> MotionPlan:
        """The newest plan."""
        return self._plans[-1]

    def __bool__(self) -> bool:
        return bool(self._plans)

    def restart(self, plan: MotionPlan) -> None:
        """Forget the past: from now on `plan` is all there is."""
        self._plans.clear()
        self._plans.append(plan)

    def push(self, plan: MotionPlan) -> None:
        """Let `plan` take over at its start."""
        self._plans.append(plan)

    def at(self, moment: float) -> MotionPlan:
        """Return the plan that was (or will be) executed at a moment; the oldest if before."""
        for plan in reversed(self._plans):
            if plan.start <= moment:
                return plan
        return self._plans[0]

    def executing(self, now: float) -> Executing:
        """Return what is done at a moment; until a plan's switch that is the plan before it."""
        plans = [plan for plan in self._plans if plan.start <= now] or [self._plans[0]]
        plan = plans[-1]
        for earlier in reversed(plans):
            plan = earlier
            if now >= plan.switch:
                break
        return Executing(plan.instruction, plan.step_at(now), plan.steps, plan.way)


def rest_motion(position: np.ndarray, now: float, progress: float = 0.0) -> MotionPlan:
    """Return the plan of standing still at `position` (J + 1,) in contract order."""
    position = np.asarray(position, dtype=float)
    arm, gripper = rest_plan(position[:-1], now), rest_plan(position[-1:], now)
    return MotionPlan(arm, gripper, np.full(2, progress), switch=now)
