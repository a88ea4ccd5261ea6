# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The services of the policy node that answer at once: instruction, enable, stop, clear a trip."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from vla_adapter_ros.control.loop import ControlLoop
from vla_adapter_ros.control.loop_outputs import Outcome
from vla_adapter_ros.nodes.policy.operator_tasks import NOT_ACTIVE, OperatorTasks
from vla_adapter_ros.srv import SetInstruction

NOT_CONFIGURED = 'the node is not configured: configure and activate it first'


class OperatorServices:
    """Each answers with what the control loop says.

    Args:
        node: `vla_adapter`.
        loop: returns the control loop, or None while the node is not configured.
        motion_time: returns the motion clock [s].
        tasks: what an operator has started and waits for; some requests end it.
        changed: called after every request.
    """

    def __init__(
        self,
        node: Node,
        loop: Callable[[], ControlLoop | None],
        motion_time: Callable[[], float],
        tasks: OperatorTasks,
        changed: Callable[[], None],
    ) -> None:
        self._log = node.get_logger()
        self._loop = loop
        self._motion_time = motion_time
        self._tasks = tasks
        self._changed = changed
        node.create_service(
            SetInstruction, 'set_instruction',
            partial(self._serve, 'set_instruction', self._set_instruction),
        )  # fmt: skip
        for name, kind, action in (
            ('enable', SetBool, lambda loop, asked, now: loop.set_enabled(asked.data, now)),
            ('stop', Trigger, lambda loop, asked, now: loop.stop('stop was called', now)),
            ('clear_trip', Trigger, lambda loop, asked, now: loop.clear_trip(now)),
        ):
            serve = partial(self._serve, name, partial(self._when_active, action))
            node.create_service(kind, f'~/{name}', serve)

    def _serve(
        self, name: str, action: Callable[[object], Outcome], request: object, response: object
    ) -> object:
        outcome = action(request)
        self._tasks.update()
        response.success, response.message = outcome.success, outcome.message
        # Two lines: rclpy refuses one call site with changing severity.
        if outcome.success:
            self._log.info(f'{name}: {outcome.message}')
        else:
            self._log.warning(f'{name}: {outcome.message}')
        self._changed()
        return response

    def _set_instruction(self, request: SetInstruction.Request) -> Outcome:
        loop = self._loop()
        if loop is None:
            return Outcome(False, NOT_CONFIGURED)
        if running := self._tasks.running:
            return Outcome(False, running)
        return loop.set_instruction(request.instruction, self._motion_time())

    def _when_active(
        self, action: Callable[[ControlLoop, object, float], Outcome], request: object
    ) -> Outcome:
        loop = self._loop()
        if loop is None or not loop.active:
            return Outcome(False, NOT_ACTIVE)
        return action(loop, request, self._motion_time())
