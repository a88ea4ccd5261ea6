# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The policy node drives other robots by their contracts alone, over the real ROS graph."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from support.graph_client import GraphClient
from support.ros_harness import NodeProcess, isolated_environment, wait_until
from vla_adapter_ros.robot.contract import resolve_contract


class Rig:
    """emulated_robot, vla_adapter with a policy that closes and opens, and generated cameras."""

    def __init__(self, robot: str, **emulated):
        self.contract = resolve_contract(robot)
        environment = isolated_environment()
        folders = [str(Path(__file__).parents[2]), environment.get('PYTHONPATH', '')]
        environment['PYTHONPATH'] = os.pathsep.join(folders)
        self.robot = NodeProcess('emulated_robot', {'robot': robot, **emulated}, environment)
        self.node = NodeProcess(
            'policy_node',
            {'robot': robot, 'policy': 'support.gripper_policy:OpenAndClose',
             'instruction': 'hold it', 'max_image_age': 1.0, 'max_skew': 0.5,
             'max_joint_state_age': 0.5},
            environment,
        )  # fmt: skip
        self.client = GraphClient(environment)
        self.client.start_bench(driver=False)

    def start(self):
        assert self.client.configure() and self.client.activate()
        wait_until(lambda: self.client.states, 30, 'joint states')
        wait_until(lambda: self.client.enable().success, 20, 'motion enabled', 0.3)

    def openings(self) -> np.ndarray:
        """(N,) measured open fractions so far."""
        gripper = self.contract.gripper
        values = [dict(zip(m.name, m.position))[gripper.name] for _, m in self.client.states]
        return np.array([gripper.to_fraction(value) for value in values])

    def positions(self) -> np.ndarray:
        """(N, J) measured arm joints so far."""
        return np.array([m.position[:-1] for _, m in self.client.states])

    def close(self):
        self.client.close()
        self.node.stop()
        self.robot.stop()


@pytest.fixture
def rig():
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(
            closing(Rig(*arguments, **options))
        )


def test_a_seven_joint_arm_and_its_gripper_behind_an_action(rig):
    """An object stops the gripper at 0.4; it is gripped, held through a stop, and released."""
    pytest.importorskip('control_msgs', reason='control_msgs is not installed (not on PyPI)')
    system = rig('franka', object_at=0.4)
    system.start()
    wait_until(lambda: abs(system.openings()[-1] - 0.4) < 0.01, 20, 'contact')
    time.sleep(0.5)
    assert system.client.trigger('stop').success
    gripped = len(system.client.states)
    wait_until(lambda: len(system.client.states) > gripped + 150, 20, '1.5 s of joint states')
    assert np.abs(system.openings()[gripped:] - 0.4).max() < 0.01, 'the object was let go'
    system.client.enable()
    wait_until(lambda: system.openings()[-1] > 0.97, 20, 'release')
    assert np.ptp(system.positions()[:, 0]) > 0.05 and system.positions().shape[1] == 7
    assert 'TRIP' not in system.node.log


def test_an_arm_that_is_streamed_without_speeds(rig):
    system = rig('piper')
    system.start()
    wait_until(lambda: system.openings().min() < 0.03, 20, 'closed')
    wait_until(lambda: system.openings()[-1] > 0.97, 20, 'open')
    assert np.ptp(system.positions()[:, 0]) > 0.05
    assert 'TRIP' not in system.node.log


def test_a_gripper_action_without_its_messages_is_refused_by_name(monkeypatch):
    from vla_adapter_ros.errors import ContractError
    from vla_adapter_ros.nodes.common.gripper_action import gripper_action_type

    monkeypatch.setitem(__import__('sys').modules, 'control_msgs', None)
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    with pytest.raises(ContractError, match='sudo apt install ros-jazzy-control-msgs'):
        gripper_action_type('gripper_command')
