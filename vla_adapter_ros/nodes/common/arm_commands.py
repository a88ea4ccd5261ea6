# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Commands to the driver of the contract, of a policy or of a person (teaching, first motion)."""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.control.front_ends import Command, JointCommand
from vla_adapter_ros.control.gripper_goals import GripperCancel, GripperGoal
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.motion.plan import MotionPlan
from vla_adapter_ros.nodes.common.arm_graph import ArmGraph, Endpoint, new_endpoints
from vla_adapter_ros.nodes.common.gripper_action import GripperAction
from vla_adapter_ros.nodes.common.messages import COMMAND, joint_state_message, trajectory_message
from vla_adapter_ros.robot.contract import RobotContract

_ACKNOWLEDGE = Duration(seconds=0.3)


def namespace_problem(node: Node, contract: RobotContract) -> str:
    """Return why a node in a namespace would command an arm outside it, or ''.

    An absolute topic of the contract is the same in every namespace: two arms would be one. A
    remapping is somebody's decision.
    """
    space = node.get_namespace().rstrip('/') + '/'
    front_end = contract.front_end
    names = {'arm_topic': front_end.arm_topic, 'gripper_topic': front_end.gripper_topic}
    if front_end.gripper:
        names['gripper.action'] = front_end.gripper.action
    for key, topic in names.items():
        outside = topic.startswith('/') and not topic.startswith(space)
        if outside and node.resolve_topic_name(topic) == topic:
            return (
                f'robot {contract.name}: front_end.{key} {topic} is absolute and outside namespace'
                f' {space[:-1]} of {node.get_name()}, which would command another arm: write'
                f' {topic[1:]}, or give a topic in the namespace'
            )
    return ''


class CommandPublishers:
    """Publishes commands to the driver of a contract.

    Publishers are made here, not with the first command: discovery takes time, and a first
    trajectory published before the driver is found would be lost.

    Args:
        node: owns the publishers.
        contract: names front end, topics, action and units.

    Raises:
        ContractError: the action of the gripper is not installed.
        VLAAdapterError: the topics belong to an arm outside the namespace of the node.
    """

    def __init__(self, node: Node, contract: RobotContract) -> None:
        if problem := namespace_problem(node, contract):
            raise VLAAdapterError(problem)
        self._node, self._contract = node, contract
        spec = contract.front_end
        kind = JointState if spec.kind == 'joint_commands' else JointTrajectory
        self.topics = spec.topics
        self._publishers: dict[str, Publisher] = {}
        self._gripper: GripperAction | None = None

        def create() -> None:
            for topic in self.topics:
                self._publishers[topic] = node.create_publisher(kind, topic, COMMAND)

        self._endpoints: set[Endpoint] = set()
        try:
            self._gripper = GripperAction(node, contract) if spec.gripper else None
            self._endpoints = new_endpoints(node, self.topics, create)
        except Exception:
            self.close()
            raise

    @property
    def endpoints(self) -> set[Endpoint]:
        """The publishers and goals of ours, by which they are told from other nodes'."""
        return self._endpoints | (self._gripper.goal_ids if self._gripper else set())

    @property
    def listening(self) -> str:
        """Names of the topics, and of the action, that a driver must serve; for messages."""
        gripper = self._contract.front_end.gripper
        return ', '.join([*self.topics, *([gripper.action] if gripper else [])])

    @property
    def driver_listens(self) -> bool:
        """Whether a driver of the contract's front end is there."""
        gripper = self._gripper is None or self._gripper.ready
        return gripper and all(p.get_subscription_count() > 0 for p in self._publishers.values())

    def send(self, command: Command) -> None:
        """Send one command."""
        if isinstance(command, GripperGoal | GripperCancel):
            assert self._gripper is not None
            self._gripper.send(command)
            return
        if not isinstance(command, JointCommand):
            message = trajectory_message(
                command.names, command.times, command.positions, command.velocities
            )
        else:
            stamp = self._node.get_clock().now().to_msg()
            message = joint_state_message(
                command.names, command.positions, command.velocities, stamp
            )
        self._publishers[command.topic].publish(message)

    def close(self) -> None:
        """Destroy the publishers once the last command, a hold, is out."""
        while self._publishers:
            _, publisher = self._publishers.popitem()
            publisher.wait_for_all_acked(_ACKNOWLEDGE)
            self._node.destroy_publisher(publisher)
        if self._gripper is not None:
            self._gripper.close()


class ArmCommands(CommandPublishers):
    """Publishes the commands of a person's motion; the driver of its gate (control/gate.py).

    Args:
        node: owns the publishers.
        contract: names front end, topics and units.
    """

    def __init__(self, node: Node, contract: RobotContract) -> None:
        super().__init__(node, contract)
        self._graph = ArmGraph(node, contract, lambda: self.endpoints)

    def plan(self, plan: MotionPlan) -> None:
        """Nobody is shown the plans of a person's motion."""

    def other_commanders(self) -> list[str]:
        """Return who else commands this arm."""
        return self._graph.commanders()

    def close(self) -> None:
        """Destroy the publishers once the last command, a hold, is out."""
        self._graph.close()
        super().close()
