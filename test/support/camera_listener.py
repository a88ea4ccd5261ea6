# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A node in the test's own process that records images and diagnostics of a camera node."""

from __future__ import annotations

import time

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from support.graph_client import RosClient
from support.ros_harness import wait_until
from vla_adapter_ros.nodes.common.messages import to_seconds


class CameraListener(RosClient):
    """Subscribes to `<camera>/image` and what goes with it."""

    def __init__(self, environment: dict, camera: str, depth: int = 100):
        super().__init__(environment, 'listener')
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
        self.start()

    def _on_image(self, message: Image):
        self.delays.append(time.time() - to_seconds(message.header.stamp))
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


def pixels(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
