# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A node that watches the running system for the demo and records its motion."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.evaluation.film import side_by_side
from vla_adapter_ros.msg import ActionChunk, PolicyStatus
from vla_adapter_ros.nodes.common.messages import EVERY, LATCHED, LATEST, to_seconds
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.joint_state import JointStateReader
from vla_adapter_ros.srv import SetInstruction

FILM_RATE = 8.0


@dataclass
class Recording:
    """Observations so far; times in seconds since the demo's start.

    Attributes:
        frames: film frames, both cameras side by side, at `FILM_RATE`.
        measured: (time, (J + 1,) contract-order state).
        commanded: (time a point is due, (J + 1,) target, NaN where another topic carries it).
        first_chunk: when the first chunk came, or None.
        first_motion: when the arm had moved by 0.02 rad, or None.
        success: when the scene reported success, or None.
    """

    frames: list[np.ndarray] = field(default_factory=list)
    measured: list[tuple[float, np.ndarray]] = field(default_factory=list)
    commanded: list[tuple[float, np.ndarray]] = field(default_factory=list)
    first_chunk: float | None = None
    first_motion: float | None = None
    success: float | None = None


class DemoObserver(Node):
    """Subscribes to everything a visitor would look at."""

    def __init__(self, contract: RobotContract) -> None:
        super().__init__('demo')
        self._contract = contract
        self._reader = JointStateReader(contract)
        self._begin = time.monotonic()
        self._latest: dict[str, Image] = {}
        self._instruction = ''
        self.recording = Recording()
        self.status: PolicyStatus | None = None
        self.chunk: ActionChunk | None = None
        for camera in contract.cameras:
            self.create_subscription(
                Image, f'{camera}/image', partial(self._latest.__setitem__, camera), LATEST
            )
        self.create_subscription(JointState, 'joint_states', self._on_state, LATEST)
        front_end = contract.front_end
        for topic in front_end.topics:
            self.create_subscription(JointTrajectory, topic, self._on_trajectory, EVERY)
        self.create_subscription(PolicyStatus, 'vla_adapter/status', self._on_status, LATCHED)
        self.create_subscription(ActionChunk, 'vla_adapter/action_chunk', self._on_chunk, EVERY)
        self.create_subscription(Bool, 'sim_arm/success', self._on_success, LATCHED)
        self.create_timer(1.0 / FILM_RATE, self._take_frame)
        self.set_instruction = self.create_client(SetInstruction, 'set_instruction')
        self.stop_motion = self.create_client(Trigger, 'vla_adapter/stop')

    def begin(self, instruction: str) -> None:
        """Start the record: times count from now."""
        self._instruction = instruction
        self._begin = time.monotonic()
        self.recording = Recording()

    @property
    def elapsed(self) -> float:
        """Seconds since `begin`."""
        return time.monotonic() - self._begin

    def only_failed(self) -> str:
        """Return the policy's last error if it has never given a chunk, else ''."""
        if self.status is None or self.status.chunks_total:
            return ''
        return self.status.last_error

    def _on_state(self, message: JointState) -> None:
        record, now = self.recording, self.elapsed
        reading = self._reader.receive(message.name, message.position, now, now)
        if reading is None:
            return
        state = reading.state
        record.measured.append((now, state))
        if record.first_motion is None:
            moved = np.abs(state[:-1] - record.measured[0][1][:-1]).max()
            if moved > 0.02:
                record.first_motion = self.elapsed

    def _on_trajectory(self, message: JointTrajectory) -> None:
        names, now, rows = self._contract.driver_names, self.elapsed, []
        for point in message.points:
            row = np.full(len(names), np.nan)
            for name, position in zip(message.joint_names, point.positions, strict=True):
                is_gripper = name == names[-1]
                value = self._contract.gripper.to_fraction(position) if is_gripper else position
                row[names.index(name)] = value
            due = now + to_seconds(point.time_from_start)
            rows.append((due, row))
        self.recording.commanded.extend(rows)

    def _on_status(self, message: PolicyStatus) -> None:
        self.status = message

    def _on_chunk(self, message: ActionChunk) -> None:
        self.chunk = message
        if self.recording.first_chunk is None:
            self.recording.first_chunk = self.elapsed

    def _on_success(self, message: Bool) -> None:
        if message.data and self.recording.success is None:
            self.recording.success = self.elapsed

    def _take_frame(self) -> None:
        if len(self._latest) < len(self._contract.cameras):
            return
        images = [
            np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
            for image in (self._latest[camera] for camera in self._contract.cameras)
        ]
        caption = f'{self.elapsed:5.1f} s   "{self._instruction}"'
        if self.recording.success is not None:
            caption += '   done'
        self.recording.frames.append(side_by_side(images, caption))
