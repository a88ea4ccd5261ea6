# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Commands of a person's motion (teaching, first motions) to the driver of the contract."""

from __future__ import annotations

from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.control.front_ends import JointCommand, TrajectoryCommand, make_front_end
from vla_adapter_ros.motion.plan import MotionPlan
from vla_adapter_ros.nodes.common.messages import COMMAND, joint_state_message, trajectory_message
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.teaching.motion import TeachMotion


class ArmCommands:
    """Publishes plans and streams through the contract's front end.

    Args:
        node: owns the publishers.
        contract: names front end, topics and units.
    """

    def __init__(self, node: Node, contract: RobotContract) -> None:
        self._node = node
        self._front_end = make_front_end(contract)
        spec = contract.front_end
        streamed = spec.kind == 'joint_commands'
        kind = JointState if streamed else JointTrajectory
        self.topics = [spec.arm_topic] if streamed else [spec.arm_topic, spec.gripper_topic]
        self._publishers = {
            topic: node.create_publisher(kind, topic, COMMAND) for topic in self.topics
        }

    @property
    def rate(self) -> float:
        """How often `stream` must be called [Hz]; 0 if it need not."""
        return self._front_end.rate

    @property
    def driver_listens(self) -> bool:
        """Whether a driver of the contract's front end is there."""
        return all(p.get_subscription_count() > 0 for p in self._publishers.values())

    def other_commanders(self) -> list[str]:
        """Return the other nodes that publish commands for this arm."""
        found = {
            info.node_name
            for topic in self.topics
            for info in self._node.get_publishers_info_by_topic(
                self._node.resolve_topic_name(topic)
            )
        }
        return sorted(found - {self._node.get_name()})

    def send_plan(self, plan: MotionPlan | None) -> None:
        """Send a new plan, if there is one."""
        if plan is not None:
            for command in self._front_end.on_plan(plan):
                self._send(command)

    def stream(self, motion: TeachMotion, now: float) -> None:
        """Send the next position of a streamed front end while the arm is engaged."""
        if motion.engaged and (command := self._front_end.stream(motion, now)) is not None:
            self._send(command)

    def _send(self, command: TrajectoryCommand | JointCommand) -> None:
        if isinstance(command, TrajectoryCommand):
            message = trajectory_message(
                command.names, command.times, command.positions, command.velocities
            )
        else:
            stamp = self._node.get_clock().now().to_msg()
            message = joint_state_message(
                command.names, command.positions, command.velocities, stamp
            )
        self._publishers[command.topic].publish(message)
