# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From action chunks to one continuous motion, on an injected clock.

A chunk is computed from an observation and arrives later. Meanwhile the arm has moved on. The
scheduler drops what the arm has consumed since the observation, measured in policy time (not
clock time: an arm that waited or was slowed has consumed less), continues from where the arm is
commanded to be at the hand-over with the same position and velocity, and always ends at rest, so
that a plan that is never replaced is a stop. The next inference is asked for early enough to be
done before the plan starts to brake.

Not thread-safe: one control loop owns it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.runtime.action_space import ActionConverter, ArmKinematics, MotionError
from vla_adapter_ros.runtime.chunk import ActionChunk
from vla_adapter_ros.runtime.contract import RobotContract
from vla_adapter_ros.runtime.handover import gripper_targets, prefixed
from vla_adapter_ros.runtime.latency import LatencyMonitor
from vla_adapter_ros.runtime.limits import Limits
from vla_adapter_ros.runtime.motion_plan import (
    Executing,
    MotionPlan,
    PlanHistory,
    rest_motion,
)
from vla_adapter_ros.runtime.plan import JointPlan
from vla_adapter_ros.runtime.planning import MIN_GAP, Targets, Track, brake_track, plan_track
from vla_adapter_ros.runtime.safety import OK, SafetyFilter, Verdict

_EPSILON = 1e-6
_STAGE = 'observation_to_command'


@dataclass(frozen=True)
class _Alignment:
    """Where a chunk meets the motion under way.

    Attributes:
        now: time of acceptance [s].
        switch: time of the hand-over [s].
        chunk_start: progress at the observation [s].
        phase: steps of the chunk that will have been consumed at the hand-over.
        anchor: (J + 1,) commanded position at the observation.
        anchor_velocity: (J + 1,) commanded velocity there.
    """

    now: float
    switch: float
    chunk_start: float
    phase: float
    anchor: np.ndarray
    anchor_velocity: np.ndarray


