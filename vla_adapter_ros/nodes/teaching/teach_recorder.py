# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Episodes from the teaching node: its keys and services reach the recorder node."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

_CALLS = ('start', 'stop', 'stop_success', 'stop_failure', 'discard')
_NO_RECORDER = 'no recorder is running; start one with teach.launch.py'


class RecorderCalls:
    """Clients of the recorder, and services of the same names that pass on to it.

    Args:
        node: owns clients and services.
        say: tells the person at the robot; (text, whether it is bad).
    """

    def __init__(self, node: Node, say: Callable[[str, bool], None]) -> None:
        self._say = say
        # In a group of their own: a service waiting for their answer blocks the node's group.
        group = MutuallyExclusiveCallbackGroup()
        self._clients = {
            name: node.create_client(Trigger, f'recorder/{name}', callback_group=group)
            for name in _CALLS
        }
        for name in _CALLS:
            node.create_service(
                Trigger, f'~/{name}', partial(self._on_service, name),
                callback_group=ReentrantCallbackGroup(),
            )

    def call(self, name: str) -> Future | None:
        """Call a service of the recorder; None, and a word to the person, if it does not run."""
        client = self._clients[name]
        if not client.service_is_ready():
            self._say(_NO_RECORDER, True)
            return None
        future = client.call_async(Trigger.Request())
        future.add_done_callback(partial(self._on_answer, name))
        return future

    async def _on_service(
        self, name: str, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        future = self.call(name)
        if future is None:
            response.success, response.message = False, _NO_RECORDER
            return response
        return await future

    def _on_answer(self, name: str, future: Future) -> None:
        result = future.result()
        self._say(f'recorder {name}: {result.message}', not result.success)
