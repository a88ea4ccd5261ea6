# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""An arm in a namespace: its commands stay there."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

import numpy as np
import rclpy
from builtin_interfaces.msg import Time

from support.ros_harness import REPOSITORY
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.cameras.camera_node import CameraParameters, optical_frame
from vla_adapter_ros.nodes.common.arm_commands import CommandPublishers, namespace_problem
from vla_adapter_ros.nodes.simulation.scene_markers import scene_markers
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.simulation.arm_simulation import Pose

SHIPPED = sorted(path.stem for path in (REPOSITORY / 'config' / 'robots').glob('*.yaml'))
# Shared by all arms of a ROS graph.
GLOBAL_TOPICS = {'/diagnostics', '/clock', '/tf', '/tf_static'}


@pytest.fixture(scope='module')
def context():
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def node(context):
    """A function that makes a node in a namespace."""
    nodes = []

    def make(namespace: str, *arguments: str):
        nodes.append(rclpy.create_node(
            'vla_adapter', namespace=namespace, context=context, enable_rosout=False,
            cli_args=['--ros-args', *arguments] if arguments else None,
        ))  # fmt: skip
        return nodes[-1]

    yield make
    for each in nodes:
        each.destroy_node()


def with_topic(topic: str):
    contract = resolve_contract('alicia_d')
    return replace(contract, front_end=replace(contract.front_end, arm_topic=topic))


@pytest.mark.parametrize('robot', SHIPPED)
def test_commands_of_a_shipped_robot_stay_in_the_namespace(node, robot):
    left, front_end = node('/left'), resolve_contract(robot).front_end
    action = [front_end.gripper.action] if front_end.gripper else []
    for name in (*front_end.topics, *action):
        assert left.resolve_topic_name(name) == f'/left/{name}'


def test_commands_are_published_in_the_namespace(node):
    left = node('/left')
    assert CommandPublishers(left, resolve_contract('alicia_d')).topics
    for controller in ('Alicia', 'Gripper'):
        assert left.count_publishers(f'/left/{controller}_controller/joint_trajectory') == 1


@pytest.mark.parametrize(
    ('namespace', 'topic', 'arguments', 'refused'),
    [
        ('/', '/Alicia_controller/joint_trajectory', (), False),
        ('/left', '/left/arm/joint_trajectory', (), False),
        ('/left', '/Alicia_controller/joint_trajectory', (), True),
        ('/left', '/leftmost/arm/joint_trajectory', (), True),
        # A remapping is somebody's decision.
        ('/left', '/arm/commands', ('-r', '/arm/commands:=/left/arm/commands'), False),
    ],
)
def test_absolute_topic_is_refused_outside_its_namespace(
    node, namespace, topic, arguments, refused
):
    problem = namespace_problem(node(namespace, *arguments), with_topic(topic))
    assert bool(problem) == refused
    if refused:
        assert f'arm_topic {topic} is absolute and outside namespace /left' in problem


def test_node_with_an_arm_outside_its_namespace_makes_no_publisher(node):
    left = node('/left')
    with pytest.raises(VLAAdapterError, match='would command another arm: write arm/commands'):
        CommandPublishers(left, with_topic('/arm/commands'))
    assert left.count_publishers('/arm/commands') == 0


@pytest.mark.parametrize('prefix', ['', 'left/'])
def test_frames_of_images_and_objects_have_the_prefix(prefix):
    camera = CameraParameters(camera='wrist', frame_prefix=prefix)
    assert optical_frame(camera) == f'{prefix}wrist_optical_frame'
    named = CameraParameters(camera='wrist', frame_id='eye', frame_prefix=prefix)
    assert optical_frame(named) == 'eye'
    poses = {'red block': Pose(np.zeros(3), np.eye(3))}
    (marker,) = scene_markers(poses, f'{prefix}base_link', Time()).markers
    assert marker.header.frame_id == f'{prefix}base_link'


def test_nodes_name_no_absolute_topic_or_service():
    made = re.compile(
        r"create_(?:publisher|subscription|client|service)\(\s*(?:[\w.\[\]]+,\s*)?f?'(/[^']*)'"
    )
    found = {
        (path.name, topic)
        for path in (REPOSITORY / 'vla_adapter_ros' / 'nodes').rglob('*.py')
        for topic in made.findall(path.read_text())
    }
    assert {topic for _, topic in found} <= GLOBAL_TOPICS, found
    # It finds what it looks for.
    assert ('sim_arm_node.py', '/clock') in found
