# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A node in the test's own process that records images and diagnostics of a camera node."""

from __future__ import annotations

import contextlib
import os
import threading
import time

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_harness import wait_until
from sensor_msgs.msg import CameraInfo, Image


class CameraListener:
    """Subscribes to `<camera>/image` and what goes with it, in a thread of its own."""

    def __init__(self, environment: dict, camera: str, depth: int = 100):
        os.environ.update({k: v for k, v in environment.items() if k.startswith('FAST')})
        self.context = Context()
        rclpy.init(context=self.context, domain_id=int(environment['ROS_DOMAIN_ID']))
        self.node = rclpy.create_node('listener', context=self.context)
        best_effort = QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.images: list[Image] = []
        self.delays: list[float] = []
        self.depths: list[Image] = []
        self.infos: list[CameraInfo] = []
        self.states: list[str] = []
        self.values: dict[str, str] = {}
        subscribe = self.node.create_subscription
        subscribe(Image, f'{camera}/image', self._on_image, best_effort)
        subscribe(Image, f'{camera}/depth/image', self.depths.append, best_effort)
        subscribe(CameraInfo, f'{camera}/camera_info', self.infos.append, best_effort)
        subscribe(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.thread.start()

    def _spin(self):
        with contextlib.suppress(ExternalShutdownException):
            while self.context.ok():
                self.executor.spin_once(timeout_sec=0.05)

    def _on_image(self, message: Image):
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        self.delays.append(time.time() - stamp)
        self.images.append(message)

    def _on_diagnostics(self, message: DiagnosticArray):
        for status in message.status:
            self.states.append(status.message)
            self.values = {pair.key: pair.value for pair in status.values}

    def wait_for_state(self, text: str, seconds: float = 30.0) -> str:
        before = len(self.states)
        wait_until(
            lambda: any(text in state for state in self.states[before:]), seconds,
            f'diagnostics with {text!r} (last: {self.states[-1:]})',
        )
        return next(state for state in self.states[before:] if text in state)

    def set_parameter(self, node: str, name: str, value) -> tuple[bool, str]:
        client = self.node.create_client(SetParameters, f'/{node}/set_parameters')
        assert client.wait_for_service(20)
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        future = client.call_async(request)
        wait_until(future.done, 20, 'set_parameters')
        result = future.result().results[0]
        return result.successful, result.reason

    def close(self):
        rclpy.shutdown(context=self.context)
        self.thread.join(5)


def pixels(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
