# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The two clocks of a node that moves an arm: the robot's for stamps, and the motion clock."""

from __future__ import annotations

import time

from builtin_interfaces.msg import Time
from rclpy.node import Node

from vla_adapter_ros.control.clock import Arrival, MotionClock
from vla_adapter_ros.nodes.common.messages import to_seconds


class NodeClock:
    """Reads both clocks of a node.

    Args:
        node: its parameter `use_sim_time` decides which clock motion follows.
    """

    def __init__(self, node: Node) -> None:
        self._robot = node.get_clock()
        self._motion = MotionClock()

    def stamp(self) -> float:
        """Return the robot's clock [s]: for stamps, not for motion."""
        return self._robot.now().nanoseconds * 1e-9

    def now(self) -> float:
        """Return the motion clock [s]: for motion, ages and time limits."""
        return self._advance(self.stamp())

    def arrival(self, stamp: Time) -> Arrival:
        """Return the arrival of a message with this stamp in its header."""
        robot = self.stamp()
        return Arrival.of(to_seconds(stamp), robot, self._advance(robot))

    def _advance(self, robot: float) -> float:
        simulated = self._robot.ros_time_is_active
        return self._motion.now(robot, time.monotonic(), simulated)
