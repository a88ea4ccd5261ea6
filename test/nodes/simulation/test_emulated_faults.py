# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Faults of both vendor drivers while the policy node moves the arm.

Judged by the emulated servos' own record: the arm stays inside its limits and is at rest within
REST_WITHIN after each fault, whatever the joint states say.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from support.arm_record import ArmRecord
from support.fault_graph import StreamedTargets, Trajectories
from support.fault_report import FaultRow, allowed_distance
from support.graph_client import NAMES, GraphClient
from support.ros_harness import NodeProcess, isolated_environment, simulated, wait_until
from vla_adapter_ros.robot.contract import resolve_contract

DRIVERS = {
    'A': ('emulated_ros2_control', 'controller_manager', 'alicia_d', {'startup_motion': False}),
    'B': ('emulated_standalone_driver', 'alicia_d_driver_node', 'alicia_d_standalone', {}),
}
# The longest age of a joint state, one chunk of eight steps, and what a busy machine adds [s].
REST_WITHIN = 3.0
COUNT = 2 * np.pi / 4096
DRIVER_ALONE = pytest.mark.slow(reason='test_emulated_drivers has the fault of the driver alone')


class Rig:
    """An emulated driver, the policy node in motion, and this test as user and cameras."""

    def __init__(self, front_end: str, tmp_path: Path):
        module, self.driver_node, robot, extra = DRIVERS[front_end]
        self.contract = resolve_contract(robot)
        self.fault_file = tmp_path / 'fault'
        folder = str(Path(__file__).parents[2])
        self.environment = environment = isolated_environment()
        environment['FAULT_FILE'] = str(self.fault_file)
        environment['PYTHONPATH'] = os.pathsep.join([folder, environment.get('PYTHONPATH', '')])
        self.driver_arguments = (module, {'default_speed_deg_s': 90.0, **extra}, environment)
        self.driver = NodeProcess(*self.driver_arguments)
        self.client = GraphClient(environment)
        self.truth = ArmRecord(NAMES[:6], resolution=2 * COUNT)
        self.client.node.create_subscription(
            JointState, f'/{self.driver_node}/arm', self.truth.add, 50
        )
        if front_end == 'A':
            kind, self.asked = JointTrajectory, Trajectories(self.contract, self.truth)
        else:
            kind, self.asked = JointState, StreamedTargets(self.contract, self.truth)
        topic = self.contract.front_end.topics[0]
        self.client.node.create_subscription(kind, topic, self.asked.add, 100)
        self.node = NodeProcess('policy_node', {
            'robot': simulated(robot, tmp_path), 'policy': 'support.faults:Swaying',
            'instruction': 'sway',
            'enable': True, 'max_image_age': 0.8, 'max_skew': 0.7, 'max_joint_state_age': 0.6,
        }, environment)  # fmt: skip
        self.client.start_bench(driver=False)
        self.client.wait_for_node()
        assert self.client.configure() and self.client.activate()
        self.wait_for_motion()

    def wait_for_motion(self, seconds=60):
        self.client.wait_for_state('RUNNING', seconds)
        wait_until(self.truth.moves, seconds, 'motion')

    def inject(self, fault):
        name = f'/{self.driver_node}/set_parameters'
        request = SetParameters.Request(
            parameters=[Parameter('fault', value=fault).to_parameter_msg()]
        )
        assert self.client.call(SetParameters, name, request).results[0].successful

    def assert_rest(self):
        self.truth.assert_rest(REST_WITHIN, 2 * COUNT)
        positions = self.truth.positions
        lower, upper = self.contract.lower[:6], self.contract.upper[:6]
        assert np.all(positions >= lower - COUNT) and np.all(positions <= upper + COUNT)

    def go_on(self):
        assert self.client.trigger('clear_trip').success
        assert wait_until(lambda: self.client.enable().success, 20, 'enable', poll=0.5)
        self.wait_for_motion()

    def row(self, fault: str) -> FaultRow:
        """The line of the fault table since the fault."""
        began, robot = self.truth.rest_began(2 * COUNT), self.contract.name
        rest = math.nan if began is None else max(began - self.asked.since, 0.0)
        reason, allowed = self.client.status.reason, allowed_distance(self.contract)
        return self.asked.row(fault, f'graph {robot}', reason, allowed, rest)

    def close(self):
        self.client.close()
        self.node.stop()
        self.driver.stop()


@pytest.fixture(params=DRIVERS)
def rig(request, tmp_path, fault_row):
    rig = Rig(request.param, tmp_path)
    rig.asked.mark()
    yield rig
    row = rig.row(request.node.name.removeprefix('test_').replace('_', ' '))
    rig.close()
    fault_row(row)
    assert not row.violation, row


@pytest.mark.parametrize(
    ('fault', 'reason'),
    [
        ('frozen', 'joint state frozen'),
        pytest.param('raw_zero', '−π on all joints', marks=DRIVER_ALONE),
        pytest.param('silent', 'joint state', marks=DRIVER_ALONE),
    ],
)
def test_fault_of_the_driver_stops_the_arm_and_is_named(rig, fault, reason):
    rig.inject(fault)
    if fault == 'frozen':
        # An arm that reads the same may also be one that does not follow; which is seen first
        # depends on its speed.
        stopped = ('joint state frozen', 'from its command')
        tripped = rig.client.wait_for_state('TRIPPED').reason
        assert any(part in tripped for part in stopped), tripped
    else:
        rig.client.wait_for_reason(reason)
    rig.assert_rest()
    assert rig.node.alive
    rig.inject('none')
    time.sleep(0.5)
    if fault == 'silent':
        rig.client.wait_for_reason('', 5)
    else:
        rig.go_on()


@pytest.mark.slow(reason='starts the driver twice; test_fault_injection has the simulated arm')
def test_killed_driver_that_comes_back_is_found_again(rig):
    rig.driver.kill()
    rig.client.wait_for_reason('joint state')
    assert rig.node.alive
    rig.truth.states.clear()
    rig.driver = NodeProcess(*rig.driver_arguments)
    wait_until(lambda: len(rig.truth.states) > 20, 20, 'the driver to be back')
    positions = rig.truth.positions
    # Nothing drives a driver that has just come back to wherever the old motion was going.
    assert np.abs(np.diff(positions, axis=0)).max() < 0.1

    def enabled():
        # Tripped or not, as the arm had moved meanwhile or not.
        rig.client.trigger('clear_trip')
        time.sleep(0.5)
        return rig.client.enable().success and not rig.client.status.reason

    wait_until(enabled, 30, 'enabled again', poll=0.5)
    rig.wait_for_motion()


def test_killed_policy_leaves_an_arm_at_rest(rig):
    rig.node.kill()
    rig.assert_rest()


@pytest.mark.slow(reason='test_end_to_end has it for the simulated arm')
def test_stop_service_rests_the_arm(rig):
    assert rig.client.trigger('stop').success
    rig.assert_rest()
