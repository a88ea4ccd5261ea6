# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Goals of others on the actions of an arm, and controllers that are not active."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

import numpy as np
from action_msgs.msg import GoalInfo, GoalStatus, GoalStatusArray
from rclpy.task import Future
from unique_identifier_msgs.msg import UUID

from vla_adapter_ros.nodes.common.arm_graph import ArmGraph
from vla_adapter_ros.nodes.common.controller_states import ControllerStates
from vla_adapter_ros.robot.contract import resolve_contract

OURS, THEIRS = bytes(range(16)), bytes(range(1, 17))


class FakeNode:
    """Keeps what is subscribed to; its client answers when the test says so."""

    def __init__(self):
        self.callbacks, self.answers, self.ready = {}, [], True

    def create_subscription(self, kind, topic, callback, qos):
        self.callbacks[topic] = callback

    def create_client(self, kind, name):
        assert name == 'controller_manager/list_controllers'
        return self

    def destroy_client(self, client):
        pass

    def service_is_ready(self):
        return self.ready

    def call_async(self, request):
        self.answers.append(Future())
        return self.answers[-1]

    def remove_pending_request(self, future):
        pass

    def answer(self, **states):
        pairs = [SimpleNamespace(name=n, state=s) for n, s in states.items()]
        self.answers[-1].set_result(SimpleNamespace(controller=pairs))


def status(goal, code):
    goal_id = UUID(uuid=np.frombuffer(goal, np.uint8))
    return GoalStatusArray(
        status_list=[GoalStatus(goal_info=GoalInfo(goal_id=goal_id), status=code)]
    )


@pytest.mark.parametrize(
    ('robot', 'expected'),
    [
        ('alicia_d', ['Alicia_controller/follow_joint_trajectory',
                      'Gripper_controller/follow_joint_trajectory']),
        ('alicia_d_standalone', []),
        ('so101', ['arm_controller/follow_joint_trajectory', 'gripper_controller/gripper_cmd']),
    ],
)  # fmt: skip
def test_actions_of_arm_and_gripper_are_watched(robot, expected):
    node = FakeNode()
    ArmGraph(node, resolve_contract(robot))
    assert list(node.callbacks) == [f'{action}/_action/status' for action in expected]


def test_a_gripper_goal_of_another_program_is_told_from_our_own():
    node, told, owned = FakeNode(), [], {OURS}
    contract = resolve_contract('so101')
    graph = ArmGraph(node, contract, lambda: owned, told.append)
    graph.others = lambda topic: []
    say = node.callbacks['gripper_controller/gripper_cmd/_action/status']
    say(status(OURS, GoalStatus.STATUS_EXECUTING))
    assert graph.commanders() == [] and told == []
    say(status(THEIRS, GoalStatus.STATUS_EXECUTING))
    assert 'gripper_cmd' in graph.commanders()[0]
    assert len(told) == 1 and 'executes a goal of another program' in told[0]
    say(status(THEIRS, GoalStatus.STATUS_ABORTED))
    assert graph.commanders() == []


def test_a_gripper_goal_of_ours_stays_ours_when_the_node_is_activated_again():
    node, owned = FakeNode(), set()
    graph = ArmGraph(node, resolve_contract('so101'), lambda: owned)
    graph.others = lambda topic: []
    # Inactive: nothing is owned.
    node.callbacks['gripper_controller/gripper_cmd/_action/status'](
        status(OURS, GoalStatus.STATUS_EXECUTING)
    )
    assert len(graph.commanders()) == 1
    owned.add(OURS)
    assert graph.commanders() == []


@pytest.fixture
def states(monkeypatch):
    """The states of the controllers of alicia_d, and the node that asks."""
    services = ModuleType('controller_manager_msgs.srv')
    services.ListControllers = SimpleNamespace(Request=SimpleNamespace)
    monkeypatch.setitem(sys.modules, 'controller_manager_msgs', ModuleType('package'))
    monkeypatch.setitem(sys.modules, 'controller_manager_msgs.srv', services)
    node = FakeNode()
    return ControllerStates(node, resolve_contract('alicia_d')), node


def test_an_inactive_controller_is_named(states):
    controllers, node = states
    controllers.ask()
    node.answer(Alicia_controller='active', Gripper_controller='active')
    assert controllers.problem() == controllers.unknown() == ''
    controllers.ask()
    node.answer(Alicia_controller='inactive', Gripper_controller='active')
    assert controllers.problem().startswith('Alicia_controller is inactive: activate it')
    controllers.ask()
    node.answer(Alicia_controller='active')
    assert controllers.problem().startswith('Gripper_controller is not loaded')


def test_a_manager_that_has_not_answered_refuses_motion_but_trips_none(states):
    controllers, node = states
    controllers.ask()
    assert 'has not told yet' in controllers.unknown()
    assert controllers.problem() == ''
    # A late manager is not asked once a second, and is asked again after a while.
    for _ in range(7):
        controllers.ask()
    assert len(node.answers) == 2
    node.answer(Alicia_controller='active', Gripper_controller='active')
    assert controllers.unknown() == ''


def test_without_a_manager_nothing_is_known(states, monkeypatch):
    controllers, node = states
    node.ready = False
    controllers.ask()
    assert controllers.problem() == controllers.unknown() == ''
    monkeypatch.setitem(sys.modules, 'controller_manager_msgs', None)
    monkeypatch.setitem(sys.modules, 'controller_manager_msgs.srv', None)
    absent = ControllerStates(node, resolve_contract('alicia_d'))
    absent.ask()
    assert absent.problem() == absent.unknown() == '' and node.answers == []
