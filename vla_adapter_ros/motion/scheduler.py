# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From action chunks to one continuous motion, on an injected clock that never jumps.

A chunk is computed from an observation and arrives later. Meanwhile the arm has moved on. The
scheduler drops what the arm has consumed since the observation, measured in policy time (not
clock time: an arm that waited or was slowed has consumed less), continues from where the arm is
commanded to be at the hand-over with the same position and velocity, and always ends at rest, so
that a plan that is never replaced is a stop. The next inference is due early enough to be done
before the plan starts to brake.

Not thread-safe: one control loop owns it.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.latency import LatencyMonitor
from vla_adapter_ros.motion.plan import Executing, MotionPlan, PlanHistory, rest_motion
from vla_adapter_ros.motion.plan_check import OK, PlanCheck, Verdict
from vla_adapter_ros.motion.plan_maker import PlanMaker
from vla_adapter_ros.robot.action_space import ActionConverter, MotionError
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.kinematics import Kinematics

_STAGE = 'observation_to_command'
# Periods of a stream that may pass until the next command.
_LONGEST_GAP = 2.5


class ChunkScheduler:
    """Keeps the motion that is being executed.

    Args:
        contract: limits, step period, action space.
        execute_steps: steps of a chunk to execute from its hand-over on before the next takes
            over; the next inference is timed for it. Capped where the chunk starts to brake.
        blend_steps: steps after the hand-over over which the new chunk's arm targets are mixed
            with the old one's; 0 (default) takes the new ones as they are.
        flush_on_instruction_change: stop immediately on a new instruction and reject chunks of
            the old one; otherwise the remaining steps run until the new chunk takes over.
        handover_lead: the new motion leaves the old one this long after `now` [s]. It covers the
            transport to the controller: a published plan begins on the path that it follows.
        max_chunk_age: a chunk whose observation is older than this [s] is rejected.
        kinematics: for action space `ee_delta`.
        safety: clamps targets, checks finished plans, rejects all while tripped. Without it
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
        kinematics: Kinematics | None = None,
        safety: PlanCheck | None = None,
    ) -> None:
        self.contract = contract
        # An observation older than this [s] makes no motion.
        self.max_chunk_age = max_chunk_age
        # Fraction of the arm's velocity limits that motion may use, for the next plans.
        self.speed_scale = 1.0
        self._flush = flush_on_instruction_change
        self._sent_ahead = contract.front_end.stream_period
        # After a longer pause of the stream [s] the driver stands at its last target.
        self._max_gap = _LONGEST_GAP * self._sent_ahead if self._sent_ahead else math.inf
        self._converter = ActionConverter(contract, kinematics)
        self._maker = PlanMaker(contract, execute_steps, blend_steps, handover_lead)
        self._safety = safety
        self._history = PlanHistory()
        self._sampled: tuple[MotionPlan, float, tuple[np.ndarray, np.ndarray]] | None = None
        self._last_now: float | None = None
        self._instruction: str | None = None
        self.latency = LatencyMonitor(size=50, skip=1)
        self.accepted = 0
        self.dropped: Counter[str] = Counter()
        self.verdict = Verdict(OK)
        self.plans_by_kind: Counter[str] = Counter()
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
        """Return the commanded position and velocity (J + 1,) at `now`, in contract order.

        Several ask for the same time in a control cycle: the arrays are shared and read-only.
        """
        self._require_start()
        plan = self._history.at(now)
        if self._sampled is None or self._sampled[0] is not plan or self._sampled[1] != now:
            self._sampled = plan, now, plan.sample(now)
            for array in self._sampled[2]:
                array.flags.writeable = False
        return self._sampled[2]

    def executing(self, now: float) -> Executing:
        """Return the instruction, step and kind of plan in execution."""
        self._require_start()
        return self._history.executing(now)

    @property
    def holding(self) -> bool:
        """Whether the plan stops and stays, instead of following a chunk."""
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
        """Stand still at `position` (J + 1,): start-up, or after the arm was moved.

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

    def update(self, now: float) -> str | None:
        """Notice a pause of a streamed front end; call once per control cycle.

        Returns:
            None, or one line saying how long the pause was. The arm stood still meanwhile: the
            motion continues from the last commanded state and brakes to rest.
        """
        last, self._last_now = self._last_now, now
        if last is None or not self.started or now - last <= self._max_gap:
            return None
        return self._rebase(last, now)

    def hold(self, now: float) -> MotionPlan:
        """Brake as fast as the limits allow and stay; returns the plan to send.

        Calling it again does not restart the brake: it returns the rest of it.
        """
        self.update(now)
        self._require_start()
        return self._stop(now, 'held')

    def hold_near(
        self,
        measured: np.ndarray,
        velocity: np.ndarray,
        now: float,
        reach: float = 0.0,
        doubtful: bool = False,
    ) -> MotionPlan:
        """Stop an arm that is not where it was commanded to be; returns the plan to send.

        Args:
            measured: (J,) positions of the arm joints [rad].
            velocity: (J,) measured [rad/s].
            now: time [s].
            reach: how far [rad] from the arm, towards the command, it may be told to go.
            doubtful: the arm may as well be at its command, where it rests.
        """
        self._require_start()
        self._drop_rest(now, 'held')
        # An arm that is to rest anyway rests where it is, with all its joints.
        tolerance = self.contract.supervision.held_tolerance if self.moving(now) else 0.0
        plan = self._maker.hold_near(
            self._history.current, now, measured, velocity, reach, tolerance, doubtful
        )
        self._history.push(plan)
        return plan

    def travel(self, goal: np.ndarray, now: float, velocity_scale: float) -> MotionPlan:
        """Go straight to `goal`, in joint space, and stay there; returns the plan to send.

        Args:
            goal: (J + 1,) in contract order, within limits.
            now: [s].
            velocity_scale: fraction of the arm's velocity limits to use, at `speed_scale` 1.

        Raises:
            MotionError: before `reset`, while moving, or the way there breaks a limit.
        """
        self.update(now)
        self._require_start()
        if self.moving(now):
            raise MotionError('the arm is still moving')
        plan = self._maker.travel(
            self._history.current, goal, now, velocity_scale * self.speed_scale
        )
        if self._safety is not None and (fault := self._safety.check_plan(plan)) is not None:
            raise MotionError(fault)
        self.plans_by_kind[plan.kind] += 1
        self._history.push(plan)
        return plan

    @property
    def execute_steps(self) -> int:
        """Steps of a chunk to execute before the next takes over; of the next chunk on."""
        return self._maker.execute_steps

    @execute_steps.setter
    def execute_steps(self, steps: int) -> None:
        self._maker.execute_steps = steps

    def set_instruction(self, instruction: str, now: float) -> MotionPlan | None:
        """Set a new instruction; returns the hold plan to send if flushing is on."""
        changed = self._instruction is not None and instruction != self._instruction
        self._instruction = instruction
        if not (changed and self._flush and self.moving(now)):
            return None
        return self._stop(now, 'instruction changed')

    def accept(self, chunk: ActionChunk, now: float, observed: np.ndarray) -> MotionPlan | None:
        """Make the chunk the motion in execution.

        Args:
            chunk: of the policy.
            now: on the clock of the chunk's observation stamp [s].
            observed: (J + 1,) proprioception of the chunk's observation.

        Returns:
            The plan to send, or None if the chunk is rejected; `last_refusal` then says why.
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
        alignment = self._maker.align(self._history, chunk, now)
        if alignment.all_passed(len(targets)):
            text = f'all {len(targets)} steps had passed before the chunk arrived'
            return self._refuse('late', text, chunk)
        self.verdict = self._check_targets(targets[alignment.first :], alignment.switch)
        if self.verdict.targets is None:
            return self._refuse('tripped', self.verdict.reasons[0], chunk)
        targets[alignment.first :] = self.verdict.targets
        scale = self.verdict.velocity_scale * self.speed_scale
        plan = self._maker.make(chunk, targets, alignment, scale)
        if self._safety is not None and (fault := self._safety.check_plan(plan)) is not None:
            return self._refuse('unsafe', fault, chunk)
        self._drop_rest(plan.switch, 'replaced')
        self.dropped['passed'] += plan.dropped
        self.accepted += 1
        self.plans_by_kind[plan.kind] += 1
        self.last_refusal = ''
        self._history.push(plan)
        return plan

    # -- when to infer ----------------------------------------------------------------------

    def expected_latency(self) -> float:
        """Return the 95th percentile of observation to command [s]; NaN if unknown."""
        return self.latency.percentile(_STAGE, 95.0)

    def needs_inference(self, now: float) -> bool:
        """Return whether an inference must start now to be done when the next chunk is due."""
        if not self.started:
            return True
        plan, median = self._history.current, self.latency.percentile(_STAGE, 50.0)
        if self.holding or now >= plan.end or math.isnan(median):
            return True
        if median * plan.pace >= (plan.steps - 1) * plan.step_period:
            # The chunk would be consumed before it arrives: infer again once the arm has arrived.
            return False
        # After a few stalls (a busy machine) every chunk would be replaced as soon as it arrives:
        # the arm would execute first steps only, and hardly get anywhere.
        patience = max(2.0 * median, 0.5 * (plan.due - plan.switch))
        return now + min(self.expected_latency(), patience) >= plan.due

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
            return 'future', f'observation stamp {-age:.2f} s in the future'
        if age > (oldest := self.max_chunk_age):
            return 'stale', f'observation {age:.2f} s old > max_chunk_age ({oldest:.2f} s)'
        if self._flush and self._instruction not in (None, chunk.instruction):
            text = f'chunk is for the former instruction {chunk.instruction!r}'
            return 'instruction changed', text
        return None

    def _check_targets(self, targets: np.ndarray, switch: float) -> Verdict:
        if self._safety is not None:
            return self._safety.check_targets(targets, self.commanded(switch)[0])
        return Verdict(OK, (), np.clip(targets, self.contract.lower, self.contract.upper))

    def _stop(self, now: float, reason: str) -> MotionPlan:
        self._drop_rest(now, reason)
        plan = self._maker.brake(self._history.current, now)
        self._history.push(plan)
        return plan

    def _drop_rest(self, now: float, reason: str) -> None:
        plan = self._history.current
        self.dropped[reason] += plan.steps - plan.step_at(now)

    def _rebase(self, last: float, now: float) -> str:
        self._drop_rest(last, 'pause')
        # The driver has reached the last target that it was sent, and stands there.
        sent = self._history.current.sample(last + self._sent_ahead)[0]
        self._history.restart(rest_motion(sent, now))
        return f'the stream paused for {now - last:.3f} s: the arm stood still meanwhile'
