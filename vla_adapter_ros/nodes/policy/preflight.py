# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Command `preflight`: is everything ready to run a policy on this robot? Nothing moves.

    ros2 run vla_adapter_ros preflight --robot alicia_d --checkpoint runs/pick/best

The checks of files and machine are those of preflight/files.py; then topics are watched for
a few seconds. Topics are remapped as for any node: `--ros-args -r wrist/image:=/camera/...`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from vla_adapter_ros.control.clock import Arrival
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.common.arm_commands import namespace_problem
from vla_adapter_ros.nodes.common.arm_graph import ArmGraph
from vla_adapter_ros.nodes.common.dds_profile import use_shipped_profile
from vla_adapter_ros.nodes.common.gripper_action import gripper_type_problem
from vla_adapter_ros.nodes.common.messages import LATCHED, LATEST, image_input, to_seconds
from vla_adapter_ros.preflight import driver_checks, input_checks
from vla_adapter_ros.preflight.checks import FAIL, Check, run_check
from vla_adapter_ros.preflight.files import (
    add_arguments,
    file_checks,
    machine_checks,
    report,
    settings_from,
)
from vla_adapter_ros.preflight.input_checks import TopicRecord
from vla_adapter_ros.robot import alicia_d
from vla_adapter_ros.robot.camera_spec import IMAGE_TRANSPORTS
from vla_adapter_ros.robot.contract import (
    DRIVER_SPEED_FRACTION,
    RobotContract,
    contract_path,
    resolve_contract,
)

_POLICY_NODE = 'vla_adapter'
_SERVICE_TIMEOUT = 1.0
# Topics that are silent after this long are not waited for any longer [s].
_DISCOVERY = 3.0


class PreflightNode(Node):
    """Listens for a while; publishes and calls nothing that could move an arm."""

    def __init__(self, contract: RobotContract, image_transport: str = 'raw') -> None:
        super().__init__('preflight')
        self.contract = contract
        self.description = ''
        self.joint_messages: list[tuple[float, Any]] = []
        self.graph = ArmGraph(self, contract)
        self.image_transport = image_transport
        self.cameras: dict[str, TopicRecord] = {}
        self._last_content: dict[str, int] = {}
        for name in contract.cameras:
            self._listen(name)
        self.joints = TopicRecord(self.resolve_topic_name('joint_states'))
        self.create_subscription(JointState, 'joint_states', self._on_joints, LATEST)
        self.create_subscription(String, 'robot_description', self._on_description, LATCHED)

    @property
    def simulated(self) -> bool:
        """Whether time comes from /clock."""
        return bool(self.get_parameter('use_sim_time').value)

    @property
    def complete(self) -> bool:
        """Whether every input has been seen."""
        return bool(self.joint_messages) and all(r.arrivals for r in self.cameras.values())

    def read_graph(self) -> None:
        """Note who publishes what."""
        for record in (*self.cameras.values(), self.joints):
            record.publishers = self.graph.publishers(record.topic)
        for record in self.cameras.values():
            record.other_publishers = self.graph.publishers(record.other_topic)

    def _listen(self, camera: str) -> None:
        # Compressed images are asked for only where the policy takes them.
        inputs = {transport: image_input(camera, transport) for transport in IMAGE_TRANSPORTS}
        kind, topic = inputs.pop(self.image_transport)
        ((_, other),) = inputs.values()
        resolve = self.resolve_topic_name
        record = TopicRecord(resolve(topic), other_topic=resolve(other))
        self.cameras[camera] = record
        self.create_subscription(kind, topic, partial(self._on_image, record), LATEST)

    def _note(self, record: TopicRecord, message: Any) -> None:
        now = self.get_clock().now().nanoseconds * 1e-9
        record.arrivals.append(time.monotonic())
        record.ages.append(Arrival.of(to_seconds(message.header.stamp), now, 0.0).age)
        record.last = message

    def _on_image(self, record: TopicRecord, message: Image | CompressedImage) -> None:
        self._note(record, message)
        # A few thousand bytes across the image are enough to tell two noisy images apart.
        content = hash(np.frombuffer(message.data, np.uint8)[::97].tobytes())
        record.distinct += content != self._last_content.get(record.topic)
        self._last_content[record.topic] = content

    def _on_joints(self, message: JointState) -> None:
        self._note(self.joints, message)
        self.joint_messages.append((time.monotonic(), message))

    def _on_description(self, message: String) -> None:
        self.description = message.data


def graph_checks(
    node: PreflightNode, executor: SingleThreadedExecutor, seconds: float
) -> tuple[list[Check], dict[str, np.ndarray]]:
    """Watch the topics; returns verdicts, and each camera's newest image as the policy gets it."""
    _spin(executor, _DISCOVERY, until=lambda: node.complete)
    _spin(executor, seconds)
    node.read_graph()
    contract = node.contract
    checks: list[Check] = []
    images: dict[str, np.ndarray] = {}
    for name, camera in contract.cameras.items():
        check, image = input_checks.check_camera(
            name, node.cameras[name], camera, contract.step_period
        )
        checks.append(check)
        if image is not None:
            images[name] = image
    checks += input_checks.check_joint_states(node.joints, node.joint_messages, contract)
    checks.append(_driver_check(node))
    checks += _driver_settings(node, executor)
    checks.append(input_checks.check_clock(node.graph.publishers('/clock'), node.simulated))
    return checks, images


def image_checks(
    images: dict[str, np.ndarray], cameras: Sequence[str], dataset: str, sheet: str
) -> list[Check]:
    """Compare live images with the dataset's mean images; writes them side by side."""
    from vla_adapter_ros.data.sources import open_source
    from vla_adapter_ros.preflight.image_check import check_image, dataset_references, image_sheet

    references = dataset_references(open_source(dataset)) if dataset else {}
    seen = [name for name in cameras if name in images]
    checks = [check_image(name, images[name], references.get(name)) for name in seen]
    if sheet and images:
        image_sheet(images, references, Path(sheet))
        print(f'wrote {sheet}')
    return checks


