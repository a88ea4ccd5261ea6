# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Client and emulated server of the gripper's action, in one process."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

pytest.importorskip('control_msgs', reason='control_msgs is not installed (not on PyPI)')

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from trajectory_msgs.msg import JointTrajectory

from support.motion_helpers import changed_robot
from support.ros_harness import wait_until
from vla_adapter_ros.control.gripper_goals import GripperCancel, GripperGoal
from vla_adapter_ros.nodes.common.arm_graph import ArmGraph
from vla_adapter_ros.nodes.common.gripper_action import GripperAction, gripper_type_problem
from vla_adapter_ros.nodes.common.messages import EVERY
from vla_adapter_ros.nodes.simulation.gripper_server import GripperServer
from vla_adapter_ros.simulation.servo_gripper import ServoGripper

STEP = 0.02


class Rig:
    # The server of a rig before this one is announced for a while: each has its own name.
    count = 0

    def __init__(self, kind, serve=True):
        Rig.count += 1
        action = f'gripper_{Rig.count}/cmd'
        self.contract = changed_robot(
            front_end__gripper={'kind': kind, 'action': action, 'max_effort': 5.0},
            front_end__gripper_topic='', front_end__gripper_open_command=0.0,
            front_end__gripper_closed_command=0.8,
        )  # fmt: skip
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('gripper', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.gripper = ServoGripper(1.0, speed=0.5)
        self.server = GripperServer(self.node, self.contract, self.gripper) if serve else None
        self.client = GripperAction(self.node, self.contract)
        self.heard = []
        topic = self.contract.front_end.recorded_gripper_topic
        self.node.create_subscription(JointTrajectory, topic, self.heard.append, EVERY)

    def step(self):
        """One step of the gripper, and what is due on the graph."""
        for _ in range(10):
            self.executor.spin_once(timeout_sec=0.001)
        self.gripper.step(STEP)
        if self.server is not None:
            self.server.tick()
        return True

    def until(self, condition, what):
        wait_until(lambda: self.step() and condition(), 20, what, 0.0)

    def close(self):
        self.client.close()
        self.node.destroy_node()
        self.context.shutdown()


@pytest.fixture
def rig():
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(
            closing(Rig(*arguments, **options))
        )


@pytest.mark.parametrize('kind', ['gripper_command', 'parallel_gripper_command'])
def test_goals_replace_each_other_and_a_cancel_stops(rig, kind):
    system = rig(kind)
    system.until(lambda: system.client.ready, 'the server')
    system.client.send(GripperGoal(0.8, 5.0))
    system.until(lambda: system.gripper.opening < 0.7, 'closing')
    system.client.send(GripperGoal(0.0, 5.0))
    system.until(lambda: system.gripper.opening > 0.9, 'opening')
    system.client.send(GripperGoal(0.8, 5.0))
    system.until(lambda: system.gripper.opening < 0.7, 'closing again')
    system.client.send(GripperCancel())
    system.until(lambda: system.gripper.reached, 'a stop')
    assert 0.0 < system.gripper.opening < 0.7
    assert system.server.goals == [0.8, 0.0, 0.8]
    # What a recorder hears, since an action leaves nothing in a bag.
    assert [m.points[0].positions[0] for m in system.heard] == [0.8, 0.0, 0.8]
    assert list(system.heard[0].joint_names) == [system.contract.gripper.name]
    # Nothing is in execution: a second cancel is no error.
    system.client.send(GripperCancel())
    system.step()


def test_a_cancel_before_the_server_has_answered_is_not_lost(rig):
    system = rig('gripper_command')
    system.until(lambda: system.client.ready, 'the server')
    system.client.send(GripperGoal(0.8, 5.0))
    system.client.send(GripperCancel())
    system.until(lambda: system.server.goals and system.gripper.reached, 'a stop')
    assert system.gripper.opening > 0.5


def test_a_goal_of_another_program_is_told_from_ours(rig):
    system = rig('gripper_command')
    # Both clients are of this process, which remembers the goals of all its clients.
    said, ours = [], set()
    graph = ArmGraph(system.node, system.contract, lambda: ours, said.append)
    other = GripperAction(system.node, system.contract)
    system.until(lambda: system.client.ready and other.ready, 'the server')
    system.client.send(GripperGoal(0.8, 5.0))
    ours |= system.client.goal_ids
    system.until(lambda: system.gripper.opening < 0.8, 'closing')
    assert graph.commanders() == [] and said == []
    other.send(GripperGoal(0.0, 5.0))
    system.until(lambda: said, 'a report')
    assert system.contract.front_end.gripper.action in graph.commanders()[0]
    system.until(lambda: system.gripper.reached and not graph.commanders(), 'its end')
    graph.close()
    other.close()


def test_a_server_of_the_other_kind_is_named_with_what_to_write(rig):
    system = rig('parallel_gripper_command')
    assert gripper_type_problem(system.node, system.contract) == ''
    wrong = replace(system.contract.front_end.gripper, kind='gripper_command')
    front_end = replace(system.contract.front_end, gripper=wrong)
    problem = gripper_type_problem(system.node, replace(system.contract, front_end=front_end))
    assert 'is an action ParallelGripperCommand' in problem
    assert problem.endswith('use kind: parallel_gripper_command')


def test_without_a_server_nothing_is_sent_and_nothing_hangs(rig):
    system = rig('gripper_command', serve=False)
    assert not system.client.ready
    system.client.send(GripperGoal(0.8, 5.0))
    system.client.send(GripperCancel())
    system.step()
