# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The node with a policy server, and faults of the wire between them; the arm's record judges."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

from sensor_msgs.msg import JointState

from support.arm_record import ArmRecord
from support.graph_client import NAMES, GraphClient
from support.policy_servers import SERVED, Cable, FakeServer
from support.ros_harness import NodeProcess, isolated_environment, wait_until
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.server.codec import encode

ROBOT = 'alicia_d_sim'
# As in test_fault_injection.py.
REST_WITHIN = 2.5
REST_TOLERANCE = 0.005

pytestmark = pytest.mark.slow(
    reason='node and simulated arm in real time: ten seconds; test/server has the faults always'
)


class Sway:
    """The server's side: joints 1 and 6 on sines of the time; `spoil` changes the actions."""

    def __init__(self, contract):
        self.contract, self.start, self.spoil = contract, None, lambda actions: actions

    def answer(self, request):
        state = request['state']
        if self.start is None:
            self.start = state.copy()
        times = time.time() + 0.1 * np.arange(1, 9)
        targets = np.tile(self.start, (8, 1))
        targets[:, 0] += 0.25 * np.sin(2 * math.pi * 0.25 * times)
        targets[:, 5] += 0.25 * np.cos(2 * math.pi * 0.25 * times)
        targets[:, 6] = 1.0
        if self.contract.action_space == 'joint_delta':
            targets[:, :6] -= state[:6]
        return [encode({'actions': self.spoil(targets), 'sequence': request['sequence']})]


class RemoteRig:
    """sim_arm, vla_adapter, a cable, and a server in this process."""

    def __init__(self, server, cable):
        contract = resolve_contract(ROBOT)
        self.sway = Sway(contract)
        server.first = {**SERVED.to_message(), 'contract': contract.to_dict()}
        server.answer = self.sway.answer
        environment = isolated_environment()
        self.sim = NodeProcess('sim_arm_node', {'robot': ROBOT, 'camera_rate': 12.0}, environment)
        self.client = GraphClient(environment)
        self.true = ArmRecord(NAMES[:6])
        self.client.node.create_subscription(JointState, 'joint_states', self.true.add, 100)
        self.node = NodeProcess('policy_node', {
            'robot': ROBOT, 'policy_server': cable.url, 'enable': True, 'instruction': 'sway',
            'max_image_age': 0.6, 'max_skew': 0.4, 'max_joint_state_age': 0.4,
        }, environment)  # fmt: skip
        self.client.wait_for_node()
        assert self.client.configure() and self.client.activate()
        self.wait_for_motion()

    def wait_for_motion(self):
        self.client.wait_for_state('RUNNING', 30)
        wait_until(self.true.moves, 30, 'motion')
        self.true.states.clear()
        wait_until(lambda: len(self.true.states) > 20, 10, 'a record of the arm')

    def close(self):
        self.client.close()
        self.node.stop()
        self.sim.stop()


@pytest.fixture(scope='module')
def wire():
    with FakeServer() as server, Cable(server.port) as cable:
        rig = RemoteRig(server, cable)
        yield rig, cable
        rig.close()


def pulled(rig, cable):
    cable.cut()


def killed(rig, cable):
    cable.kill()


def not_a_number(rig, cable):
    rig.sway.spoil = lambda actions: actions * np.nan


@pytest.mark.parametrize(
    ('fault', 'said'),
    [
        (pulled, 'no answer in time'),
        (killed, 'connection lost'),
        (not_a_number, 'not all are finite'),
    ],
)
def test_the_arm_rests_says_why_and_goes_on_when_the_wire_is_good_again(wire, fault, said):
    rig, cable = wire
    before = len(rig.node.log)
    try:
        fault(rig, cable)
        rig.node.wait_for_log(said, 20, before)
        rig.true.assert_rest(REST_WITHIN, REST_TOLERANCE)
        rig.client.wait_for_reason('policy server')
        assert rig.client.wait_for_state('HOLDING')
    finally:
        cable.mend()
        rig.sway.spoil = lambda actions: actions
    rig.wait_for_motion()
    limits = resolve_contract(ROBOT)
    record = rig.true.positions
    assert (record >= limits.lower[:6] - 0.01).all() and (record <= limits.upper[:6] + 0.01).all()
