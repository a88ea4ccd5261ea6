# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From the gripper's planned motion to the few goals of a gripper action.

An action server moves at a speed of its own to one position at a time, and some start anew with
every goal. So a motion becomes one goal, where it comes to rest, sent when it begins. Chunks
repeat and refine the same motion many times: what differs by less than a deadband is no new goal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.motion.plan import JointPlan, MotionPlan
from vla_adapter_ros.robot.contract import RobotContract

# Goals closer than this to the last one are not sent; so near to the ends they mean the end.
DEADBAND = 0.03
# Sampling of a plan [s], and how fast a motion is one [open fraction in this time].
_SAMPLE_S = 0.02
_MOVING = 1e-3
# A motion that begins within this time has begun [samples].
_SOON = 2
# A measured opening that changed by this much in this time [open fraction, s] is in motion.
_MOTION = 0.02
_MOTION_S = 0.25


@dataclass(frozen=True)
class GripperGoal:
    """A goal of the gripper's action: position and effort in the driver's units."""

    position: float
    max_effort: float


@dataclass(frozen=True)
class GripperCancel:
    """Stop the goal in execution, if there is one."""


GripperRequest = GripperGoal | GripperCancel


class GripperGoals:
    """Decides which goal to send when.

    A hold sends no goal. It cancels the goal in execution while the gripper moves or is about to,
    and leaves it alone else: a gripper that has closed on an object must keep its grip.

    Args:
        contract: with the section `front_end.gripper`.
    """

    def __init__(self, contract: RobotContract) -> None:
        assert contract.front_end.gripper is not None
        self._front_end = contract.front_end
        self._max_effort = contract.front_end.gripper.max_effort
        self._plan: JointPlan | None = None
        self._goal: float | None = None
        # When the plan comes to rest [s], and the bound for which its end was looked at.
        self._end = -np.inf
        self._settled: float | None = None
        self._measured: list[tuple[float, float]] = []
        # When the last goal set off a gripper that pressed on nothing [s].
        self._set_off = -np.inf

    def restart(self) -> None:
        """Motion is enabled again: others may have moved the gripper, the last goal is void."""
        self._plan = self._goal = None

    def observe(self, measured: float, now: float) -> None:
        """Take a measured opening [open fraction]."""
        self._measured = [m for m in self._measured if now - _MOTION_S <= m[1] <= now]
        self._measured.append((measured, now))

    def on_plan(
        self, plan: MotionPlan, now: float, lowest: float = 0.0
    ) -> list[GripperRequest]:
        """Take the plan in execution; returns what to send now."""
        if plan.kind == 'hold':
            return self.stop(now)
        if self._goal is None:
            self._goal = float(plan.gripper.sample(now)[0][0])
        self._plan, self._end, self._settled = plan.gripper, plan.gripper.end, None
        return self.due(now, lowest)

    def due(self, now: float, lowest: float = 0.0) -> list[GripperRequest]:
        """Return what to send at `now`; goals are not below `lowest` [open fraction]."""
        rests = now >= self._end
        if self._plan is None or (rests and lowest == self._settled):
            return []
        self._settled = lowest if rests else None
        goal = next_rest(self._plan, now)
        if goal < DEADBAND:
            goal = 0.0
        elif goal > 1.0 - DEADBAND:
            goal = 1.0
        goal = max(goal, lowest)
        assert self._goal is not None
        at_an_end = goal in (0.0, 1.0) and goal != self._goal
        if abs(goal - self._goal) <= DEADBAND and not at_an_end:
            return []
        if not self._presses():
            self._set_off = now
        self._goal = goal
        position = self._front_end.gripper_command(np.array([goal]))
        return [GripperGoal(float(position[0]), self._max_effort)]

    def stop(self, now: float) -> list[GripperRequest]:
        """Take the end of the motion; returns what to send now."""
        self._plan = None
        openings = [opening for opening, time in self._measured if now - time <= _MOTION_S]
        moves = bool(openings) and max(openings) - min(openings) > _MOTION
        if not moves and now - self._set_off > _MOTION_S:
            return []
        # Where it stops is not known; the next motion starts from what is commanded then.
        self._goal, self._set_off = None, -np.inf
        return [GripperCancel()]

    def _presses(self) -> bool:
        """Return whether the gripper is measured short of its last goal: an object stops it."""
        if self._goal is None or not self._measured:
            return False
        openings = [opening for opening, _ in self._measured]
        return self._goal < min(openings) - DEADBAND and max(openings) - min(openings) <= _MOTION


def next_rest(plan: JointPlan, now: float) -> float:
    """Return the opening (of a plan of one joint) at which the motion at `now` rests or turns."""
    here = float(plan.sample(now)[0][0])
    if now >= plan.end:
        return here
    times = np.arange(max(now, plan.start), plan.end + _SAMPLE_S, _SAMPLE_S)
    openings = plan.sample_many(times)[0][:, 0]
    steps = np.diff(openings)
    moving = np.flatnonzero(np.abs(steps) > _MOVING)
    if not len(moving) or moving[0] >= _SOON:
        return here
    first = int(moving[0])
    onwards = steps[first:] * np.sign(steps[first]) > _MOVING
    count = len(onwards) if onwards.all() else int(np.argmin(onwards))
    return float(openings[first + count])
