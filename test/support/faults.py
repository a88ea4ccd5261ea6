# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Faults for the running system: policies that misbehave, and a relay that spoils messages.

The node loads the policies as `support.faults:Class`. Each first sways the arm gently, so that a
fault meets a moving arm, and misbehaves while the file named by FAULT_FILE exists.

The relay stands between the simulated arm, which publishes under `raw/…`, and the policy node.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState

from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.nodes.common.messages import EVERY, LATEST, to_seconds, to_time

PERIOD = 0.1


class Swaying:
    """Moves joints 1 and 6 on sines of the observation's time."""

    def __init__(self, contract):
        self.contract = contract
        self.start = None

    @property
    def faulty(self) -> bool:
        return Path(os.environ['FAULT_FILE']).exists()

    def sway(self, observation):
        if self.start is None:
            self.start = observation.proprioception.copy()
        times = observation.stamp + PERIOD * np.arange(1, 9)
        targets = np.tile(self.start, (8, 1))
        targets[:, 0] += 0.25 * np.sin(2 * math.pi * 0.25 * times)
        targets[:, 5] += 0.25 * np.cos(2 * math.pi * 0.25 * times)
        targets[:, 6] = 1.0
        return targets

    def chunk(self, observation, targets):
        actions = targets.copy()
        if self.contract.action_space == 'joint_delta':
            actions[:, :6] -= observation.proprioception[:6]
        return ActionChunk(
            actions, observation.stamp, PERIOD, observation.instruction, {'total': 0.0}
        )

    def misbehave(self, observation, targets):
        return targets

    def predict(self, observation):
        targets = self.sway(observation)
        if self.faulty:
            targets = self.misbehave(observation, targets)
        return self.chunk(observation, targets)


class HalfSecondStall(Swaying):
    def misbehave(self, observation, targets):
        time.sleep(0.5)
        return targets


class ThreeSecondStall(Swaying):
    def misbehave(self, observation, targets):
        time.sleep(3.0)
        return targets


class Raising(Swaying):
    def misbehave(self, observation, targets):
        raise RuntimeError('CUDA error: device-side assert triggered')


class OutOfRange(Swaying):
    def misbehave(self, observation, targets):
        return targets + 10.0


class NotFinite(Swaying):
    def misbehave(self, observation, targets):
        return np.full_like(targets, np.nan)


class Erratic(Swaying):
    """Random targets all over the joint ranges, new ones in every chunk."""

    def __init__(self, contract):
        super().__init__(contract)
        self.random = np.random.default_rng(0)

    def misbehave(self, observation, targets):
        return self.random.uniform(self.contract.lower, self.contract.upper, targets.shape)


TOPICS = ('third_person/image', 'wrist/image', 'joint_states')
RAW = {topic: f'raw/{topic}' for topic in TOPICS}
STATE_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class FaultRelay:
    """Attributes are the faults; all off at first."""

    def __init__(self, node):
        self.lose_images = False
        self.lose_states = False
        self.freeze_states = False
        self.spoil_states = False
        self.image_period = 0.0
        self.time_offset = 0.0
        self._frozen = None
        self._last_image = {}
        self._publish = {}
        for topic in TOPICS[:2]:
            self._publish[topic] = node.create_publisher(Image, topic, LATEST)
            node.create_subscription(
                Image, RAW[topic], lambda m, t=topic: self._on_image(t, m), LATEST
            )
        self._publish['joint_states'] = node.create_publisher(JointState, 'joint_states', EVERY)
        node.create_subscription(JointState, RAW['joint_states'], self._on_state, STATE_QOS)

    def _stamp(self, message):
        if self.time_offset:
            seconds = to_seconds(message.header.stamp) + self.time_offset
            message.header.stamp = to_time(seconds)

    def _on_image(self, topic, message):
        now = time.monotonic()
        if self.lose_images or now - self._last_image.get(topic, 0.0) < self.image_period:
            return
        self._last_image[topic] = now
        self._stamp(message)
        self._publish[topic].publish(message)

    def _on_state(self, message):
        if self.lose_states:
            return
        if self.freeze_states:
            # As a driver whose serial line died: fresh stamps on old values.
            self._frozen = self._frozen or message.position[:]
            message.position = self._frozen
        else:
            self._frozen = None
        if self.spoil_states:
            message.position[2] = math.nan
        self._stamp(message)
        self._publish['joint_states'].publish(message)
