# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The control loop without ROS: observation → policy → safety → scheduler → commands.

One thread calls everything here (`InferenceWorker` has its own). Time is passed in: `now` is the
motion clock (clock.py), which never jumps; `steady` is real time and drives the watchdog of the
worker. The robot's clock appears only in what is published.

Every stop goes through `_stop_motion`, in this order: stop inference, then let the gate (gate.py)
stop the arm. Torque is never touched.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vla_adapter_ros.control.clock import Arrival
from vla_adapter_ros.control.dry_run import DRY_RUN, as_if_live
from vla_adapter_ros.control.gate import CommandGate
from vla_adapter_ros.control.loop_outputs import LoopOutputs, Outcome
from vla_adapter_ros.control.observation_inputs import Inputs
from vla_adapter_ros.control.operator_stop import OperatorStop
from vla_adapter_ros.control.watch import (
    GO,
    HOLD,
    RESUME,
    TRIP,
    StateWatch,
    WorkerWatch,
)
from vla_adapter_ros.control.worker import InferenceWorker, WorkerResult
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.latency import LatencyMonitor
from vla_adapter_ros.processing.prompt import clean_instruction
from vla_adapter_ros.robot.contract import RobotContract

NO_INSTRUCTION = 'no instruction yet; call ~/set_instruction'
# Period of calling the gate while motion waits to be enabled [s]; it evaluates images.
GATE_PERIOD_S = 0.5
# Chunks in the rate shown to the user, and the time after which it is 0 [s].
_RATE_WINDOW = 20
_RATE_SPAN_S = 5.0


