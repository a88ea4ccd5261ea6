# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Faults for the running system: a policy that misbehaves, and a relay that spoils messages.

The node loads the policy as `support.faults:Swaying`. It sways the arm gently, so that a fault
meets a moving arm, and misbehaves while the file named by FAULT_FILE names one of FAULTS.

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
# Where `aside` holds joint 1, which is at 0 in the start pose [rad].
AWAY_RAD = 0.8


class SlowToLoad:
    """Takes minutes, as a large checkpoint from a slow disk does."""

    def __init__(self, contract):
        print('loading', flush=True)
        time.sleep(300.0)


class Swaying:
    """Moves joints 1 and 6 on sines of the observation's time."""

    def __init__(self, contract):
        self.contract = contract
        self.start = None
        self.random = np.random.default_rng(0)

    @property
    def fault(self) -> str:
        """What the file named by FAULT_FILE says; '' while there is none."""
        path = Path(os.environ['FAULT_FILE'])
        return path.read_text() if path.exists() else ''

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

    def predict(self, observation):
        targets = self.sway(observation)
        if fault := self.fault:
            targets = FAULTS[fault](self, targets)
        return self.chunk(observation, targets)


class WithoutContract:
    """A policy of the user's own that does not say what robot it is for."""

    def __init__(self, contract):
        self.contract = None


def stall(seconds):
    def misbehave(policy, targets):
        time.sleep(seconds)
        return targets

    return misbehave


def fail(policy, targets):
    raise RuntimeError('CUDA error: device-side assert triggered')


def erratic(policy, targets):
    """Random targets all over the joint ranges, new ones in every chunk."""
    return policy.random.uniform(policy.contract.lower, policy.contract.upper, targets.shape)


def aside(policy, targets):
    """At rest, far from where anything begins."""
    targets[:, 0] = AWAY_RAD
    return targets


FAULTS = {
    'half a second': stall(0.5),
    'three seconds': stall(3.0),
    'error': fail,
    'out of range': lambda policy, targets: targets + 10.0,
    'not finite': lambda policy, targets: np.full_like(targets, np.nan),
    'erratic': erratic,
    'aside': aside,
}

TOPICS = ('third_person/image', 'wrist/image', 'joint_states')
RAW = {topic: f'raw/{topic}' for topic in TOPICS}
STATE_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class FaultRelay:
    """Attributes are the faults; all off at first."""

    def __init__(self, node):
        self.reset()
        self._publish = {}
        for topic in TOPICS[:2]:
            self._publish[topic] = node.create_publisher(Image, topic, LATEST)
            node.create_subscription(
                Image, RAW[topic], lambda m, t=topic: self._on_image(t, m), LATEST
            )
        self._publish['joint_states'] = node.create_publisher(JointState, 'joint_states', EVERY)
        node.create_subscription(JointState, RAW['joint_states'], self._on_state, STATE_QOS)

    def reset(self):
        self.lose_images = False
        self.lose_states = False
        self.freeze_states = False
        self.spoil_states = False
        self.image_period = 0.0
        self.time_offset = 0.0
        self._frozen = None
        self._last_image = {}

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
