# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Who commands and who serves an arm, as the ROS graph and its actions tell it.

A publisher is told by its endpoint, never by its node's name: two nodes may have the same one.
MoveIt and others do not publish trajectories, they send goals to the controller's action; of those
the action's status is watched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial

from action_msgs.msg import GoalStatus, GoalStatusArray
from rclpy.node import Node, TopicEndpointInfo
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from vla_adapter_ros.robot.contract import RobotContract

_ACTIVE = (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_CANCELING)
# As action servers publish it: to late subscribers too.
_STATUS_QOS = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_TRAJECTORY_TOPIC, _TRAJECTORY_ACTION = 'joint_trajectory', 'follow_joint_trajectory'

Endpoint = bytes


def full_name(info: TopicEndpointInfo) -> str:
    """Return the fully qualified name of an endpoint's node."""
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'


def new_endpoints(node: Node, topics: Iterable[str], create: Callable[[], None]) -> set[Endpoint]:
    """Return the endpoints of the publishers that `create` makes on `topics`.

    Publishers do not know their own endpoint in every release, but a node sees its own at once. If
    a node of the same name publishes at the same moment none can be told; then none is ours.
    """
    names = [node.resolve_topic_name(topic) for topic in topics]
    own = node.get_fully_qualified_name()

    def of_this_name(topic: str) -> set[Endpoint]:
        infos = node.get_publishers_info_by_topic(topic)
        return {bytes(info.endpoint_gid) for info in infos if full_name(info) == own}

    before = {name: of_this_name(name) for name in names}
    create()
    found = [of_this_name(name) - before[name] for name in names]
    return {endpoint for endpoints in found if len(endpoints) == 1 for endpoint in endpoints}


class ArmGraph:
    """Watches who commands an arm.

    Args:
        node: with whose names topics are resolved; owns the subscriptions.
        contract: names topics and actions.
        own: returns the endpoints, and the identifiers of goals, that may command.
        on_goal: called with a sentence when another program's goal begins to be executed.
    """

    def __init__(
        self,
        node: Node,
        contract: RobotContract,
        own: Callable[[], Collection[Endpoint]] = tuple,
        on_goal: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._node, self._topics = node, contract.front_end.topics
        self._own = own
        self._on_goal = on_goal
        # Action → goals that are being executed.
        self._active: dict[str, set[bytes]] = {}
        self._subscriptions = [
            node.create_subscription(
                GoalStatusArray, f'{action}/_action/status', partial(self._on_status, action),
                _STATUS_QOS,
            )
            for action in [*trajectory_actions(contract), *gripper_actions(contract)]
        ]  # fmt: skip

    def close(self) -> None:
        """Stop watching."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())

    def publishers(self, topic: str) -> list[str]:
        """Return the full names of the nodes that publish a topic, one for each publisher."""
        return [full_name(info) for info in self._publishers(topic)]

    def listeners(self, topic: str) -> list[str]:
        """Return the full names of the nodes that subscribe to a topic."""
        name = self._node.resolve_topic_name(topic)
        return [full_name(i) for i in self._node.get_subscriptions_info_by_topic(name)]

    def others(self, topic: str) -> list[str]:
        """Return the nodes, other than this one, that may command through a topic.

        A node with the name of this one is told by that: `/vla_adapter (a second one)`.
        """
        own = self._node.get_fully_qualified_name()
        endpoints = self._own()
        names = [
            full_name(i) for i in self._publishers(topic) if bytes(i.endpoint_gid) not in endpoints
        ]
        return sorted({f'{n} (a second node of this name)' if n == own else n for n in names})

    def commanders(self) -> list[str]:
        """Return who else commands the arm: nodes, and actions that execute a goal."""
        nodes = {name for topic in self._topics for name in self.others(topic)}
        goals = [f'a goal of the action {n} (MoveIt?)' for n in self._active if self._foreign(n)]
        return [*sorted(nodes), *goals]

    def _publishers(self, topic: str) -> list[TopicEndpointInfo]:
        return self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(topic))

    def _foreign(self, action: str) -> bool:
        return bool(self._active.get(action, set()).difference(self._own()))

    def _on_status(self, action: str, message: GoalStatusArray) -> None:
        before = self._foreign(action)
        self._active[action] = {
            bytes(goal.goal_info.goal_id.uuid)
            for goal in message.status_list
            if goal.status in _ACTIVE
        }
        if self._foreign(action) and not before:
            self._on_goal(f'the action {action} executes a goal of another program (MoveIt?)')


def trajectory_actions(contract: RobotContract) -> list[str]:
    """Return the actions of the controllers that take the contract's trajectories."""
    if contract.front_end.kind != 'joint_trajectory':
        return []
    return [
        f'{topic.removesuffix(_TRAJECTORY_TOPIC)}{_TRAJECTORY_ACTION}'
        for topic in contract.front_end.topics
        if topic.endswith(f'/{_TRAJECTORY_TOPIC}')
    ]


def gripper_actions(contract: RobotContract) -> list[str]:
    """Return the action that moves the gripper, if one does."""
    return [contract.front_end.gripper.action] if contract.front_end.gripper else []
