# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Makes the plans of the scheduler: out of a chunk, or to stop."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.handover import gripper_targets, prefixed, still_track
from vla_adapter_ros.motion.motion_plan import MotionPlan, PlanHistory
from vla_adapter_ros.motion.plan import JointPlan
from vla_adapter_ros.motion.planning import MIN_GAP, Targets, Track, brake_track, plan_track
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.limits import Limits

_EPSILON = 1e-6
# A gripper this near to all its targets need not move [open fraction].
_STILL = 1e-4


@dataclass(frozen=True)
class Alignment:
    """Where a chunk meets the motion under way.

    Attributes:
        old: the plan under way.
        now: time of acceptance [s].
        switch: time of the hand-over [s].
        chunk_start: progress at the observation [s].
        phase: steps of the chunk that will have been consumed at the hand-over.
        anchor: (J + 1,) commanded position at the observation.
        anchor_velocity: (J + 1,) commanded velocity there.
    """

    old: MotionPlan
    now: float
    switch: float
    chunk_start: float
    phase: float
    anchor: np.ndarray
    anchor_velocity: np.ndarray

    @property
    def first(self) -> int:
        """Index of the first step that is still to do."""
        return int(self.phase)

    def all_passed(self, steps: int) -> bool:
        """Return whether nothing of a chunk of so many steps is left to do."""
        return self.phase >= steps - _EPSILON


class PlanMaker:
    """Makes plans that leave the motion under way without a jump.

    Args:
        contract: limits.
        execute_steps: steps to execute from the hand-over on before the next chunk is due.
        blend_steps: steps over which arm targets are mixed with the old plan's.
        lead: time from `now` to the hand-over [s].
    """

    def __init__(
        self, contract: RobotContract, execute_steps: int, blend_steps: int, lead: float
    ) -> None:
        self._arm_limits = Limits.of_arm(contract)
        self._gripper_limits = Limits.of_gripper(contract)
        self._execute_steps = execute_steps
        self._blend_steps = blend_steps
        self._lead = lead

    def align(self, history: PlanHistory, chunk: ActionChunk, now: float) -> Alignment:
        """Return where a chunk meets the motion under way, by what the arm really consumed."""
        stamp = min(chunk.observation_stamp, now)
        origin, old, switch = history.at(stamp), history.current, now + self._lead
        chunk_start = origin.progress_at(stamp)
        consumed = max(old.progress_at(switch) - chunk_start, 0.0)
        anchor = origin.sample(stamp)
        return Alignment(old, now, switch, chunk_start, consumed / chunk.step_period, *anchor)

    def make(
        self, chunk: ActionChunk, targets: np.ndarray, moment: Alignment, speed: float
    ) -> MotionPlan:
        """Return the plan through the steps of a chunk that are still to do.

        Args:
            chunk: for its timing and instruction.
            targets: (K, J + 1) joint targets within limits.
            moment: not all passed.
            speed: share of the arm's velocity limits.
        """
        old, period = moment.old, chunk.step_period
        arm_targets = self._blended(targets, moment, period)[:, :-1]
        arm = plan_track(
            *old.arm.sample(moment.switch),
            Targets(
                np.vstack((moment.anchor[:-1], arm_targets)),
                np.full(len(targets), period),
                moment.anchor_velocity[:-1],
                moment.phase,
            ),
            self._arm_limits.at_speed(speed),
        )
        return self._assembled(chunk, arm, self._gripper(targets, moment, period, arm), moment)

    def _gripper(
        self, targets: np.ndarray, moment: Alignment, period: float, arm: Track
    ) -> Track:
        position, velocity = moment.old.gripper.sample(moment.switch)
        ahead = targets[moment.first :, -1]
        if not velocity.any() and np.abs(ahead - position).max() <= _STILL:
            # Most of the time; a plan costs as much as the arm's.
            return still_track(position, arm)
        knots = np.vstack((moment.anchor[-1:], targets[:, -1:]))
        goals = gripper_targets(knots, moment.anchor_velocity[-1:], period, arm)
        return plan_track(position, velocity, goals, self._gripper_limits)

    def brake(self, plan: MotionPlan, now: float) -> MotionPlan:
        """Return the plan that stops at once and stays; of a hold, what is left of it."""
        if plan.way == 'hold':
            shortest = self._lead or MIN_GAP
            arm = plan.arm.remaining(now, shortest)
            gripper = plan.gripper.remaining(now, shortest)
        else:
            arm = self._stopped(plan.arm, now, self._arm_limits)
            gripper = self._stopped(plan.gripper, now, self._gripper_limits)
        progress = np.full(len(arm.times), plan.progress_at(now))
        return MotionPlan(arm, gripper, progress, switch=now, way='hold')

    def _stopped(self, plan: JointPlan, now: float, limits: Limits) -> JointPlan:
        track = brake_track(*plan.sample(now), limits, self._lead)
        return JointPlan(now, track.times, track.positions, track.velocities)

    def _assembled(
        self, chunk: ActionChunk, arm: Track, gripper: Track, moment: Alignment
    ) -> MotionPlan:
        old, now = moment.old, moment.now
        arm_plan = prefixed(old.arm, arm, now, self._lead)
        progress = moment.chunk_start + arm.phases * chunk.step_period
        ahead = len(arm_plan.times) - len(arm.times)
        before = [old.progress_at(now + t) for t in arm_plan.times[:ahead]]
        plan = MotionPlan(
            arm=arm_plan,
            gripper=prefixed(old.gripper, gripper, now, self._lead),
            progress=np.maximum.accumulate(np.concatenate((before, progress))),
            instruction=chunk.instruction,
            chunk_start=moment.chunk_start,
            step_period=chunk.step_period,
            steps=len(chunk.actions),
            switch=moment.switch,
            way=arm.way,
            dropped=int(arm.phases[0] + _EPSILON),
        )
        return replace(plan, due=self._due(plan))

    def _due(self, plan: MotionPlan) -> float:
        """Return when the next chunk should take over: after execute_steps, before braking.

        A motion that is stretched far (a slow ramp to a distant start) does not wait for its
        steps: the policy looks again after the time they were meant to take.
        """
        intended = self._execute_steps * plan.step_period
        progress = plan.progress_at(plan.switch) + intended
        tail = plan.start + float(plan.arm.times[-2])
        due = min(plan.time_of(progress), tail, plan.switch + intended)
        return max(due, plan.switch) - self._lead

    def _blended(self, targets: np.ndarray, moment: Alignment, period: float) -> np.ndarray:
        old = moment.old
        if not self._blend_steps or not old.steps:
            return targets
        mixed = targets.copy()
        for n in range(self._blend_steps):
            step = moment.first + n
            progress = moment.chunk_start + (step + 1) * period
            if step >= len(targets) or progress > old.progress[-1]:
                break
            share = (n + 1) / (self._blend_steps + 1)
            before = old.sample(old.time_of(progress))[0]
            mixed[step] = share * targets[step] + (1.0 - share) * before
        return mixed
