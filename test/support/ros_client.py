# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A node in the test's own process, in a domain and a thread of its own."""

from __future__ import annotations

import contextlib
import os
import threading
import time

import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter

from support.ros_harness import wait_until

# A first request without an answer for so long is sent again [s].
_SILENT = 5.0


class RosClient:
    """A node that spins from `start` to `close`; subclasses subscribe before they start it."""

    def __init__(self, environment: dict, name: str):
        os.environ.update({k: v for k, v in environment.items() if k.startswith('FAST')})
        self.context = Context()
        rclpy.init(context=self.context, domain_id=int(environment['ROS_DOMAIN_ID']))
        self.node = rclpy.create_node(name, context=self.context)
        self._clients: dict[str, object] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _spin(self) -> None:
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(self.node)
        with contextlib.suppress(ExternalShutdownException):
            while not self._closing.is_set():
                executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        # The thread first: a callback must not find its publishers gone.
        self._closing.set()
        self._thread.join(5.0)
        self.context.shutdown()

    def call(self, kind, name: str, request, seconds: float = 20.0):
        """Return the answer of a service.

        The answer to a first request can be lost (seen with rmw_fastrtps on a busy machine, where
        the server may not know this client yet). It is sent again when nothing comes back.
        """
        client = self._clients.get(name)
        if first := client is None:
            client = self._clients[name] = self.node.create_client(kind, name)
        assert client.wait_for_service(seconds), f'no service {name}'
        requests = [client.call_async(request)]
        sent = time.monotonic()

        def answered():
            nonlocal sent
            if first and time.monotonic() > sent + _SILENT:
                requests.append(client.call_async(request))
                sent = time.monotonic()
            return next((r for r in requests if r.done()), None)

        return wait_until(answered, seconds, f'answer of {name}').result()

    def set_parameter(self, node: str, name: str, value) -> tuple[bool, str]:
        """Return whether a node took a parameter, and why not."""
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        result = self.call(SetParameters, f'/{node}/set_parameters', request).results[0]
        return result.successful, result.reason
