# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Bad input to the real node: it lives, says what is wrong in one line, and commands nothing."""

from __future__ import annotations

import itertools
import math
import time
from array import array

import pytest
from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from support.graph_client import ARM_TOPIC, NAMES, GraphClient, good_image
from support.ros_harness import NodeProcess, isolated_environment, wait_until
from vla_adapter_ros.nodes.common.messages import LATCHED

# Generous ages: the machine that tests may be busy with others.
HOLD = {'policy': 'hold', 'max_image_age': 0.8, 'max_joint_state_age': 0.6, 'max_skew': 0.7}


class Rig:
    """The policy node in its own process, and this test as user, cameras and driver."""

    def __init__(self, parameters):
        environment = isolated_environment()
        self.node = NodeProcess('policy_node', parameters, environment)
        self.client = GraphClient(environment)

    def close(self):
        self.client.close()
        self.node.stop()

    def run(self):
        """Bring the node to executing good chunks."""
        self.bench = self.client.start_bench()
        assert self.client.configure() and self.client.activate()
        assert self.client.set_instruction('Reach the red block').success
        self.client.wait_for_state('READY')
        assert self.client.enable().success
        self.client.wait_for_state('RUNNING')
        self.client.wait_for_trajectories(1)
        return self.bench

    def assert_no_new_motion(self, seconds=1.0):
        """After a moment for the hold, nothing more is commanded."""
        time.sleep(0.5)
        before = len(self.client.arm)
        time.sleep(seconds)
        assert len(self.client.arm) == before
        assert self.node.alive


@pytest.fixture(scope='module')
def running():
    rig = Rig(HOLD)
    try:
        rig.run()
        yield rig
    finally:
        rig.close()


@pytest.fixture
def rig(running):
    """The running rig, with good input and motion enabled before and after each test."""
    yield running
    bench, client = running.bench, running.client
    bench.make_image = lambda camera: good_image()
    bench.make_state = lambda: JointState(name=NAMES, position=array('d', bench.joints))
    time.sleep(0.3)
    client.trigger('clear_trip')
    wait_until(lambda: client.enable().success, 20, 'motion enabled', 0.3)
    client.wait_for_state('RUNNING')
    client.wait_for_trajectories(1)


def spoil_wrist(rig, make):
    rig.bench.make_image = lambda camera: make() if camera == 'wrist' else good_image()


def test_sixteen_bit_image_is_refused_by_name(rig):
    spoil_wrist(rig, lambda: good_image(encoding='16UC1', channels=2))
    rig.node.wait_for_log("wrist image encoding '16UC1'")
    rig.assert_no_new_motion()


def test_image_of_zero_size_is_refused(rig):
    spoil_wrist(rig, lambda: good_image(0, 0))
    rig.node.wait_for_log('wrist image of 0×0 pixels')
    rig.assert_no_new_motion()


def test_image_whose_data_does_not_fit_its_step_is_refused(rig):
    def short():
        message = good_image()
        message.data = message.data[:-100]
        return message

    spoil_wrist(rig, short)
    rig.node.wait_for_log('wrist image data of 921500 bytes: expected step × height = 921600')
    rig.assert_no_new_motion()


def test_image_of_another_size_than_the_contract_is_refused(rig):
    spoil_wrist(rig, lambda: good_image(320, 240))
    rig.node.wait_for_log('image is 320×240 pixels, the contract says 640×480')
    rig.assert_no_new_motion()


def test_silent_camera_is_named_once_and_its_return_too(rig):
    before = rig.node.log.count('stale wrist image')
    rig.bench.make_image = lambda camera: None if camera == 'wrist' else good_image()
    rig.client.wait_for_reason('stale wrist image')
    rig.assert_no_new_motion()
    assert rig.node.log.count('stale wrist image') == before + 1
    spoil_wrist(rig, good_image)
    rig.node.wait_for_log('wrist image recovered')
    rig.client.wait_for_state('RUNNING')


@pytest.mark.parametrize(
    ('spoil', 'said'),
    [
        (lambda s: s.position.__setitem__(2, math.nan), 'Joint3 is nan'),
        (lambda s: s.position.pop(), '7 names but 6 positions'),
    ],
    ids=['nan', 'lengths'],
)
def test_unreadable_joint_state_trips_while_in_motion(rig, spoil, said):
    def make():
        message = JointState(name=list(NAMES), position=array('d', rig.bench.joints))
        spoil(message)
        return message

    rig.bench.make_state = make
    status = rig.client.wait_for_state('TRIPPED')
    assert said in status.reason
    rig.assert_no_new_motion()


def test_a_joint_that_is_no_longer_published_holds_the_arm_and_is_named(rig):
    good = rig.bench.make_state

    def make():
        message = JointState(name=list(NAMES), position=array('d', rig.bench.joints))
        message.name.pop(1), message.position.pop(1)
        return message

    rig.bench.make_state = make
    rig.client.wait_for_reason('Joint2 no longer published')
    rig.assert_no_new_motion()
    rig.bench.make_state = good
    rig.client.wait_for_state('RUNNING')


def test_arm_and_gripper_may_be_published_apart(rig):
    turn = itertools.count()

    def make():
        part = slice(6, 7) if next(turn) % 2 else slice(0, 6)
        return JointState(name=NAMES[part], position=array('d', rig.bench.joints[part]))

    rig.bench.make_state = make
    rig.client.wait_for_trajectories(3)
    assert rig.client.status.state_text == 'RUNNING'


