# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Traps that can be seen before the arm moves: `~/enable` refuses, says why, and the node lives.

Over the real graph: the emulated driver, this test's cameras and the policy node.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from array import array

import rclpy
from action_msgs.msg import GoalStatus, GoalStatusArray
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from support.graph_client import ARM_TOPIC, NAMES, GraphClient, good_image
from support.ros_harness import NodeProcess, isolated_environment, simulated, wait_until
from vla_adapter_ros.nodes.common.messages import EVERY, LATCHED

# Of an input [s]; a busy machine is slow.
MAX_AGE = 0.7
DRIVER = {'startup_motion': False, 'default_speed_deg_s': 20.0}


class Rig:
    """The policy node stands between this test's cameras and an emulated driver (or none)."""

    def __init__(self, driver: dict | None, **parameters):
        self.environment = isolated_environment()
        self.processes = []
        if driver is not None:
            self.start('emulated_ros2_control', {**DRIVER, **driver})
        self.client = GraphClient(self.environment)
        self.bench = self.client.start_bench(driver=driver is None)
        self.node = self.start('policy_node', {
            'policy': 'hold', 'instruction': 'wait', 'max_image_age': MAX_AGE, 'max_skew': MAX_AGE,
            'max_joint_state_age': MAX_AGE, **parameters,
        })  # fmt: skip
        assert self.client.configure() and self.client.activate()

    def start(self, module, parameters):
        self.processes.append(NodeProcess(module, parameters, self.environment))
        return self.processes[-1]

    def refused(self, part: str) -> str:
        """Wait until enabling is refused for this reason; the arm and the node are unharmed."""
        # What is received now is another thing than before: the old one must be out of date.
        time.sleep(MAX_AGE + 0.3)
        answer = []

        def said():
            answer[:] = [self.client.enable()]
            assert not answer[0].success, 'motion was enabled'
            return part in answer[0].message

        try:
            wait_until(said, 20, part, poll=0.3)
        except AssertionError as error:
            raise AssertionError(f'{error}; last: {answer[0].message}') from None
        assert '\n' not in answer[0].message
        assert self.node.alive and not self.client.status.enabled
        return answer[0].message

    def enabled(self):
        answers = []

        def done():
            answers.append(self.client.enable())
            return answers[-1].success

        try:
            wait_until(done, 20, 'enabled', poll=0.3)
        except AssertionError as error:
            raise AssertionError(f'{error}; last: {answers[-1].message}') from None

    def close(self):
        self.client.close()
        for process in reversed(self.processes):
            process.stop()


@pytest.fixture
def make():
    rigs = []

    def start(driver=None, **parameters):
        rigs.append(Rig(driver, **parameters))
        return rigs[-1]

    yield start
    for rig in rigs:
        rig.close()


def test_pictures_that_are_not_the_contracts_are_refused_by_name(make):
    rig = make()
    rig.enabled()
    assert rig.client.enable(False).success
    pictures = {
        'image is 320×240 pixels, the contract says 640×480': lambda: good_image(320, 240),
        "encoding '16UC1'": lambda: good_image(encoding='16UC1', channels=2),
        'the image is blank': blank_image,
        'third_person image': lambda: None,
    }
    for reason, make_image in pictures.items():
        rig.bench.make_image = lambda camera, make_image=make_image: make_image()
        message = rig.refused(reason)
        assert message.startswith('not enabled: ')
    rig.bench.make_image = lambda camera: good_image()
    time.sleep(0.6)
    assert not rig.client.status.enabled, 'a refused request came true later'
    rig.enabled()


def test_one_image_transport_is_subscribed_and_the_other_is_named_as_the_way_out(make):
    rig = make(image_transport='compressed')
    raw, compressed = '/third_person/image', '/third_person/image/compressed'
    wait_until(lambda: rig.client.node.count_subscribers(compressed), 10, 'subscribed')
    assert rig.client.node.count_subscribers(raw) == 0
    message = rig.refused('no third_person image yet')
    assert f'no node publishes {compressed}' in message and f'publishes {raw}' in message
    assert message.endswith('use image_transport:=raw')


def test_two_publishers_may_share_the_joint_states_but_no_joint(make):
    rig = make()
    node = rig.client.node
    publisher = node.create_publisher(JointState, 'joint_states', EVERY)

    def publish_gripper():
        message = JointState(name=NAMES[6:], position=array('d', rig.bench.joints[6:]))
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)

    timer = node.create_timer(0.05, publish_gripper)
    assert '2 nodes publish it' in rig.refused('both with Gripper')
    rig.bench.make_state = lambda: JointState(
        name=NAMES[:6], position=array('d', rig.bench.joints[:6])
    )
    # What was published before is forgotten.
    assert rig.client.deactivate() and rig.client.activate()
    rig.enabled()
    timer.cancel()


