# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What an operator asks of the running node: dry run, home, stop switches, live parameters, and
the action ~/run_instruction with rclpy's own client.

The tests build on each other's node, which is slow to start; each leaves it disabled.
"""

from __future__ import annotations

import os
import time
from array import array
from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import DescribeParameters, SetParametersAtomically
from rclpy.action import ActionClient
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker
from vla_adapter_ros.action import RunInstruction

from support.graph_client import ARM_TOPIC, NAMES, NODE, GraphClient
from support.ros_harness import NodeProcess, isolated_environment, wait_until
from vla_adapter_ros.nodes.common.messages import COMMAND, LATCHED, LATEST, to_time
from vla_adapter_ros.robot.contract import resolve_contract

HOME = resolve_contract('alicia_d').home_from(np.zeros(7))[:6]
# Generous ages: the machine that tests may be busy with others.
PARAMETERS = {
    'policy': 'support.faults:Swaying', 'dry_run': True, 'instruction': 'sway',
    'max_image_age': 0.8, 'max_joint_state_age': 0.6, 'max_skew': 0.7,
}  # fmt: skip
RELIABILITY, DURABILITY = ReliabilityPolicy, DurabilityPolicy


class Arm:
    """Follows the trajectories that are sent, and is never quite still."""

    def __init__(self, client):
        self.client = client
        self.joints = np.array([0.1, 0.2, 0.3, 0.0, -0.5, 0.0])

    def state(self):
        self._follow()
        noise = 1e-6 * (time.monotonic() % 1.0)
        return JointState(name=NAMES, position=array('d', [*(self.joints + noise), 0.0]))

    def _follow(self):
        if not self.client.arm:
            return
        begun, trajectory = self.client.arm[-1]
        ends = [p.time_from_start for p in trajectory.points]
        times = np.array([0.0, *(e.sec + 1e-9 * e.nanosec for e in ends)])
        knots = np.array([self._start(begun), *(p.positions for p in trajectory.points)])
        here = time.monotonic() - begun
        self.joints = np.array([np.interp(here, times, column) for column in knots.T])

    def _start(self, begun):
        if getattr(self, '_begun', None) != begun:
            self._begun, self._from = begun, self.joints.copy()
        return self._from


class Rig:
    def __init__(self, folder: Path):
        environment = isolated_environment()
        environment['FAULT_FILE'] = str(folder / 'none')
        tests = str(Path(__file__).parents[2])
        path = os.pathsep.join([tests, environment.get('PYTHONPATH', '')])
        environment['PYTHONPATH'] = path
        self.node = NodeProcess('policy_node', PARAMETERS, environment)
        self.client = client = GraphClient(environment)
        self.paths = []
        client.node.create_subscription(Marker, f'{NODE}/plan_path', self.paths.append, COMMAND)
        self.runs = ActionClient(client.node, RunInstruction, f'{NODE}/run_instruction')
        self.feedback = []
        self.arm = Arm(client)
        client.start_bench().make_state = self.arm.state
        assert client.configure() and client.activate()
        client.wait_for_state('READY')

    def close(self):
        self.client.close()
        self.node.stop()

    def commanders(self):
        return self.client.node.get_publishers_info_by_topic(ARM_TOPIC)

    def send_goal(self, instruction='sway', limit=30.0):
        self.feedback = []
        goal = RunInstruction.Goal(instruction=instruction, time_limit=limit)
        sent = self.runs.send_goal_async(
            goal, feedback_callback=lambda m: self.feedback.append(m.feedback)
        )
        return wait_until(lambda: sent.done() and sent.result(), 20, 'an answer to the goal')

    @staticmethod
    def result(handle, seconds=30):
        future = handle.get_result_async()
        answer = wait_until(lambda: future.done() and future.result(), seconds, 'a result')
        return answer.status, answer.result

    def call_home(self):
        client = self.client.node.create_client(Trigger, f'{NODE}/home')
        assert client.wait_for_service(20.0)
        return client.call_async(Trigger.Request())

    def rest(self):
        """Wait until the node says, from now on, that the arm has stopped."""
        seen = len(self.client.statuses)

        def rests():
            return any(
                s.state_text == 'READY' and 'still stopping' not in s.reason
                for s in self.client.statuses[seen:]
            )

        wait_until(rests, 20, 'rest')

    def run_motion(self):
        assert self.client.enable().success
        self.client.wait_for_state('RUNNING')
        self.client.wait_for_trajectories(1)


@pytest.fixture(scope='module')
def module_rig(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp('operators'))
    yield rig
    rig.close()


@pytest.fixture
def rig(module_rig):
    rig = module_rig
    yield rig
    if rig.node.alive:
        rig.client.enable(False)
        rig.client.trigger('clear_trip')
        rig.rest()


def test_dry_run_shows_chunks_and_paths_and_has_no_publisher_of_commands(rig):
    client = rig.client
    assert 'DRY RUN' in client.enable().message
    status = client.wait_for_state('RUNNING')
    assert status.dry_run and 'DRY RUN' in status.reason
    wait_until(lambda: len(client.chunks) >= 3, 20, 'chunks')
    pytest.importorskip('pinocchio')
    wait_until(lambda: len(rig.paths) >= 2, 20, 'paths of the plans')
    assert rig.commanders() == [] and client.arm == [] and client.gripper == []
    assert 'DRY RUN: nothing is sent' in rig.node.log


def test_a_played_bag_of_an_hour_ago_drives_a_dry_run(rig):
    client, bench = rig.client, rig.client.bench
    make_image, make_state = bench.make_image, bench.make_state

    def played(make):
        def message(*camera):
            made = make(*camera)
            made.header.stamp = to_time(time.time() - 3600.0)
            return made

        return message

    bench.make_image, bench.make_state = played(make_image), played(make_state)
    time.sleep(1.0)
    assert client.enable().success
    before = len(client.chunks)
    wait_until(lambda: len(client.chunks) >= before + 3, 20, 'chunks')
    age = time.time() - client.chunks[-1].observation_stamp.sec
    assert 3590.0 < age < 3610.0
    assert client.arm == []
    client.enable(False)
    bench.make_image, bench.make_state = make_image, make_state
    time.sleep(1.0)


def test_end_of_the_dry_run_disables_motion_until_it_is_enabled_again(rig):
    client = rig.client
    client.enable()
    client.wait_for_state('RUNNING')
    assert client.set_parameter(NODE, 'dry_run', False) == (True, '')
    wait_until(lambda: not client.status.dry_run and not client.status.enabled, 10, 'disabled')
    wait_until(rig.commanders, 10, 'a publisher of commands')
    time.sleep(0.5)
    assert client.arm == []
    wait_until(lambda: client.enable().success, 10, 'enabled', 0.3)
    client.wait_for_trajectories(2)


def test_live_parameters_take_effect_and_others_say_when_they_do(rig):
    client, motion = rig.client, rig.run_motion
    motion()
    assert client.set_parameter(NODE, 'speed_scale', 0.25) == (True, '')
    wait_until(lambda: client.status.speed_scale == 0.25, 10, 'the scale in ~/status')
    assert client.set_parameter(NODE, 'instruction', 'Wave') == (True, '')
    wait_until(lambda: client.instructions[-1] == 'wave', 10, 'the instruction')
    client.set_instruction('sway')
    assert client.set_parameter(NODE, 'instruction', 'Wave') == (True, '')
    wait_until(lambda: client.instructions[-1] == 'wave', 10, 'the instruction again')
    for name, value in (('execute_steps', 4), ('max_image_age', 0.9), ('max_skew', 0.8)):
        assert client.set_parameter(NODE, name, value) == (True, '')
    taken, why = client.set_parameter(NODE, 'control_rate', 20.0)
    assert not taken and 'control_rate takes effect at configure' in why
    taken, why = client.set_parameter(NODE, 'speed_scale', 1.5)
    assert not taken and 'speed_scale' in why
    taken, why = client.set_parameter(NODE, 'max_chunk_age', 0.5)
    assert not taken and 'expected at least watchdog_timeout (1 s)' in why
    assert client.set_parameter(NODE, 'max_chunk_age', 3.0) == (True, '')
    assert client.status.speed_scale == 0.25 and client.status.enabled


def test_parameters_of_one_atomic_request_are_all_taken_or_none(rig):
    client = rig.client
    client.set_parameter(NODE, 'speed_scale', 1.0)
    wait_until(lambda: client.status.speed_scale == 1.0, 10, 'the scale')
    both = [Parameter('speed_scale', value=0.5), Parameter('seed', value=7)]
    request = SetParametersAtomically.Request(parameters=[p.to_parameter_msg() for p in both])
    name = f'{NODE}/set_parameters_atomically'
    answer = client.call(SetParametersAtomically, name, request).result
    assert not answer.successful and 'seed takes effect at configure' in answer.reason
    time.sleep(0.7)
    assert client.status.speed_scale == 1.0


def test_tools_see_the_ranges_of_numbers(rig):
    request = DescribeParameters.Request(names=['speed_scale', 'execute_steps'])
    found = rig.client.call(DescribeParameters, f'{NODE}/describe_parameters', request).descriptors
    scale, steps = found[0].floating_point_range[0], found[1].integer_range[0]
    assert (scale.from_value, scale.to_value) == (0.01, 1.0)
    assert (steps.from_value, steps.to_value) == (1, 64)


def test_home_answers_on_arrival_with_motion_disabled(rig):
    for _ in range(3):
        future = rig.call_home()
        answer = wait_until(lambda future=future: future.done() and future.result(), 40, 'home')
        # A pause of the whole machine ends a motion, as it should.
        if 'stale' not in answer.message:
            break
    assert answer.success, answer.message
    assert rig.arm.joints == pytest.approx(HOME, abs=0.02)
    rig.client.wait_for_state('READY')
    assert not rig.client.status.enabled


def test_home_is_refused_while_motion_is_enabled_and_stop_interrupts_it(rig):
    rig.run_motion()
    time.sleep(1.0)
    assert rig.client.trigger('home').message == 'motion is enabled: call ~/stop first'
    rig.client.enable(False)
    rig.rest()
    future = rig.call_home()
    rig.client.wait_for_reason('moving to a pose')
    assert 'call ~/stop first' in rig.client.trigger('home').message
    assert rig.client.trigger('stop').success
    answer = wait_until(lambda: future.done() and future.result(), 10, 'an answer')
    assert not answer.success and 'stop was called' in answer.message


@pytest.mark.parametrize(
    'qos',
    [
        LATCHED,
        QoSProfile(depth=1, reliability=RELIABILITY.RELIABLE, durability=DURABILITY.VOLATILE),
        QoSProfile(depth=1, reliability=RELIABILITY.BEST_EFFORT, durability=DURABILITY.VOLATILE),
    ],
    ids=['latched', 'reliable', 'best effort'],
)
def test_estop_is_heard_whatever_its_publisher_offers(rig, qos):
    client = rig.client
    button = client.node.create_publisher(Bool, f'{NODE}/estop', qos)
    wait_until(lambda: button.get_subscription_count() >= 1, 10, 'the node')
    rig.run_motion()

    def tripped(pressed=True):
        button.publish(Bool(data=pressed))
        return client.status.state_text == 'TRIPPED'

    wait_until(tripped, 10, 'a trip', 0.1)
    assert 'emergency stop: /vla_adapter/estop is true' in client.status.reason
    assert 'not cleared' in client.trigger('clear_trip').message

    def cleared():
        button.publish(Bool(data=False))
        return client.trigger('clear_trip').success

    wait_until(cleared, 10, 'cleared', 0.1)
    client.in_thread(lambda: client.node.destroy_publisher(button))
    assert 'incompatible QoS' not in rig.node.log


def test_run_instruction_runs_for_its_time_limit_with_feedback(rig):
    before = len(rig.client.arm)
    handle = rig.send_goal('Sway to the left', 3.0)
    assert handle.accepted
    rig.client.wait_for_state('RUNNING')
    assert rig.client.status.instruction == 'sway to the left'
    assert 'run_instruction is running' in rig.client.set_instruction('stop it').message
    assert 'run_instruction is running' in rig.client.trigger('home').message
    status, result = rig.result(handle)
    assert status == GoalStatus.STATUS_SUCCEEDED
    assert (result.ended, result.ended_text) == (RunInstruction.Result.TIME_LIMIT, 'TIME_LIMIT')
    assert 3.0 <= result.elapsed < 6.0 and result.chunks >= 1
    progress = [m.progress for m in rig.feedback]
    assert len(progress) >= 3 and progress == sorted(progress)
    assert len(rig.client.arm) > before
    assert not rig.client.wait_for_state('READY').enabled


def test_a_second_goal_is_refused_by_name_and_cancel_holds(rig):
    first = rig.send_goal('sway')
    rig.client.wait_for_state('RUNNING')
    status, result = rig.result(rig.send_goal('grasp'))
    assert status == GoalStatus.STATUS_ABORTED and result.ended_text == 'REFUSED'
    assert "~/run_instruction is running ('sway'): cancel it first" in result.message
    first.cancel_goal_async()
    status, result = rig.result(first)
    assert status == GoalStatus.STATUS_CANCELED and result.ended_text == 'CANCELLED'
    rig.client.wait_for_state('READY')


@pytest.mark.parametrize(
    ('stop', 'ended', 'said'),
    [
        (lambda client: client.trigger('stop'), 'STOPPED', 'stop was called'),
        (lambda client: client.enable(False), 'STOPPED', 'motion was disabled'),
        (lambda client: client.deactivate(), 'STOPPED', 'the node was deactivated'),
    ],
    ids=['stop', 'disable', 'deactivate'],
)
def test_what_stops_the_arm_aborts_the_goal(rig, stop, ended, said):
    handle = rig.send_goal()
    rig.client.wait_for_state('RUNNING')
    stop(rig.client)
    status, result = rig.result(handle)
    assert status == GoalStatus.STATUS_ABORTED
    assert result.ended_text == ended and said in result.message
    if said == 'the node was deactivated':
        late = rig.result(rig.send_goal())[1]
        assert late.ended_text == 'REFUSED' and 'not active' in late.message
        assert rig.client.activate()


def test_what_enable_refuses_is_the_result_of_the_goal(rig):
    rig.client.bench.make_state = lambda: None
    rig.client.wait_for_state('WAITING_FOR_INPUT')
    status, result = rig.result(rig.send_goal())
    rig.client.bench.make_state = rig.arm.state
    assert status == GoalStatus.STATUS_ABORTED and result.ended_text == 'REFUSED'
    assert 'joint state' in result.message


def test_released_deadman_switch_disables_motion_for_good(rig):
    client = rig.client
    assert client.deactivate() and client.change_state(Transition.TRANSITION_CLEANUP)
    assert client.set_parameter(NODE, 'deadman_timeout', 1.0) == (True, '')
    assert client.configure() and client.activate()
    client.wait_for_state('READY')
    assert 'nothing heard on /vla_adapter/deadman yet' in client.enable().message
    hand = client.node.create_publisher(Bool, f'{NODE}/deadman', LATEST)
    holding = client.node.create_timer(0.1, lambda: hand.publish(Bool(data=True)))
    wait_until(lambda: client.enable().success, 20, 'enabled', 0.2)
    client.wait_for_trajectories(1)
    holding.cancel()
    status = client.wait_for_state('READY')
    assert 'dead-man switch: /vla_adapter/deadman silent' in status.reason
    holding.reset()
    time.sleep(0.7)
    assert client.status.state_text == 'READY' and not client.status.enabled
    client.in_thread(lambda: client.node.destroy_timer(holding))
    assert client.deactivate() and client.change_state(Transition.TRANSITION_CLEANUP)
    assert client.set_parameter(NODE, 'deadman_timeout', 0.0) == (True, '')
    assert client.configure() and client.activate()


def test_interrupted_node_still_answers_the_client_of_a_goal(rig):
    rig.rest()
    handle = rig.send_goal()
    rig.client.wait_for_state('RUNNING')
    future = handle.get_result_async()
    time.sleep(0.3)
    rig.node.interrupt()
    answer = wait_until(lambda: future.done() and future.result(), 20, 'a result')
    assert answer.status == GoalStatus.STATUS_ABORTED
    wait_until(lambda: not rig.node.alive, 20, 'the end of the node')
