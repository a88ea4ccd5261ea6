# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What an operator asks of the policy node and waits for: `~/run_instruction` and `~/home`.

Both take seconds or minutes in an executor with one thread that must never wait: their callbacks
are coroutines, which `update` wakes after a control cycle. They have a reentrant callback group:
a suspended callback of the node's own group would stop all others, the control loop included.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from vla_adapter_ros.action import RunInstruction
from vla_adapter_ros.control.homing import Homing
from vla_adapter_ros.control.instruction_run import (
    CANCELLED,
    REFUSED,
    TIME_LIMIT,
    InstructionRun,
    RunEnd,
)
from vla_adapter_ros.control.loop import ControlLoop
from vla_adapter_ros.control.loop_outputs import Outcome
from vla_adapter_ros.control.status import loop_status

FEEDBACK_PERIOD_S = 0.2
# The coroutines resume and their results leave within a few turns of the executor [s].
_DELIVERY_S = 0.2
NOT_ACTIVE = 'the node is not active: activate it first'


class OperatorTasks:
    """The action server and the service; at most one task runs.

    Args:
        node: `vla_adapter`.
        loop: returns the control loop, or None while the node is not configured.
        motion_time: returns the motion clock [s].
        changed: called when a task has started or ended.
    """

    def __init__(
        self,
        node: Node,
        loop: Callable[[], ControlLoop | None],
        motion_time: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self._log = node.get_logger()
        self._loop = loop
        self._motion_time = motion_time
        self._changed = changed
        self._run: InstructionRun | None = None
        self._goal: ServerGoalHandle | None = None
        self._homing: Homing | None = None
        self._ended: Future | None = None
        self._next_feedback = 0.0
        group = ReentrantCallbackGroup()
        self._server = ActionServer(
            node, RunInstruction, '~/run_instruction', self._execute, callback_group=group,
            goal_callback=lambda goal: GoalResponse.ACCEPT,
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
        )  # fmt: skip
        node.create_service(Trigger, '~/home', self._on_home, callback_group=group)

    def _active_loop(self) -> ControlLoop | None:
        loop = self._loop()
        return loop if loop is not None and loop.active else None

    @property
    def running(self) -> str:
        """What runs, for a request that must be refused meanwhile; '' if nothing does."""
        if self._run is not None:
            return f'~/run_instruction is running ({self._run.instruction!r}): cancel it first'
        return 'the arm is moving home: call ~/stop first' if self._homing is not None else ''

    def update(self) -> None:
        """Let the task in progress go on or end; call after every control cycle and stop."""
        now, end = self._motion_time(), None
        if self._run is not None:
            if self._goal is not None and self._goal.is_cancel_requested:
                self._run.cancel(now)
            end = self._run.update(now)
            if end is None:
                self._publish_feedback(self._run, now)
        elif self._homing is not None:
            end = self._homing.update(now)
        if end is not None and self._ended is not None:
            self._ended.set_result(end)
            self._run = self._goal = self._homing = self._ended = None

    @staticmethod
    def deliver(executor: Executor) -> None:
        """Let the results that are due leave; the executor is not spinning any more."""
        end = time.monotonic() + _DELIVERY_S
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.02)

    # -- ~/run_instruction -------------------------------------------------------------------

    async def _execute(self, goal: ServerGoalHandle) -> RunInstruction.Result:
        end = self._start_run(goal)
        if end is None:
            self._changed()
            end = await self._ended
        return self._result(goal, end)

    def _start_run(self, goal: ServerGoalHandle) -> RunEnd | None:
        loop = self._active_loop()
        if self.running or loop is None:
            return RunEnd(REFUSED, self.running or NOT_ACTIVE)
        run = InstructionRun(loop, goal.request.instruction, goal.request.time_limit)
        if (end := run.start(self._motion_time())) is not None:
            return end
        self._run, self._goal, self._ended = run, goal, Future()
        self._log.info(
            f'run_instruction: {run.instruction!r} for {goal.request.time_limit:g} s'
        )
        return None

    def _result(self, goal: ServerGoalHandle, end: RunEnd) -> RunInstruction.Result:
        if end.kind == TIME_LIMIT:
            goal.succeed()
        elif end.kind == CANCELLED:
            goal.canceled()
        else:
            goal.abort()
        text = f'run_instruction ended after {end.elapsed:.1f} s: {end.kind}: {end.message}'
        # Two lines: rclpy refuses one call site with changing severity.
        if end.kind in (TIME_LIMIT, CANCELLED):
            self._log.info(text)
        else:
            self._log.warning(text)
        self._changed()
        return RunInstruction.Result(
            ended=getattr(RunInstruction.Result, end.kind),
            ended_text=end.kind,
            message=end.message,
            elapsed=end.elapsed,
            chunks=end.chunks,
        )

    def _publish_feedback(self, run: InstructionRun, now: float) -> None:
        if time.monotonic() < self._next_feedback or self._goal is None:
            return
        self._next_feedback = time.monotonic() + FEEDBACK_PERIOD_S
        status = loop_status(self._active_loop(), now)
        self._goal.publish_feedback(
            RunInstruction.Feedback(
                state_text=status.state,
                reason=status.reason,
                elapsed=run.elapsed(now),
                progress=run.progress(now),
                chunks=run.chunks,
            )
        )

    # -- ~/home ------------------------------------------------------------------------------

    async def _on_home(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        outcome = self._start_home()
        if outcome.success and self._ended is not None:
            self._log.info(f'home: {outcome.message}')
            self._changed()
            outcome = await self._ended
        response.success, response.message = outcome.success, outcome.message
        # Two lines: rclpy refuses one call site with changing severity.
        if outcome.success:
            self._log.info(f'home: {outcome.message}')
        else:
            self._log.warning(f'home: {outcome.message}')
        self._changed()
        return response

    def _start_home(self) -> Outcome:
        loop = self._active_loop()
        if self.running or loop is None:
            return Outcome(False, self.running or NOT_ACTIVE)
        homing = Homing(loop)
        outcome = homing.start(self._motion_time())
        if outcome.success:
            self._homing, self._ended = homing, Future()
        return outcome