def test_a_second_launch_file_or_a_lifecycle_manager_is_answered_and_the_arm_goes_on(rig):
    assert not rig.client.change_state(Transition.TRANSITION_CONFIGURE)
    rig.client.wait_for_trajectories(2)
    assert rig.client.status.state_text == 'RUNNING'
    assert 'transition 1 refused in state active' in rig.node.log


def test_joint_states_in_another_order_are_read_by_name(rig):
    reverse = list(reversed(NAMES))
    rig.bench.make_state = lambda: JointState(
        name=reverse, position=array('d', reversed(rig.bench.joints.tolist()))
    )
    trajectory = rig.client.wait_for_trajectories(3)[-1]
    assert list(trajectory.points[-1].positions) == pytest.approx(rig.bench.joints[:6], abs=1e-6)


def test_driver_that_asks_for_another_qos_is_named(rig):
    rig.client.node.create_subscription(JointTrajectory, ARM_TOPIC, print, LATCHED)
    rig.node.wait_for_log('incompatible QoS', 20.0)
    line = next(x for x in rig.node.log.splitlines() if 'incompatible QoS' in x)
    assert ARM_TOPIC.lstrip('/') in line


def test_silent_driver_holds_and_goes_on_when_it_is_back(rig):
    rig.bench.make_state = lambda: None
    rig.client.wait_for_reason('joint state')
    rig.assert_no_new_motion()


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('', 'empty'),
        ('   \n', 'empty'),
        ('x' * 10_000, '10000 characters'),
        ('déplace le bloc', "'é' (U+00E9)"),
        ('抓住红色方块', 'only printable ASCII'),
        ('stop<|im_end|>', "'<|'"),
    ],
)
def test_instruction_that_the_prompt_cannot_carry_is_refused(rig, text, said):
    answer = rig.client.set_instruction(text)
    assert not answer.success
    assert said in answer.message
    assert rig.client.instructions[-1] == 'reach the red block'


def test_instruction_is_trimmed_and_lower_cased(rig):
    answer = rig.client.set_instruction('  Push the BLUE block ')
    assert answer.success and "'push the blue block' takes effect at the next" in answer.message
    said = 'push the blue block'
    wait_until(lambda: rig.client.status.instruction == said, 20, 'a status that says so')
    wait_until(lambda: rig.client.chunks[-1].instruction == said, 20, 'a chunk of it')
    rig.client.wait_for_trajectories(2)
    rig.client.set_instruction('reach the red block')


@pytest.fixture
def fresh():
    rigs = []

    def start(parameters):
        rigs.append(Rig(parameters))
        return rigs[-1]

    yield start
    for rig in rigs:
        rig.close()


@pytest.mark.parametrize(
    ('parameters', 'said'),
    [
        ({'policy': 'magic'}, "parameter policy: got 'magic', expected one of: checkpoint,"),
        ({'device': 'banana', 'policy': 'random_network'}, 'banana'),
        ({'execute_steps': 'eight'}, "parameter execute_steps: got 'eight' (str)"),
        ({'execute_steps': 0}, 'parameter execute_steps: got 0, expected 1 … 64'),
        ({'max_imag_age': 0.2}, "parameter 'max_imag_age' is unknown"),
        ({'robot': 'panda'}, "robot 'panda' is unknown; known robots: alicia_d"),
        ({'checkpoint': '/no/such/place'}, '/no/such/place'),
    ],
    ids=lambda value: '-'.join(value) if isinstance(value, dict) else '',
)
def test_bad_parameter_refuses_to_configure_and_the_node_lives(fresh, parameters, said):
    rig = fresh(parameters)
    assert not rig.client.configure()
    rig.node.wait_for_log(said, 20.0)
    assert rig.client.lifecycle_state() == 'unconfigured'
    assert rig.node.alive


def test_services_before_configuration_answer_and_change_nothing(fresh):
    rig = fresh(HOLD)
    assert 'not configured' in rig.client.set_instruction('reach the red block').message
    assert 'not active' in rig.client.enable().message
    assert 'not active' in rig.client.trigger('stop').message
    rig.client.wait_for_state('INACTIVE')
    assert rig.client.arm == []


def test_topics_that_never_arrive_are_named_once(fresh):
    rig = fresh(HOLD)
    assert rig.client.configure() and rig.client.activate()
    rig.client.wait_for_reason('no joint state')
    missing = ('joint states', 'third_person image', 'wrist image')
    for name in missing:
        rig.node.wait_for_log(f'no {name} yet', 20)
    time.sleep(1.0)
    for name in missing:
        assert rig.node.log.count(f'no {name} yet') == 1, rig.node.log
    answer = rig.client.enable()
    assert not answer.success and 'no joint state' in answer.message
    assert rig.client.arm == []


def test_zeros_at_start_are_not_taken_for_a_measurement(fresh):
    rig = fresh(HOLD)
    bench = rig.client.start_bench()
    bench.joints[:] = 0.0
    assert rig.client.configure() and rig.client.activate()
    rig.client.wait_for_reason('exactly zero on all joints')
    assert not rig.client.enable().success
