# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Checks of the policy node before the arm may move: the traps that preflight finds.

`~/enable` and `enable:=true` both pass here, however the node was started. The verdicts and
sentences are those of preflight (preflight/).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial

from rclpy.node import Node
from std_msgs.msg import String

from vla_adapter_ros.control.observation_inputs import Inputs
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.nodes.common.arm_graph import ArmGraph
from vla_adapter_ros.nodes.common.controller_states import ControllerStates
from vla_adapter_ros.nodes.common.gripper_action import gripper_type_problem
from vla_adapter_ros.nodes.common.messages import LATCHED, image_input
from vla_adapter_ros.preflight import driver_checks, input_checks
from vla_adapter_ros.preflight.checks import PASS, SKIP
from vla_adapter_ros.preflight.image_check import blank_problem
from vla_adapter_ros.robot import alicia_d
from vla_adapter_ros.robot.camera_spec import IMAGE_TRANSPORTS
from vla_adapter_ros.robot.contract import RobotContract


class EnableGate:
    """Says why the arm must not move yet.

    Args:
        node: whose topics are looked at; it subscribes to the robot description.
        contract: with the velocities that motion is planned for.
        inputs: received by the node.
        transport: of the images, one of IMAGE_TRANSPORTS.
        own: returns the endpoints and goals by which this node commands.
        obstacle: why motion cannot be enabled at all, or ''.
        on_commander: called with a sentence when another program begins to command the arm.
    """

    def __init__(
        self,
        node: Node,
        contract: RobotContract,
        inputs: Inputs,
        transport: str,
        own: Callable[[], Collection[bytes]],
        obstacle: str,
        on_commander: Callable[[str], None],
    ) -> None:
        self._node = node
        self._contract = contract
        self._inputs = inputs
        self._transport = transport
        inputs.why_silent = self._why_silent
        self._obstacle = obstacle
        self._graph = ArmGraph(node, contract, own, on_commander)
        self._controllers = ControllerStates(node, contract)
        inputs.joint_publishers = partial(self._graph.publishers, 'joint_states')
        self._description = ''
        self._subscription = node.create_subscription(
            String, 'robot_description', self._on_description, LATCHED
        )

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)
        self._graph.close()
        self._controllers.close()

    def problem(self, now: float, dry_run: bool = False) -> str:
        """Return the first reason against motion in one sentence, or ''; inputs are fresh.

        A dry run needs no driver: nothing is sent.
        """
        return next(self._problems(dry_run), '')

    def watch(self) -> str:
        """Return why motion that is enabled must trip, or ''; call about once a second."""
        self._controllers.ask()
        if others := self._graph.commanders():
            return f'the arm is also commanded by {driver_checks.commanded_by(others)}'
        return self._controllers.problem()

    def _problems(self, dry_run: bool) -> Iterator[str]:
        if self._obstacle:
            yield self._obstacle
        for camera in self._contract.cameras:
            yield from self._camera(camera)
        yield from self._several('joint_states', self._inputs.shared_joints)
        if self._inputs.state is not None:
            check = input_checks.check_gripper_range(self._inputs.state, self._contract)
            if check.verdict != PASS:
                yield check.detail
        if dry_run:
            return
        graph = self._graph
        driver = driver_checks.check_driver(
            self._contract, graph.listeners, graph.publishers, graph.commanders(),
            resolve=self._node.resolve_topic_name,
        )
        if driver.verdict != PASS:
            yield driver.detail
        if inactive := self._controllers.problem():
            yield inactive
        elif unknown := self._controllers.unknown():
            yield unknown
        if problem := gripper_type_problem(self._node, self._contract):
            yield problem
        yield from self._settings()

    def _camera(self, camera: str) -> Iterator[str]:
        name = image_input(camera, self._transport)[1]
        topic = self._node.resolve_topic_name(name)
        try:
            image = self._inputs.image(camera)
        except ObservationError as error:
            yield f'{topic}: {error}'
            return
        if text := blank_problem(image):
            yield f'{topic}: {text}'
        yield from self._several(name, input_checks.multiple_publishers_problem)

    def _why_silent(self, camera: str) -> str:
        mine, other = (
            image_input(camera, transport)[1]
            for transport in sorted(IMAGE_TRANSPORTS, key=self._transport.__ne__)
        )
        resolve = self._node.resolve_topic_name
        return input_checks.silent_camera(
            input_checks.TopicRecord(
                resolve(mine), self._graph.publishers(mine),
                other_topic=resolve(other), other_publishers=self._graph.publishers(other),
            )
        )  # fmt: skip

    def _several(
        self, topic: str, problem_of: Callable[[list[str]], str]
    ) -> Iterator[str]:
        name = self._node.resolve_topic_name(topic)
        if fault := problem_of(self._graph.publishers(topic)):
            yield f'{name}: {fault}'

    def _settings(self) -> Iterator[str]:
        """Compare the driver's settings: one that is slower than the motion is left behind."""
        speed, stroke = alicia_d.read_description(self._description)
        for check in driver_checks.check_driver_settings(speed, stroke, self._contract):
            if check.verdict not in (PASS, SKIP):
                yield check.detail

    def _on_description(self, message: String) -> None:
        self._description = message.data

