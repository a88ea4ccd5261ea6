# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Subscribes to the switches with which an operator stops the arm: `~/estop` and `~/deadman`."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool

from vla_adapter_ros.control.operator_stop import OperatorStop
from vla_adapter_ros.nodes.common.messages import EVERY, LATCHED, LATEST

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

ESTOP, DEADMAN = '~/estop', '~/deadman'
# Matches every publisher; a short press between two cycles of the executor is not overwritten.
_ANY = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE
)


class StopInputs:
    """Feeds an `OperatorStop`; exists in every state of the node, so that nothing is missed.

    Whatever QoS a publisher of the emergency stop offers, it is heard: best effort matches all,
    reliable does not lose a message where that is offered, and latched gets the state from before
    this node was started. The same message heard three times means the same.

    Args:
        node: owns the subscriptions.
        on_estop: called after every message of the emergency stop, for an immediate reaction.
    """

    def __init__(self, node: Node, on_estop: Callable[[], None]) -> None:
        names = [node.resolve_topic_name(name) for name in (ESTOP, DEADMAN)]
        self.switches = OperatorStop(*names)
        self._on_estop = on_estop
        for qos in (_ANY, EVERY, LATCHED):
            node.create_subscription(
                Bool, ESTOP, self._receive_estop, qos,
                # A publisher that one of the three does not match is no fault.
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            )  # fmt: skip
        # A heartbeat: only the newest counts, and its absence stops.
        node.create_subscription(Bool, DEADMAN, self._receive_deadman, LATEST)

    def _receive_estop(self, message: Bool) -> None:
        self.switches.receive_estop(message.data)
        self._on_estop()

    def _receive_deadman(self, message: Bool) -> None:
        self.switches.receive_deadman(message.data)
