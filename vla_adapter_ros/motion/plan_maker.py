# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Makes the scheduler's plans: from a chunk, or to stop. Hand-over from the plan before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.hermite import MERGE_S, JointLimits
from vla_adapter_ros.motion.plan import JointPlan, MotionPlan, PlanHistory
from vla_adapter_ros.motion.track_planner import MIN_GAP, Targets, Track, brake_track, plan_track
from vla_adapter_ros.robot.contract import RobotContract

_EPSILON = 1e-6
# A gripper this close to all its targets need not move [open fraction].
_STILL = 1e-4


@dataclass(frozen=True)
class Alignment:
    """Where a chunk meets the motion in execution.

    Attributes:
        old: the plan in execution.
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
        """Return whether all steps of a chunk of so many steps have passed."""
        return self.phase >= steps - _EPSILON


class PlanMaker:
    """Makes plans that continue the motion in execution without a jump.

    Args:
        contract: limits.
        execute_steps: steps to execute from the hand-over on before the next chunk is due.
        blend_steps: steps over which arm targets are mixed with the old plan's.
        lead: time from `now` to the hand-over [s].
    """

    def __init__(
        self, contract: RobotContract, execute_steps: int, blend_steps: int, lead: float
    ) -> None:
        self._arm_limits = JointLimits.of_arm(contract)
        self._gripper_limits = JointLimits.of_gripper(contract)
        self.execute_steps = execute_steps
        self._blend_steps = blend_steps
        self._lead = lead
        self._sent_ahead = contract.front_end.stream_period

    def align(self, history: PlanHistory, chunk: ActionChunk, now: float) -> Alignment:
        """Return where a chunk meets the motion in execution, by the steps really consumed."""
        stamp = min(chunk.observation_stamp, now)
        origin, old, switch = history.at(stamp), history.current, now + self._lead
        chunk_start = origin.progress_at(stamp)
        consumed = max(old.progress_at(switch) - chunk_start, 0.0)
        anchor = origin.sample(stamp)
        return Alignment(old, now, switch, chunk_start, consumed / chunk.step_period, *anchor)

    def make(
        self, chunk: ActionChunk, targets: np.ndarray, alignment: Alignment, velocity_scale: float
    ) -> MotionPlan:
        """Return the plan through the steps of a chunk that are still to do.

        Args:
            chunk: for its timing and instruction.
            targets: (K, J + 1) joint targets within limits.
            alignment: not all passed.
            velocity_scale: fraction of the arm's velocity limits to use.
        """
        old, period = alignment.old, chunk.step_period
        arm_targets = self._blended(targets, alignment, period)[:, :-1]
        arm = plan_track(
            *old.arm.sample(alignment.switch),
            Targets(
                np.vstack((alignment.anchor[:-1], arm_targets)),
                np.full(len(targets), period),
                alignment.anchor_velocity[:-1],
                alignment.phase,
            ),
            self._arm_limits.with_velocity_scale(velocity_scale),
        )
        gripper = self._gripper(targets, alignment, period, arm)
        return self._assembled(chunk, arm, gripper, alignment)

    def travel(
        self, plan: MotionPlan, goal: np.ndarray, now: float, velocity_scale: float
    ) -> MotionPlan:
        """Return the plan that goes straight to `goal` (J + 1,), in joint space, and stays there.

        Args:
            plan: at rest.
            goal: in contract order, within limits.
            now: start of the plan [s].
            velocity_scale: fraction of the arm's velocity limits to use.
        """
        limits = self._arm_limits.with_velocity_scale(velocity_scale)
        arm = self._straight(plan.arm, goal[:-1], now, limits)
        gripper = self._straight(plan.gripper, goal[-1:], now, self._gripper_limits)
        progress = np.full(len(arm.times), plan.progress_at(now))
        return MotionPlan(arm, gripper, progress, switch=now, kind='travel')

    def _straight(
        self, plan: JointPlan, goal: np.ndarray, now: float, limits: JointLimits
    ) -> JointPlan:
        position, velocity = plan.sample(now + self._lead)
        if np.abs(goal - position).max() <= _STILL:
            return plan.remaining(now, self._lead or MIN_GAP)
        # The planner stretches the time to what the limits demand.
        targets = Targets(np.vstack((position, goal)), np.array([MERGE_S]), velocity, 0.0)
        return splice_after(plan, plan_track(position, velocity, targets, limits), now, self._lead)

    def _gripper(
        self, targets: np.ndarray, alignment: Alignment, period: float, arm: Track
    ) -> Track:
        position, velocity = alignment.old.gripper.sample(alignment.switch)
        ahead = targets[alignment.first :, -1]
        if not velocity.any() and np.abs(ahead - position).max() <= _STILL:
            # The usual case; a plan would cost as much as the arm's.
            return constant_track(position, arm)
        knots = np.vstack((alignment.anchor[-1:], targets[:, -1:]))
        goals = gripper_targets(knots, alignment.anchor_velocity[-1:], period, arm)
        return plan_track(position, velocity, goals, self._gripper_limits)

    def brake(self, plan: MotionPlan, now: float) -> MotionPlan:
        """Return the plan that stops immediately and stays; of a hold, the rest of it."""
        if plan.kind == 'hold':
            shortest = self._lead or MIN_GAP
            arm = plan.arm.remaining(now, shortest)
            gripper = plan.gripper.remaining(now, shortest)
        else:
            arm = self._stopped(plan.arm, now, self._arm_limits)
            gripper = self._stopped(plan.gripper, now, self._gripper_limits)
        progress = np.full(len(arm.times), plan.progress_at(now))
        return MotionPlan(arm, gripper, progress, switch=now, kind='hold')

    def hold_near(
        self,
        plan: MotionPlan,
        now: float,
        measured: np.ndarray,
        velocity: np.ndarray,
        reach: float,
        tolerance: float,
        doubtful: bool = False,
    ) -> MotionPlan:
        """Return the plan that stops an arm which is not where it was commanded to be.

        Joints that strayed start at the measured pose, or at the commanded one if that is in
        doubt; the others brake along their path. It takes as long as the driver needs, within
        the limits, from either pose.

        Args:
            plan: in execution.
            now: time [s].
            measured: (J,) positions of the arm joints [rad].
            velocity: (J,) measured [rad/s].
            tolerance: joints this close [rad] to their command brake along their path.
            doubtful: the arm may be at its command: go from there to the goal, at rest now.
            reach: stop this far [rad] from the arm towards the command, at most. 0: at the arm,
                braking from its velocity.
        """
        limits = self._arm_limits
        commanded, speed = plan.arm.sample(now)
        strayed = np.abs(commanded - measured) > tolerance
        goal = measured + np.clip(commanded - measured, -reach, reach)
        fastest = np.maximum(np.abs(speed), np.abs(velocity))
        duration = self._time_to(goal, (commanded, measured), fastest)
        if reach > 0.0 or doubtful:
            ends = np.vstack((commanded if doubtful else measured, goal))
            near = JointPlan(now, np.array([0.0, duration]), ends, np.zeros_like(ends))
        else:
            bounded = np.clip(velocity, -limits.velocity, limits.velocity)
            track = brake_track(measured, bounded, limits, duration)
            near = JointPlan(now, track.times, track.positions, track.velocities)
        arm = _merged(near, self._stopped(plan.arm, now, limits), strayed)
        gripper = self.brake(plan, now).gripper
        progress = np.full(len(arm.times), plan.progress_at(now))
        return MotionPlan(arm, gripper, progress, switch=now, kind='hold')

    def _time_to(
        self, goal: np.ndarray, starts: Sequence[np.ndarray], speed: np.ndarray
    ) -> float:
        """Return the time [s] in which joints reach `goal` (J,) at rest, within their limits.

        Peaks of a cubic that begins at any of the starts, with `speed` (J,) in either direction.
        """
        limits = self._arm_limits
        distance = np.max([np.abs(start - goal) for start in starts], axis=0)
        root = np.sqrt(4.0 * speed**2 + 6.0 * limits.acceleration * distance)
        needed = np.maximum(
            1.5 * distance / limits.velocity, (2.0 * speed + root) / limits.acceleration
        )
        return max(float(needed.max()), self._lead, MIN_GAP)

    def _stopped(self, plan: JointPlan, now: float, limits: JointLimits) -> JointPlan:
        # A streamed front end has sent the position of the next message already.
        track = brake_track(*plan.sample(now + self._sent_ahead), limits, self._lead)
        return splice_after(plan, track, now, self._sent_ahead)

    def _assembled(
        self, chunk: ActionChunk, arm: Track, gripper: Track, alignment: Alignment
    ) -> MotionPlan:
        old, now = alignment.old, alignment.now
        arm_plan = splice_after(old.arm, arm, now, self._lead)
        progress = alignment.chunk_start + arm.phases * chunk.step_period
        ahead = len(arm_plan.times) - len(arm.times)
        before = [old.progress_at(now + t) for t in arm_plan.times[:ahead]]
        plan = MotionPlan(
            arm=arm_plan,
            gripper=splice_after(old.gripper, gripper, now, self._lead),
            progress=np.maximum.accumulate(np.concatenate((before, progress))),
            instruction=chunk.instruction,
            chunk_start=alignment.chunk_start,
            step_period=chunk.step_period,
            steps=len(chunk.actions),
            switch=alignment.switch,
            kind=arm.kind,
            dropped=int(arm.phases[0] + _EPSILON),
        )
        return replace(plan, due=self._due(plan))

    def _due(self, plan: MotionPlan) -> float:
        """Return when the next chunk should take over: after execute_steps, before braking.

        A motion that is stretched far (a slow ramp to a distant start) does not delay the next
        inference: it is due after the intended time of these steps.
        """
        intended = self.execute_steps * plan.step_period
        progress = plan.progress_at(plan.switch) + intended
        tail = plan.start + float(plan.arm.times[-2])
        due = min(plan.time_of(progress), tail, plan.switch + intended)
        return max(due, plan.switch) - self._lead

    def _blended(self, targets: np.ndarray, alignment: Alignment, period: float) -> np.ndarray:
        old = alignment.old
        if not self._blend_steps or not old.steps:
            return targets
        mixed = targets.copy()
        for n in range(self._blend_steps):
            step = alignment.first + n
            progress = alignment.chunk_start + (step + 1) * period
            if step >= len(targets) or progress > old.progress[-1]:
                break
            weight = (n + 1) / (self._blend_steps + 1)
            before = old.sample(old.time_of(progress))[0]
            mixed[step] = weight * targets[step] + (1.0 - weight) * before
        return mixed


def _merged(one: JointPlan, other: JointPlan, first: np.ndarray) -> JointPlan:
    """Return the plan of `one` for the joints where `first` (J,) is true, of `other` elsewhere."""
    times = np.unique(np.concatenate((one.times, other.times)))
    times = times[np.append(True, np.diff(times) > MERGE_S)]
    times[-1] = max(float(one.times[-1]), float(other.times[-1]))
    a, b = one.sample_many(one.start + times), other.sample_many(one.start + times)
    positions, velocities = (np.where(first, x, y) for x, y in zip(a, b))
    velocities[-1] = 0.0
    return JointPlan(one.start, times, positions, velocities)


def splice_after(old: JointPlan, track: Track, now: float, lead: float) -> JointPlan:
    """Return a plan from `now` that follows `old` for `lead` seconds, then `track`.

    A controller that receives it slightly later is still on `old`, and the first segment that
    it interpolates leads to a point of `old`: the late arrival has no effect.
    """
    if lead <= 0.0:
        return JointPlan(now, track.times, track.positions, track.velocities)
    knots = old.start + old.times - now
    inside = knots[(knots > MERGE_S) & (knots < lead - MERGE_S)]
    times = np.concatenate(([0.0], inside))
    positions, velocities = old.sample_many(now + times)
    return JointPlan(
        now,
        np.concatenate((times, lead + track.times)),
        np.vstack((positions, track.positions)),
        np.vstack((velocities, track.velocities)),
    )


def constant_track(position: np.ndarray, arm: Track) -> Track:
    """Return the track that stays at `position` (J,) for as long as the arm moves."""
    still = np.tile(position, (2, 1))
    times = np.array([0.0, max(float(arm.times[-1]), MIN_GAP)])
    return Track(times, still, np.zeros_like(still), arm.phases[[0, -1]], 'join')


def gripper_targets(knots: np.ndarray, velocity: np.ndarray, period: float, arm: Track) -> Targets:
    """Return the gripper's targets, each due when the arm reaches its own.

    The gripper of an arm that is slowed must not close before the arm arrives.

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
