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
        self._asked = False
        try:
            from controller_manager_msgs.srv import ListControllers
        except ImportError:
            return
        self._request = ListControllers.Request
        self._client = node.create_client(ListControllers, f'{_MANAGER}/list_controllers')

    def close(self) -> None:
        """Release the client."""
        if self._client is not None:
            self._node.destroy_client(self._client)
            self._client = None

    def ask(self) -> None:
        """Ask the manager again, without waiting for the answer; call about once a second."""
        if self._client is None or not self._controllers or not self._client.service_is_ready():
            self._states, self._asked = None, False
            return
        self._asked = True
        self._client.call_async(self._request()).add_done_callback(self._on_answer)

    def _on_answer(self, answer: Any) -> None:
        if not answer.cancelled() and (response := answer.result()) is not None:
            self._states = {c.name: c.state for c in response.controller}

    def problem(self) -> str:
        """Return why a controller does not execute what it gets, or ''."""
        if not self._asked:
            return ''
        if self._states is None:
            return 'the controller manager has not told yet whether the controllers are active'
        for name in self._controllers:
            state = self._states.get(name, 'not loaded')
            if state != 'active':
                return f'{name} is {state}: activate it (ros2 control switch_controllers)'
        return ''