def ask_gripper(node: PreflightNode, read: Callable[[str], str] = input) -> Check:
    """Ask the person at the robot what the gripper looks like; nothing moves."""
    state, fault = input_checks.read_joint_states(
        node.joints, node.joint_messages, node.contract
    )
    if state is None:
        return Check('gripper sign', FAIL, fault or 'no joint states, nothing to compare with')
    answer = read('Look at the gripper. Is it open or closed? ')
    return input_checks.check_gripper_answer(float(state[-1]), answer)


def _driver_check(node: PreflightNode) -> Check:
    problem = namespace_problem(node, node.contract) or gripper_type_problem(node, node.contract)
    if problem:
        return Check('driver', FAIL, problem)
    graph = node.graph
    # A policy node that runs already may command the arm; two may not.
    own = node.resolve_topic_name(_POLICY_NODE)
    others = [name for name in graph.commanders() if name != own]
    if any(graph.publishers(t).count(own) > 1 for t in node.contract.front_end.topics):
        others.append(f'{own} (a second node of this name)')
    return driver_checks.check_driver(
        node.contract, graph.listeners, graph.publishers, others,
        resolve=node.resolve_topic_name,
    )  # fmt: skip


def _driver_settings(node: PreflightNode, executor: SingleThreadedExecutor) -> list[Check]:
    contract = node.contract
    speed, stroke = alicia_d.read_description(node.description)
    if speed is None:
        speed = _number_of(node, executor, alicia_d.STANDALONE_NODE, alicia_d.SPEED_PARAMETER)
    # Motion is planned for the policy node's parameter, if it runs already.
    driver_speed = _number_of(node, executor, _POLICY_NODE, 'driver_speed_deg_s')
    if driver_speed:
        contract = contract.slowed(DRIVER_SPEED_FRACTION * math.radians(driver_speed))
    return driver_checks.check_driver_settings(speed, stroke, contract)


def _number_of(
    node: PreflightNode, executor: SingleThreadedExecutor, owner: str, name: str
) -> float | None:
    """Return a number parameter of another node, None if that does not run."""
    client = node.create_client(GetParameters, f'{owner}/get_parameters')
    if not client.service_is_ready():
        return None
    future = client.call_async(GetParameters.Request(names=[name]))
    _spin(executor, _SERVICE_TIMEOUT, until=future.done)
    values = future.result().values if future.done() else []
    if values and values[0].type == ParameterType.PARAMETER_DOUBLE:
        return values[0].double_value
    return None


def _spin(
    executor: SingleThreadedExecutor, seconds: float, until: Callable[[], bool] = lambda: False
) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0.0 and not until():
        executor.spin_once(timeout_sec=min(left, 0.1))


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog='preflight',
        description='Check machine, packages, checkpoint, topics, cameras and arm before a run.'
        ' Nothing moves. Exit code 0: ready, 1: not ready.',
        epilog='Remap topics as for any node: --ros-args -r wrist/image:=/camera/camera/color/'
        'image_raw. Without ROS: python -m vla_adapter_ros.preflight.files',
    )
    add_arguments(parser)
    parser.add_argument(
        '--seconds', type=float, default=3.0, help='how long topics are watched (%(default)s)'
    )
    parser.add_argument(
        '--image-transport', choices=IMAGE_TRANSPORTS, default='raw',
        help="the policy node's parameter (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        '--dataset', default='', help='dataset whose images the live ones must match'
    )
    parser.add_argument(
        '--sheet', metavar='PNG', default='', help='write live and mean images side by side'
    )
    parser.add_argument(
        '--ask-gripper', action='store_true', help='ask whether the gripper is open or closed'
    )
    parser.add_argument(
        '--policy-server', metavar='URL', default='',
        help="the policy node's parameter; asked instead of a checkpoint",
    )  # fmt: skip
    parser.add_argument('--topics-only', action='store_true', help='leave machine and model out')
    return parser


def _checks_without_ros(arguments: argparse.Namespace) -> list[Check]:
    settings, url = settings_from(arguments), arguments.policy_server
    if not url:
        return file_checks(settings)
    from vla_adapter_ros.server.server_checks import server_checks

    return machine_checks(settings) + server_checks(url, settings.robot, settings.model_runs)


def main(words: Sequence[str] | None = None) -> None:
    """Run all checks; ends with exit code 0 if ready, 1 if not."""
    words = sys.argv if words is None else ['preflight', *words]
    arguments = make_parser().parse_args(remove_ros_args(words)[1:])
    checks = [] if arguments.topics_only else _checks_without_ros(arguments)
    try:
        contract = resolve_contract(arguments.robot)
        folder = contract_path(arguments.robot).parent
    except VLAAdapterError as error:
        sys.exit(report([*checks, Check('topics', FAIL, str(error))], arguments))
    use_shipped_profile(sim=False)
    rclpy.init(args=words)
    executor = SingleThreadedExecutor()
    try:
        node = PreflightNode(contract, arguments.image_transport)
        executor.add_node(node)
        checks.append(driver_checks.check_workspace(contract, folder))
        found, images = graph_checks(node, executor, arguments.seconds)
        checks += found
        checks += run_check(
            'images',
            lambda: image_checks(
                images, list(contract.cameras), arguments.dataset, arguments.sheet
            ),
        )
        if arguments.ask_gripper:
            checks.append(ask_gripper(node))
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(130)
    finally:
        rclpy.try_shutdown()
    sys.exit(report(checks, arguments))


if __name__ == '__main__':
    main()
