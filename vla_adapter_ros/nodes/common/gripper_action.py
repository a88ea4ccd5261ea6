# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Client of the action that moves a gripper: sends the goals of control/gripper_goals.py.

control_msgs comes with every installation of ros2_control but is not on PyPI, so it is imported
only where a contract asks for it.
"""

from __future__ import annotations

import os
import uuid
from array import array
from collections import deque
from functools import partial
from typing import Any, ClassVar

import numpy as np
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory
from unique_identifier_msgs.msg import UUID

from vla_adapter_ros.control.gripper_goals import GripperCancel, GripperGoal, GripperRequest
from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.nodes.common.messages import EVERY, trajectory_message
from vla_adapter_ros.robot.contract import RobotContract

# Time in which a repeated goal is reached, for who follows it as a trajectory [s].
_REACH_S = 0.1
_REMEMBERED = 64  # goals
_TYPES = {
    'gripper_command': 'GripperCommand',
    'parallel_gripper_command': 'ParallelGripperCommand',
}


def gripper_action_type(kind: str) -> type:
    """Return the action type of a kind of the contract. Raises ContractError if not installed."""
    name = _TYPES[kind]
    distribution = os.environ.get('ROS_DISTRO', '$ROS_DISTRO')
    try:
        from control_msgs import action
    except ImportError:
        raise ContractError(
            f'front_end.gripper of the contract needs the package control_msgs, which is not '
            f'installed: sudo apt install ros-{distribution}-control-msgs'
        ) from None
    if not hasattr(action, name):
        raise ContractError(
            f'front_end.gripper.kind: got {kind!r}, but control_msgs of ROS 2 {distribution} has '
            f'no {name}; use gripper_command'
        )
    return getattr(action, name)


def gripper_type_problem(node: Node, contract: RobotContract) -> str:
    """Return why the gripper's server does not take the contract's kind of goals, or ''."""
    spec = contract.front_end.gripper
    if spec is None:
        return ''
    service = node.resolve_service_name(f'{spec.action}/_action/send_goal')
    names = dict(node.get_service_names_and_types()).get(service, [])
    found = {name.rpartition('/')[2].removesuffix('_SendGoal') for name in names}
    other = sorted(found - {_TYPES[spec.kind]})
    if not other:
        return ''
    kinds = {name: kind for kind, name in _TYPES.items()}
    hint = f'; use kind: {kinds[other[0]]}' if other[0] in kinds else ''
    return (
        f'{spec.action} is an action {other[0]}, front_end.gripper.kind of the contract is '
        f'{spec.kind}{hint}'
    )


class GripperAction:
    """Sends goals; the newest replaces those before it.

    Args:
        node: owns the client.
        contract: with the section `front_end.gripper`.

    Raises:
        ContractError: the action's type is not installed.
    """

    # Of the process: a goal may outlive its client when the node is deactivated and activated.
    _goal_ids: ClassVar[deque[bytes]] = deque(maxlen=_REMEMBERED)

    def __init__(self, node: Node, contract: RobotContract) -> None:
        spec = contract.front_end.gripper
        assert spec is not None
        self._log = node.get_logger()
        self._name, self._joint = spec.action, contract.driver_names[-1]
        self._type = gripper_action_type(spec.kind)
        self._client = ActionClient(node, self._type, spec.action)
        self._newest: Future | None = None
        # An action leaves nothing in a recording.
        self._goals = node.create_publisher(JointTrajectory, spec.goals_topic, EVERY)
        self._node = node

    @property
    def goal_ids(self) -> set[bytes]:
        """Identifiers of the last goals, to tell them from other programs'."""
        return set(self._goal_ids)

    @property
    def ready(self) -> bool:
        """Whether a server of the action is there."""
        return self._client.server_is_ready()

    def send(self, request: GripperRequest) -> None:
        """Send a goal, or cancel the newest one; does not wait."""
        if isinstance(request, GripperCancel):
            self._cancel()
            return
        if not self.ready:
            self._log.warning(f'no server of {self._name}: the gripper does not move')
            return
        identifier = uuid.uuid4().bytes
        self._goal_ids.append(identifier)
        self._newest = self._client.send_goal_async(
            self._goal(request), goal_uuid=UUID(uuid=list(identifier))
        )
        self._newest.add_done_callback(partial(self._on_answer, request))
        self._goals.publish(trajectory_message(
            [self._joint], [_REACH_S], np.array([[request.position]]), np.zeros((1, 1))
        ))

    def close(self) -> None:
        """Release the client."""
        self._client.destroy()
        self._node.destroy_publisher(self._goals)

    def _goal(self, request: GripperGoal) -> Any:
        goal = self._type.Goal()
        if hasattr(goal.command, 'max_effort'):
            goal.command.position = request.position
            goal.command.max_effort = request.max_effort
        else:
            goal.command = JointState(
                name=[self._joint], position=array('d', [request.position])
            )
            if request.max_effort:
                goal.command.effort = array('d', [request.max_effort])
        return goal

    def _cancel(self) -> None:
        newest, self._newest = self._newest, None
        if newest is not None:
            # Before the server has answered there is nothing to cancel yet.
            newest.add_done_callback(_cancel_goal)

    def _on_answer(self, request: GripperGoal, answer: Future) -> None:
        # A goal that is aborted is no fault: some servers call a grip on an object so.
        if not answer.cancelled() and (handle := answer.result()) and not handle.accepted:
            self._log.warning(f'{self._name} refused the goal {request.position:.4f}')


def _cancel_goal(answer: Future) -> None:
    if not answer.cancelled() and (handle := answer.result()) and handle.accepted:
        handle.cancel_goal_async()
