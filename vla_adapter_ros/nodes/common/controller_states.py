# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Whether the controllers of an arm are active: inactive ones subscribe too, and drop messages.

Asked of the controller manager. Its messages come with every installation of ros2_control but are
not on PyPI; where they are missing, or no controller manager runs, nothing is known.
"""

from __future__ import annotations

from typing import Any

from rclpy.node import Node

from vla_adapter_ros.robot.contract import RobotContract

_MANAGER = 'controller_manager'
# Calls of `ask` in which an answer must come.
_PATIENCE = 5


class ControllerStates:
    """The states of the contract's controllers, as last told.

    Args:
        node: owns the client; the manager is looked for in its namespace.
        contract: whose topics name the controllers.
    """

    def __init__(self, node: Node, contract: RobotContract) -> None:
        self._node = node
        topics = contract.front_end.topics
        streamed = contract.front_end.kind != 'joint_trajectory'
        self._controllers = () if streamed else tuple(t.split('/')[-2] for t in topics if '/' in t)
        self._request: Any = None
        self._client: Any = None
        # Controller → state; None: not told yet.
        self._states: dict[str, str] | None = None
        self._answer: Any = None
        self._waited = 0
        try:
            from controller_manager_msgs.srv import ListControllers
        except ImportError:
            return
        self._request = ListControllers.Request
        self._client = node.create_client(ListControllers, f'{_MANAGER}/list_controllers')

    def close(self) -> None:
        """Release the client."""
        if self._client is not None:
            self._forget()
            self._node.destroy_client(self._client)
            self._client = None

    def ask(self) -> None:
        """Ask the manager again, without waiting for the answer; call about once a second."""
        if self._client is None or not self._controllers:
            return
        if not self._client.service_is_ready():
            self._forget()
            return
        if self._answer is not None:
            self._waited += 1
            if self._waited < _PATIENCE:
                return
            # It will never come: the manager was restarted meanwhile.
            self._forget()
        self._answer, self._waited = self._client.call_async(self._request()), 0
        self._answer.add_done_callback(self._on_answer)

    def _forget(self) -> None:
        answer, self._answer, self._states = self._answer, None, None
        if answer is not None:
            self._client.remove_pending_request(answer)

    def _on_answer(self, answer: Any) -> None:
        if answer is not self._answer:
            return
        self._answer = None
        self._states = {c.name: c.state for c in answer.result().controller}

    def problem(self) -> str:
        """Return which controller does not execute what it gets, or ''."""
        if self._states is None:
            return ''
        for name in self._controllers:
            state = self._states.get(name, 'not loaded')
            if state != 'active':
                return f'{name} is {state}: activate it (ros2 control switch_controllers)'
        return ''

    def unknown(self) -> str:
        """Return that a manager that is there has not told the states yet, or ''."""
        if self._answer is None or self._states is not None:
            return ''
        return 'the controller manager has not told yet whether the controllers are active'
