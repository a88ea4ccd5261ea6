# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From the topics of a running arm to rerun."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.msg import ActionChunk, PolicyStatus
from vla_adapter_ros.nodes.common.messages import EVERY, LATCHED, LATEST, image_input, to_seconds
from vla_adapter_ros.nodes.viewing.rerun_log import RerunLog
from vla_adapter_ros.robot.camera_view import decode_message
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.joint_state import JointStateReader

_TROUBLE = (PolicyStatus.HOLDING, PolicyStatus.TRIPPED)
_COMPLAINT_PERIOD_S = 10.0


class RerunTopics:
    """Subscribes to all that the policy node takes and gives, and logs it.

    Everything is at the time of its stamp, or of its arrival if it has none. A message that
    cannot be shown costs a warning.

    Args:
        node: gets the subscriptions.
        contract: gives cameras, joints and command topics.
        log: where it goes.
        transport: of the images, one of IMAGE_TRANSPORTS.
        image_rate: at most so many images of a camera [Hz]; 0: all.
    """

    def __init__(
        self,
        node: Node,
        contract: RobotContract,
        log: RerunLog,
        transport: str = 'raw',
        image_rate: float = 10.0,
    ) -> None:
        self._node, self._contract, self._log = node, contract, log
        self._reader = JointStateReader(contract)
        self._image_period = 1.0 / image_rate if image_rate else 0.0
        self._shown_at: dict[str, float] = {}
        self._complained_at = -_COMPLAINT_PERIOD_S
        for camera in contract.cameras:
            kind, topic = image_input(camera, transport)
            self._listen(kind, topic, partial(self._on_image, camera), LATEST)
        self._listen(JointState, 'joint_states', self._on_state, LATEST)
        front_end = contract.front_end
        if front_end.kind == 'joint_trajectory':
            for topic in dict.fromkeys((front_end.arm_topic, front_end.recorded_gripper_topic)):
                self._listen(JointTrajectory, topic, self._on_trajectory, EVERY)
        else:
            self._listen(JointState, front_end.arm_topic, self._on_command, EVERY)
        self._listen(PolicyStatus, 'vla_adapter/status', self._on_status, LATCHED)
        self._listen(ActionChunk, 'vla_adapter/action_chunk', self._on_chunk, EVERY)
        self._listen(String, 'vla_adapter/instruction', self._on_instruction, LATCHED)

    def _listen(self, kind: type, topic: str, callback: Any, profile: Any) -> None:
        def show(message: Any) -> None:
            try:
                callback(message)
            except VLAAdapterError as error:
                self._complain(f'{topic}: {error}')

        self._node.create_subscription(kind, topic, show, profile)

    def _complain(self, text: str) -> None:
        if time.monotonic() >= self._complained_at + _COMPLAINT_PERIOD_S:
            self._complained_at = time.monotonic()
            self._node.get_logger().warning(f'not shown: {text}')

    @property
    def _now(self) -> float:
        return self._node.get_clock().now().nanoseconds * 1e-9

    def _time_of(self, stamp: Time) -> float:
        return to_seconds(stamp) or self._now

    def _on_image(self, camera: str, message: Any) -> None:
        arrival = time.monotonic()
        if arrival < self._shown_at.get(camera, -1.0) + self._image_period:
            return
        self._shown_at[camera] = arrival
        self._log.image(camera, decode_message(message), self._time_of(message.header.stamp))

    def _on_state(self, message: JointState) -> None:
        stamp = self._time_of(message.header.stamp)
        reading = self._reader.receive(message.name, message.position, stamp, self._now)
        if reading is not None:
            self._log.state(reading.state, reading.stamp)

    def _row(self, names: list[str], positions: Any) -> np.ndarray:
        """Return (J + 1,) targets in contract order, NaN for joints that are not named."""
        known = self._contract.driver_names
        row = np.full(len(known), np.nan)
        for name, position in zip(names, positions):
            if name in known:
                row[known.index(name)] = position
        row[-1] = self._contract.front_end.gripper_fraction(row[-1])
        return row

    def _on_trajectory(self, message: JointTrajectory) -> None:
        now, names = self._now, list(message.joint_names)
        begin = self._time_of(message.header.stamp)
        rows = [
            (begin + to_seconds(point.time_from_start), self._row(names, point.positions))
            for point in message.points
        ]
        self._log.command(names, rows, now)

    def _on_command(self, message: JointState) -> None:
        now, names = self._now, list(message.name)
        self._log.command(names, [(now, self._row(names, message.position))], now)

    def _on_status(self, message: PolicyStatus) -> None:
        words = [message.state_text, message.reason, Path(message.policy).name]
        if message.dry_run:
            words.append('dry run: nothing is sent')
        latencies = {'p50': message.latency_p50, 'p95': message.latency_p95}
        text = '  \n'.join(word for word in words if word)
        trouble = message.state in _TROUBLE
        self._log.status(text, trouble, latencies, self._time_of(message.stamp))

    def _on_chunk(self, message: ActionChunk) -> None:
        if len(message.actions) != message.chunk_size * message.action_dim:
            raise VLAAdapterError(
                f'{len(message.actions)} values, expected '
                f'{message.chunk_size} × {message.action_dim}'
            )
        actions = np.reshape(message.actions, (message.chunk_size, message.action_dim))
        self._log.chunk(actions, to_seconds(message.observation_stamp), self._now)

    def _on_instruction(self, message: String) -> None:
        self._log.instruction(message.data, self._now)