class ChunkScheduler:
    """Keeps the one motion that is being executed.

    Args:
        contract: limits, step period, action space.
        execute_steps: steps of a chunk to execute from its hand-over on before the next takes
            over; the next inference is timed for it. Capped where the chunk starts to brake.
        blend_steps: steps after the hand-over over which the new chunk's arm targets are mixed
            with the old one's; 0 (default) takes the new ones as they are.
        flush_on_instruction_change: stop at once on a new instruction and refuse chunks of the
            old one; otherwise the remaining steps are kept until the new chunk takes over.
        handover_lead: the new motion leaves the old one this long after `now` [s]. It covers the
            way to the controller: what is published begins on the path the controller is on.
        max_chunk_age: a chunk whose observation is older than this [s] is refused.
        max_gap: for a streamed front end, a longer pause between two `update` [s] means that the
            arm stood still meanwhile.
        kinematics: for action space `ee_delta`.
        safety: makes targets safe, checks finished plans, refuses all while tripped. Without it
            targets are clipped to the contract's limits.
    """

    def __init__(
        self,
        contract: RobotContract,
        execute_steps: int = 8,
        blend_steps: int = 0,
        *,
        flush_on_instruction_change: bool = False,
        handover_lead: float = 0.05,
        max_chunk_age: float = 2.0,
        max_gap: float = 0.25,
        kinematics: ArmKinematics | None = None,
        safety: SafetyFilter | None = None,
    ) -> None:
        self.contract = contract
        self.execute_steps = execute_steps
        self.blend_steps = blend_steps
        self._flush = flush_on_instruction_change
        self._lead = handover_lead
        self._max_age = max_chunk_age
        self._max_gap = max_gap if contract.front_end.kind == 'joint_commands' else math.inf
        self._converter = ActionConverter(contract, kinematics)
        self._arm_limits = Limits.of_arm(contract)
        self._gripper_limits = Limits.of_gripper(contract)
        self._safety = safety
        self._history = PlanHistory()
        self._last_now: float | None = None
        self._instruction: str | None = None
        self.latency = LatencyMonitor(size=50, skip=1)
        self.accepted = 0
        self.dropped: Counter[str] = Counter()
        self.verdict = Verdict(OK)
        self.ways: Counter[str] = Counter()
        self.clock_jumps: Counter[str] = Counter()
        self.last_refusal = ''

    # -- what is executed -------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Whether a commanded state is known (after `reset` or a first chunk)."""
        return bool(self._history)

    @property
    def plan(self) -> MotionPlan:
        """The plan in execution. Raises MotionError before `reset`."""
        self._require_start()
        return self._history.current

    def commanded(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the commanded position and velocity (J + 1,) at `now`, in contract order."""
        self._require_start()
        return self._history.at(now).sample(now)

    def executing(self, now: float) -> Executing:
        """Return the instruction, step and kind of motion under way."""
        self._require_start()
        return self._history.executing(now)

    @property
    def holding(self) -> bool:
        """Whether the plan is to stop and stay, not to follow a chunk."""
        return self.started and not self._history.current.steps

    def moving(self, now: float) -> bool:
        """Return whether the plan still moves at `now`."""
        return self.started and now < self._history.current.end

    def remaining_steps(self, now: float) -> int:
        """Return how many steps of the chunk are not yet done."""
        if not self.started:
            return 0
        doing = self.executing(now)
        return doing.steps - doing.step

    # -- what changes it --------------------------------------------------------------------

    def reset(self, position: np.ndarray, now: float) -> None:
        """Stand still at `position` (J + 1,): start-up, or after the clock or arm was reset.

        Raises:
            MotionError: not a vector of finite values in contract order.
        """
        position = np.asarray(position, dtype=float)
        if position.shape != (self.contract.action_dim,) or not np.isfinite(position).all():
            raise MotionError(
                f'reset to {position.tolist()}: expected {self.contract.action_dim} finite values'
            )
        self._history.restart(rest_motion(position, now))
        self._last_now = now

    def resume(self, measured: np.ndarray, now: float, tolerance: float = 0.05) -> None:
        """Stand still where the arm is held, to move again after a stop.

        An arm sags a little below its command. To command what is measured would let it sink with
        every stop, so the last command stays if the arm is within `tolerance` [rad] of it.

        Raises:
            MotionError: as `reset`.
        """
        position = np.asarray(measured, dtype=float)
        if self.started and position.shape == (self.contract.action_dim,):
            held = self.commanded(now)[0]
            if np.abs(held - position)[:-1].max() <= tolerance:
                position = held
        self.reset(position, now)

    def update(self, now: float) -> str | None:
        """Observe the clock; call once per control cycle.

        Returns:
            None, or one line saying how the clock jumped. After a jump the motion goes on from
            the last commanded state on the new time and brakes to rest, without a step.
        """
        last, self._last_now = self._last_now, now
        if last is None or not self.started:
            return None
        if now < last - _EPSILON:
            return self._rebase(last, now, 'backward')
        if now - last > self._max_gap:
            return self._rebase(last, now, 'forward')
        return None

    def hold(self, now: float) -> MotionPlan:
        """Brake as fast as the limits allow and stay; returns the plan to send.

        Calling it again does not start the brake anew: the plan is what is left of it.
        """
        self.update(now)
        self._require_start()
        self._drop_rest(now, 'held')
        plan = self._remaining_hold(now) if self.holding else self._braking_plan(now)
        self._history.push(plan)
        return plan

    def set_instruction(self, instruction: str, now: float) -> MotionPlan | None:
        """Take note of a new instruction; with flushing on, returns the hold plan to send."""
        changed = self._instruction is not None and instruction != self._instruction
        self._instruction = instruction
        if not (changed and self._flush and self.moving(now)):
            return None
        self._drop_rest(now, 'instruction changed')
        plan = self._braking_plan(now)
        self._history.push(plan)
        return plan

    def accept(self, chunk: ActionChunk, now: float, observed: np.ndarray) -> MotionPlan | None:
        """Make the chunk the motion in execution.

        Args:
            chunk: of the policy.
            now: on the clock of the observation stamps [s].
            observed: (J + 1,) proprioception of the chunk's observation.

        Returns:
            The plan to send, or None if the chunk is refused; `last_refusal` then says why.
        """
        self.update(now)
        if not self.started:
            self.reset(observed, now)
        self.latency.add(_STAGE, max(now - chunk.observation_stamp, 0.0))
        if (refusal := self._refusal(chunk, now)) is not None:
            return self._refuse(*refusal, chunk)
        try:
            targets = self._converter.to_targets(chunk.actions, observed)
        except VLAAdapterError as error:
            return self._refuse('invalid', str(error), chunk)
        moment = self._align(chunk, now)
        if moment.phase >= len(targets) - _EPSILON:
            text = f'all {len(targets)} steps were passed before the chunk arrived'
            return self._refuse('late', text, chunk)
        self.verdict = self._made_safe(targets, int(moment.phase), moment.switch)
        if self.verdict.targets is None:
            return self._refuse('tripped', self.verdict.reasons[0], chunk)
        targets[int(moment.phase) :] = self.verdict.targets
        plan = self._plan(chunk, targets, moment, self.verdict.speed)
        if self._safety is not None and (fault := self._safety.check_plan(plan)) is not None:
            return self._refuse('unsafe', fault, chunk)
        self._drop_rest(plan.switch, 'replaced')
        self.dropped['passed'] += plan.dropped
        self.accepted += 1
        self.ways[plan.way] += 1
        self.last_refusal = ''
        self._history.push(plan)
        return plan

    # -- when to infer ----------------------------------------------------------------------

    def expected_latency(self) -> float:
        """Return the p95 of observation to command [s], without the cold start; NaN if unknown."""
        return self.latency.percentile(_STAGE, 95.0)

    def needs_inference(self, now: float) -> bool:
        """Return whether an inference must start now to be done when the next chunk is due."""
        if not self.started:
            return True
        plan, usual = self._history.current, self.latency.percentile(_STAGE, 50.0)
        if self.holding or now >= plan.end or math.isnan(usual):
            return True
        if usual * plan.pace >= (plan.steps - 1) * plan.step_period:
            # The chunk would be consumed before it arrives. Moving on meanwhile gains nothing:
            # look again once the arm has arrived.
            return False
        return now + self.expected_latency() >= plan.due

    # -- inside -----------------------------------------------------------------------------

    def _require_start(self) -> None:
        if not self._history:
            raise MotionError('no commanded state yet: call reset with the measured joints')

    def _refuse(self, reason: str, text: str, chunk: ActionChunk) -> None:
        self.dropped[reason] += len(chunk.actions)
        self.last_refusal = text

    def _refusal(self, chunk: ActionChunk, now: float) -> tuple[str, str] | None:
        age = now - chunk.observation_stamp
        if not (math.isfinite(chunk.step_period) and chunk.step_period > 0.0):
            return 'invalid', f'step period {chunk.step_period}: expected a positive time'
        if not math.isfinite(age) or age < -chunk.step_period:
            return 'future', f'observation stamp {-age:.2f} s in the future: the clock jumped'
        if age > self._max_age:
            return 'stale', f'observation {age:.2f} s old > {self._max_age:.2f} s'
        if self._flush and self._instruction not in (None, chunk.instruction):
            return 'instruction changed', f'chunk is for {chunk.instruction!r}, no longer asked'
        return None

    def _made_safe(self, targets: np.ndarray, first: int, switch: float) -> Verdict:
        if self._safety is not None:
            return self._safety.check_targets(targets[first:], self.commanded(switch)[0])
        return Verdict(OK, (), np.clip(targets[first:], self.contract.lower, self.contract.upper))

    def _align(self, chunk: ActionChunk, now: float) -> _Alignment:
        stamp = min(chunk.observation_stamp, now)
        origin, switch = self._history.at(stamp), now + self._lead
        chunk_start = origin.progress_at(stamp)
        consumed = max(self._history.current.progress_at(switch) - chunk_start, 0.0)
        anchor = origin.sample(stamp)
        return _Alignment(now, switch, chunk_start, consumed / chunk.step_period, *anchor)

    def _plan(
        self, chunk: ActionChunk, targets: np.ndarray, moment: _Alignment, speed: float
    ) -> MotionPlan:
        old, period = self._history.current, chunk.step_period
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
        knots = np.vstack((moment.anchor[-1:], targets[:, -1:]))
        gripper = plan_track(
            *old.gripper.sample(moment.switch),
            gripper_targets(knots, moment.anchor_velocity[-1:], period, arm),
            self._gripper_limits,
        )
        return self._assembled(chunk, arm, gripper, moment)

    def _assembled(
        self, chunk: ActionChunk, arm: Track, gripper: Track, moment: _Alignment
    ) -> MotionPlan:
        old, now = self._history.current, moment.now
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
        intended = self.execute_steps * plan.step_period
        progress = plan.progress_at(plan.switch) + intended
        tail = plan.start + float(plan.arm.times[-2])
        due = min(plan.time_of(progress), tail, plan.switch + intended)
        return max(due, plan.switch) - self._lead

    def _blended(self, targets: np.ndarray, moment: _Alignment, period: float) -> np.ndarray:
        old = self._history.current
        if not self.blend_steps or not old.steps:
            return targets
        mixed = targets.copy()
        for n in range(self.blend_steps):
            step = int(moment.phase) + n
            progress = moment.chunk_start + (step + 1) * period
            if step >= len(targets) or progress > old.progress[-1]:
                break
            share = (n + 1) / (self.blend_steps + 1)
            before = old.sample(old.time_of(progress))[0]
            mixed[step] = share * targets[step] + (1.0 - share) * before
        return mixed

    def _braking_plan(self, now: float) -> MotionPlan:
        plan = self._history.current
        arm = brake_track(*plan.arm.sample(now), self._arm_limits, self._lead)
        gripper = brake_track(*plan.gripper.sample(now), self._gripper_limits, self._lead)
        return MotionPlan(
            JointPlan(now, arm.times, arm.positions, arm.velocities),
            JointPlan(now, gripper.times, gripper.positions, gripper.velocities),
            np.full(len(arm.times), plan.progress_at(now)),
            switch=now,
            way='hold',
        )

    def _remaining_hold(self, now: float) -> MotionPlan:
        plan = self._history.current
        arm = plan.arm.remaining(now, self._lead or MIN_GAP)
        gripper = plan.gripper.remaining(now, self._lead or MIN_GAP)
        progress = np.full(len(arm.times), plan.progress_at(now))
        return MotionPlan(arm, gripper, progress, switch=now, way='hold')

    def _drop_rest(self, now: float, reason: str) -> None:
        plan = self._history.current
        self.dropped[reason] += plan.steps - plan.step_at(now)

    def _rebase(self, last: float, now: float, direction: str) -> str:
        self._drop_rest(last, 'clock jump')
        stop = self._braking_plan(last)
        moved = replace(
            stop,
            arm=stop.arm.shifted(now - last),
            gripper=stop.gripper.shifted(now - last),
            switch=now,
        )
        self._history.restart(moved)
        self.clock_jumps[direction] += 1
        return f'clock jumped {direction} by {abs(now - last):.3f} s: braking to a hold'
