# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Between the simulated arm and the policy node: passes messages on, or spoils them.

The simulation publishes under `raw/…`; the relay republishes under the real names.
"""

from __future__ import annotations

import math
import time

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState

from vla_adapter_ros.nodes.common.messages import EVERY, LATEST, to_seconds, to_time

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