class ControlLoop:
    """Runs while the node is configured; moves only while active and enabled.

    Args:
        contract: the robot.
        worker: owns the policy; started.
        gate: moves and stops the arm.
        inputs: the latest images and joint states.
        outputs: receives the results.
        watchdog_timeout: an inference that takes longer [s] ends in hold.
        enable_gate: called with `now` before motion is enabled; returns why not, or ''.
        operator: the stop switches of the operator.

    Attributes:
        dry_run: the policy runs and its plans are shown, but nothing is sent to the arm.
        travelling: the arm is on its way to a pose, and the policy does not run.
    """

    def __init__(
        self,
        contract: RobotContract,
        worker: InferenceWorker,
        gate: CommandGate,
        inputs: Inputs,
        outputs: LoopOutputs,
        watchdog_timeout: float,
        enable_gate: Callable[[float], str] = lambda now: '',
        operator: OperatorStop | None = None,
    ) -> None:
        self.contract = contract
        self.gate = gate
        self.scheduler = gate.scheduler
        self.safety = gate.safety
        self.inputs = inputs
        self._worker = worker
        self._outputs = outputs
        self._enable_gate = enable_gate
        self._operator = operator or OperatorStop()
        self._watchdog = WorkerWatch(watchdog_timeout)
        self._states = StateWatch()
        self.active = False
        self.enabled = False
        self.dry_run = False
        self.travelling = False
        self._enable_wanted = False
        self.instruction = ''
        self.reason = ''
        self.last_error = ''
        self.last_error_stamp = 0.0
        self.chunks = 0
        self.stages = LatencyMonitor(skip=1)
        self._chunk_times: deque[float] = deque(maxlen=_RATE_WINDOW)
        self._not_before = -math.inf
        # Stamp of the observation of the last inference.
        self._observed = 0.0
        # A damaged image was left out; the next one must be good.
        self._image_skipped = False
        self._next_gate = -math.inf

    # -- requests ---------------------------------------------------------------------------

    def activate(self, now: float, instruction: str, enable: bool) -> None:
        """Start to listen; motion starts once it is enabled and inputs are good."""
        self.active = True
        self.enabled = False
        self._enable_wanted = enable
        if self.dry_run:
            self._outputs.warning(DRY_RUN)
        self._next_gate = -math.inf
        self.inputs.reset()
        # Nothing was streamed while the node was inactive: no pause to warn of.
        self.gate.pause(now)
        if instruction:
            outcome = self.set_instruction(instruction, now)
            if not outcome.success:
                self._outputs.error(f'parameter {outcome.message}')
        self._outputs.instruction(self.instruction)

    def deactivate(self, now: float) -> None:
        """Hold and stop. Whatever fails, nothing moves after this."""
        self.active = False
        try:
            self._stop_motion(now)
        finally:
            self.gate.finish(now)

    def clean_instruction(self, text: str) -> str:
        """Return an instruction as the policy reads it.

        Raises:
            InstructionError: the policy cannot read it.
        """
        return getattr(self._worker.policy, 'clean_instruction', clean_instruction)(text)

    def set_instruction(self, text: str, now: float) -> Outcome:
        """Set the instruction of the next inference, or return why it is not accepted."""
        try:
            instruction = self.clean_instruction(text)
        except VLAAdapterError as error:
            return Outcome(False, str(error))
        self.instruction = instruction
        self._outputs.instruction(instruction)
        self.gate.set_instruction(instruction, now)
        note = self._unknown_words(instruction)
        if not note and not instruction.isascii():
            note = ' (not ASCII: right only for a policy that was trained on such text)'
        when = 'at the next inference'
        if not self.enabled:
            when += ', once motion is enabled'
        return Outcome(True, f'instruction {instruction!r} takes effect {when}{note}')

    def _unknown_words(self, instruction: str) -> str:
        """Return a note that names the words that the policy does not know, or ''."""
        policy = self._worker.policy
        unknown, read_as = (getattr(policy, name, None) for name in ('unknown_words', 'read_as'))
        words = unknown(instruction) if unknown else []
        if not words:
            return ''
        read = read_as(instruction) if read_as else {}
        named = [f'{word} (read as {read[word]})' if word in read else word for word in words]
        return f' (words that are unknown to the policy: {", ".join(named)})'

    def set_enabled(self, on: bool, now: float) -> Outcome:
        """Enable or disable motion. Enabling needs good inputs, an open gate and no trip.

        A refused request is not retried: the arm must not start when a camera is plugged in.
        """
        if not on:
            self._stop_motion(now)
            return Outcome(True, 'motion disabled; the arm holds')
        if self.travelling:
            return Outcome(False, 'the arm is moving to a pose: call ~/stop first')
        if self.enabled:
            return Outcome(True, 'motion is already enabled')
        if refusal := self._refusal(now):
            return Outcome(False, refusal)
        self._enable(now)
        if self.dry_run:
            return Outcome(True, 'DRY RUN: chunks are computed and shown; nothing is sent')
        return Outcome(True, 'motion enabled')

    def travel(self, goal_from: Callable[[np.ndarray], np.ndarray], now: float) -> Outcome:
        """Enable motion and go straight to a pose at ramp speed; the caller calls `stop` there.

        Args:
            goal_from: returns the pose (J + 1,) for the measured joint state (J + 1,).
            now: time [s].
        """
        if self.dry_run:
            return Outcome(False, 'dry run: nothing is sent to the arm')
        if self.enabled:
            return Outcome(False, 'motion is enabled: call ~/stop first')
        if refusal := self._refusal(now):
            return Outcome(False, refusal)
        self._enable(now)
        self.travelling = True
        assert self.inputs.state is not None
        ramp = self.contract.supervision.ramp_speed
        plan = self.gate.travel(goal_from(self.inputs.state), now, ramp)
        if plan is None:
            self._stop_motion(now)
            return Outcome(False, f'not moved: {self.gate.refusal}')
        return Outcome(True, f'on the way, {plan.end - now:.1f} s')

    def set_dry_run(self, on: bool, now: float) -> None:
        """Start or end a dry run; motion is disabled either way."""
        if on == self.dry_run:
            return
        self._stop_motion(now)
        self.dry_run, self.reason = on, ''
        self._outputs.warning(
            DRY_RUN if on else 'dry run is over: motion is disabled, call ~/enable to move the arm'
        )
        self._outputs.changed()

    def stop(self, why: str, now: float) -> Outcome:
        """Hold now; motion must be enabled again."""
        self._stop_motion(now)
        self.reason = why
        return Outcome(True, 'stopped; the arm holds')

    def clear_trip(self, now: float) -> Outcome:
        """Allow motion to be enabled again after a trip."""
        if pressed := self._operator.pressed:
            return Outcome(False, f'not cleared: {pressed}')
        cleared = self.safety.clear()
        if not cleared:
            return Outcome(True, 'no trip to clear')
        self.inputs.plausibility.reset()
        return Outcome(True, f'cleared: {cleared}; call ~/enable to continue')

    def fail(self, reason: str, now: float) -> None:
        """Trip for a fault found outside the loop."""
        self._trip(reason, now)

    # -- inputs -----------------------------------------------------------------------------

    def receive_image(self, camera: str, image: Any, arrival: Arrival) -> None:
        """Keep the newest image of a camera; it is decoded when it is used."""
        if self.dry_run:
            arrival = as_if_live(arrival)
        self.inputs.receive_image(camera, image, arrival)

    def receive_joint_state(
        self, names: Sequence[str], positions: Sequence[float], arrival: Arrival
    ) -> None:
        """Keep the newest joint state, if it is plausible."""
        if self.dry_run:
            arrival = as_if_live(arrival)
        commanded = self.gate.expected(arrival.now)
        if not self.inputs.receive_joint_state(names, positions, arrival, commanded):
            return
        monitor = self.inputs.plausibility
        if monitor.trusted:
            assert self.inputs.state is not None
            self.gate.observe(self.inputs.state, arrival)
        else:
            self.gate.lose(arrival.now, confirm=monitor.jumped)

    # -- the cycle --------------------------------------------------------------------------

    def tick(self, now: float, steady: float) -> None:
        """Run one cycle: take a result, watch, stream, start the next inference."""
        if not self.active:
            return
        before = (self.enabled, self.reason, self.safety.tripped)
        for line in self.inputs.changes(now, steady):
            self._outputs.warning(line)
        self._watch_pause(now)
        self._watch_operator(now)
        result = self._worker.take_result()
        if result is not None:
            self._use(result, now)
        self._watch_worker(now, steady)
        if self._enable_wanted and not self.enabled and not self.safety.tripped:
            self._enable_when_ready(now, steady)
        joint_states_ok = self.enabled and self._watch_state(now)
        if fault := self.gate.tick(now):
            self._trip(fault, now)
        elif joint_states_ok and not self.travelling:
            self._infer_when_due(now)
        if before != (self.enabled, self.reason, self.safety.tripped):
            self._outputs.changed()
        computing = self._worker.busy_since is not None
        self._outputs.heartbeat(self._observed if computing else self._outputs.stamp())

    def _refusal(self, now: float) -> str:
        if self.safety.tripped:
            return f'tripped: {self.safety.trip_reason}; call ~/clear_trip first'
        problem = self._enable_problem(now)
        return f'not enabled: {problem}' if problem else ''

    def _enable_problem(self, now: float) -> str:
        if self.gate.stopping(now):
            return 'the arm is still stopping; try again'
        return (
            self._operator.pressed
            or ('' if self.dry_run else self._operator.released)
            or self.inputs.state_problem(now)
            or self.inputs.gap(now)
            or self._enable_gate(now)
        )

    def _enable_when_ready(self, now: float, steady: float) -> None:
        if steady < self._next_gate:
            return
        self.reason = self._enable_problem(now)
        if self.reason:
            self._next_gate = steady + GATE_PERIOD_S
            return
        self._enable(now)

    def _enable(self, now: float) -> None:
        state = self.inputs.state
        assert state is not None
        if not self.dry_run:
            # Until the first chunk the arm is commanded to stay where it is held or measured.
            self.gate.engage(state, now)
        self._enable_wanted = self.enabled = True
        self.reason = ''
        self._states.blind = False
        self._outputs.info('DRY RUN: the policy runs' if self.dry_run else 'motion enabled')

    def _watch_pause(self, now: float) -> None:
        if pause := self.gate.pause(now):
            self._outputs.warning(pause)
            self._worker.discard()

    def _watch_operator(self, now: float) -> None:
        if pressed := self._operator.pressed:
            if not self.safety.tripped or self.enabled:
                self._trip(pressed, now)
        elif self.gate.engaged and (released := self._operator.released):
            self.stop(released, now)
            self._outputs.warning(f'{released}; motion is disabled')

    def _watch_worker(self, now: float, steady: float) -> None:
        change = self._watchdog.change(self._worker.busy_since, steady)
        if change == 'late':
            self._worker.discard()
            self._note_error(f'{self._watchdog.message}: holding')
            self.gate.brake(now)
        elif change == 'recovered':
            self._outputs.info('inference recovered')

    def _watch_state(self, now: float) -> bool:
        """Act on the joint states; returns whether motion may continue."""
        if self.dry_run:
            return self._watch_unmoved_state(now)
        action, why = self._states.evaluate(self.inputs, self.gate, now)
        if action == TRIP:
            self._trip(why, now)
        elif action == HOLD:
            self.reason = why
            if self.scheduler.needs_inference(now):
                self.inputs.skip(now)
            self._worker.discard()
            self.gate.miss(now)
        elif action == RESUME:
            assert self.inputs.state is not None
            self.gate.engage(self.inputs.state, now, held_since=False)
        return action in (GO, RESUME)

    def _watch_unmoved_state(self, now: float) -> bool:
        if fault := self.inputs.state_fault(now):
            self._trip(fault, now)
        elif gap := self.inputs.state_gap(now):
            self.reason = gap
            self._worker.discard()
        else:
            return True
        return False

    def _infer_when_due(self, now: float) -> None:
        if not self._worker.free:
            if self._watchdog.overdue:
                self.reason = self._watchdog.message
            return
        if waiting := self.gate.waiting:
            self.reason = f'{waiting}: waiting for the arm'
            return
        if not self.scheduler.needs_inference(now) or now < self._not_before:
            return
        if not self.instruction:
            self.reason = NO_INSTRUCTION
            return
        problem = self.inputs.skip(now)
        if problem:
            self.reason = problem.text
            return
        snapshot = self.inputs.snapshot(self.instruction)
        if self._worker.submit(snapshot):
            self._observed = snapshot.stamp

    def _use(self, result: WorkerResult, now: float) -> None:
        if result.chunk is None:
            # A camera is at least as fast as the policy's steps: then there is another image.
            self._not_before = now + self.contract.step_period
            if result.damaged and not self._image_skipped:
                self._image_skipped = True
                self._outputs.warning(f'{result.error}; waiting for the next image')
                return
            self._note_error(f'inference failed: {result.error}', result.trace)
            self.reason = self.last_error
            self.gate.brake(now)
            return
        self.reason = ''
        self._image_skipped = False
        self.chunks += 1
        self._chunk_times.append(now)
        self.stages.add_all(result.chunk.latencies)
        if self.enabled:
            self._follow(result, result.chunk, now)
        # After the command, which is urgent.
        self._outputs.chunk(result.chunk, self.chunks)

    def _follow(self, result: WorkerResult, chunk: ActionChunk, now: float) -> None:
        snapshot = result.snapshot
        # The observation's time on the motion clock; what is published keeps its stamp.
        chunk = replace(chunk, observation_stamp=snapshot.made)
        if self.dry_run:
            assert self.inputs.state is not None
            plan = self.gate.rehearse(chunk, now, snapshot.state, self.inputs.state)
        else:
            plan = self.gate.follow(chunk, now, snapshot.state)
        if self.scheduler.verdict.reasons and not self.safety.tripped:
            self._outputs.warning(f'action clamped: {self.scheduler.verdict.reasons[0]}')
        if self.safety.tripped:
            self._trip(self.safety.trip_reason, now)
        elif plan is None:
            self._outputs.warning(f'chunk rejected: {self.gate.refusal}')
        else:
            if not self.scheduler.moving(now):
                # The chunk stands still: infer again after one step, not as fast as the model can.
                self._not_before = now + self.contract.step_period
            # Time of ROS, decoding, scheduling and the threads on top of the policy.
            spent = time.monotonic() - result.submitted
            self.stages.add('outside_policy', spent - chunk.latencies.get('total', 0.0))

    # -- motion -----------------------------------------------------------------------------

    def chunk_rate(self, now: float) -> float:
        """Return the rate of the last chunks [1/s]."""
        recent = [stamp for stamp in self._chunk_times if stamp > now - _RATE_SPAN_S]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / max(now - recent[0], 1e-3)

    def _stop_motion(self, now: float) -> None:
        """Stop inference, stop publishing, hold: in this order."""
        self._worker.discard()
        self.enabled = self.travelling = self._enable_wanted = False
        self.gate.stop(now)

    def _trip(self, reason: str, now: float) -> None:
        first = not self.safety.tripped or self.enabled
        self.safety.trip(reason)
        self._stop_motion(now)
        if first:
            self._note_error(f'tripped: {reason}; holding until ~/clear_trip')

    def _note_error(self, text: str, trace: str = '') -> None:
        self.last_error, self.last_error_stamp = text, self._outputs.stamp()
        self._outputs.error(text, trace)