def blank_image():
    message = good_image()
    message.data = array('B', bytes(len(message.data)))
    return message


def test_joint_states_with_other_names_or_zeros_are_refused(make):
    rig = make()
    good = rig.bench.make_state
    rig.bench.make_state = lambda: JointState(name=NAMES, position=array('d', [0.0] * 7))
    assert 'exactly zero' in rig.refused('exactly zero')
    rig.bench.make_state = lambda: JointState(
        name=[n.lower() for n in NAMES], position=array('d', rig.bench.joints)
    )
    rig.refused('Joint1')
    rig.bench.joints[6] = 0.05
    rig.bench.make_state = good
    rig.refused('are not those of this gripper')


def test_a_driver_slower_than_the_motion_is_refused_until_motion_is_planned_for_it(make):
    rig = make(driver={})
    message = rig.refused('20 deg/s = 0.35 rad/s, motion is planned for up to 1.00 rad/s')
    assert 'speed_deg_s:=20' in message and 'speed_deg_s:=58' in message
    slow = make(driver={}, driver_speed_deg_s=20.0)
    slow.enabled()


def test_a_second_commander_and_the_wrong_gripper_are_refused(make):
    rig = make(driver={'default_speed_deg_s': 90.0})
    rig.enabled()
    assert rig.client.enable(False).success
    stranger = rig.client.node.create_publisher(JointTrajectory, ARM_TOPIC, EVERY)
    rig.refused('is also commanded by /user: stop it')
    rig.client.in_thread(lambda: rig.client.node.destroy_publisher(stranger))
    large = String(data='<param name="gripper_type">100mm</param>')
    described = rig.client.node.create_publisher(String, '/robot_description', LATCHED)
    described.publish(large)
    rig.refused('correct gripper_type of the driver or closed_position')


@pytest.mark.parametrize(
    ('namespace', 'told'),
    [('', '/vla_adapter (a second node of this name)'), ('/right', '/right/vla_adapter')],
)
def test_a_second_policy_node_is_seen_when_motion_is_enabled_and_while_it_is(
    make, namespace, told
):
    rig = make(driver={'default_speed_deg_s': 90.0})
    rig.enabled()
    context = rig.client.context
    other = rclpy.create_node('vla_adapter', namespace=namespace, context=context)
    publisher = other.create_publisher(JointTrajectory, ARM_TOPIC, EVERY)
    assert told in rig.client.wait_for_state('TRIPPED', 20).reason
    assert rig.client.trigger('clear_trip').success
    assert told in rig.refused('is also commanded by')
    other.destroy_publisher(publisher)
    rig.enabled()
    other.destroy_node()


def test_a_goal_of_moveit_is_seen_when_motion_is_enabled_and_while_it_is(make):
    rig = make(driver={'default_speed_deg_s': 90.0})
    action = ARM_TOPIC.removesuffix('joint_trajectory') + 'follow_joint_trajectory'
    # As the controller's action server does.
    status = rig.client.node.create_publisher(GoalStatusArray, f'{action}/_action/status', LATCHED)

    def tell(code):
        status.publish(GoalStatusArray(status_list=[GoalStatus(status=code)]))

    tell(GoalStatus.STATUS_EXECUTING)
    assert 'MoveIt' in rig.refused('is also commanded by a goal of the action')
    tell(GoalStatus.STATUS_SUCCEEDED)
    rig.enabled()
    tell(GoalStatus.STATUS_EXECUTING)
    reason = rig.client.wait_for_state('TRIPPED', 20).reason
    assert 'executes a goal of another program' in reason


@pytest.mark.parametrize(
    ('parameters', 'reason'),
    [
        ({'enable': True}, 'is for simulated robots'),
        ({'policy': 'support.faults:WithoutContract'}, 'has no robot contract'),
    ],
)
def test_what_cannot_be_checked_is_not_configured(parameters, reason):
    environment = isolated_environment()
    folder = str(Path(__file__).parents[2])
    environment['PYTHONPATH'] = os.pathsep.join([folder, environment.get('PYTHONPATH', '')])
    client = GraphClient(environment)
    node = NodeProcess('policy_node', {'policy': 'hold', **parameters}, environment)
    try:
        client.wait_for_node()
        assert not client.configure()
        node.wait_for_log(reason, 10)
    finally:
        client.close()
        node.stop()


def test_enable_at_activation_waits_and_tells_the_trap_in_its_status(make, tmp_path):
    rig = make(driver={}, enable=True, robot=simulated('alicia_d', tmp_path))
    reason = rig.client.wait_for_reason('motion is planned for up to 1.00 rad/s').reason
    assert 'speed_deg_s' in reason
    time.sleep(1.5)
    assert not rig.client.status.enabled and not rig.client.arm
