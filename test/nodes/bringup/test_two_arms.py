# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Two simulated arms beside one with a driver: each obeys its own policy node and no other."""

from __future__ import annotations

import contextlib
import os

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker
from vla_adapter_ros.msg import PolicyStatus

from support.graph_client import RosClient
from support.ros_harness import isolated_environment, wait_until
from vla_adapter_ros.nodes.bringup.bringup import Bringup
from vla_adapter_ros.nodes.bringup.launch_model import NodeProcess
from vla_adapter_ros.nodes.bringup.nodes_to_start import nodes_to_start
from vla_adapter_ros.nodes.common.messages import EVERY, LATCHED

ARMS = ('left', 'right')
# A servo comes to rest within a count of where it stood when it was switched on [rad].
REST = 0.005
MOVED = 0.02


def arm(side: str) -> list[NodeProcess]:
    return nodes_to_start({
        'sim': 'true', 'namespace': side, 'frame_prefix': f'{side}/', 'policy': 'random',
        'enable': 'false', 'instruction': 'move', 'log_level': 'warn',
    })  # fmt: skip


class Client(RosClient):
    """Sees both arms and the driver."""

    def __init__(self, environment: dict):
        super().__init__(environment, 'user')
        self.positions: dict[str, list[np.ndarray]] = {}
        self.status: dict[str, PolicyStatus] = {}
        self.frames: dict[str, str] = {}
        self.commands: list[JointTrajectory] = []
        create = self.node.create_subscription
        for name, topic in (*((s, f'/{s}/joint_states') for s in ARMS),
                            ('driver', '/controller_manager/arm')):  # fmt: skip
            self.positions[name] = []
            create(JointState, topic, lambda m, n=name: self._keep(n, m), EVERY)
        for side in ARMS:
            status = f'/{side}/vla_adapter/status'
            create(PolicyStatus, status, lambda m, s=side: self.status.update({s: m}), LATCHED)
            create(
                Marker, f'/{side}/vla_adapter/plan_path',
                lambda m, s=side: self.frames.update({s: m.header.frame_id}), EVERY,
            )  # fmt: skip
        for controller in ('Alicia', 'Gripper'):
            topic = f'/{controller}_controller/joint_trajectory'
            create(JointTrajectory, topic, self.commands.append, EVERY)
        self.start()

    def _keep(self, name: str, message: JointState) -> None:
        by_name = dict(zip(message.name, message.position))
        self.positions[name].append(np.array([by_name[f'Joint{i}'] for i in range(1, 7)]))

    def enable(self, side: str, on: bool = True) -> bool:
        return self.call(SetBool, f'/{side}/vla_adapter/enable', SetBool.Request(data=on)).success

    def stop(self, side: str) -> bool:
        return self.call(Trigger, f'/{side}/vla_adapter/stop', Trigger.Request()).success

    def travel(self, name: str, since: int) -> float:
        """How far a joint went from where it was at message `since` [rad]."""
        states = np.stack(self.positions[name][since:])
        return float(np.abs(states - states[0]).max())

    def count(self) -> dict[str, int]:
        return {name: len(states) for name, states in self.positions.items()}

    def wait_for_motion(self, side: str) -> None:
        since = len(self.positions[side]) - 1
        wait_until(lambda: self.travel(side, since) > MOVED, 30.0, f'motion of {side}')


@pytest.fixture(scope='module')
def arms(tmp_path_factory):
    folder = tmp_path_factory.mktemp('two_arms')
    environment = isolated_environment()
    before = dict(os.environ)
    os.environ.update(environment)
    driver = NodeProcess(
        'emulated_ros2_control', 'controller_manager', '', {'startup_motion': False}, (), 'warn'
    )
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: (os.environ.clear(), os.environ.update(before)))
        running = {}
        for name, processes in (('driver', [driver]), *((side, arm(side)) for side in ARMS)):
            running[name] = Bringup(processes, folder / name, lambda line: None)
            stack.enter_context(running[name])
        client = stack.enter_context(contextlib.closing(Client(environment)))
        for bringup in running.values():
            bringup.activate(120.0)
        wait_until(lambda: all(client.positions.values()), 30.0, 'joint states of all three')
        wait_until(lambda: len(client.status) == 2, 30.0, 'status of both policy nodes')
        yield client


def settled(client: Client, *names: str) -> dict[str, int]:
    """Wait until arms stand still; returns how many states were received by then."""
    def still():
        recent = [np.stack(client.positions[name][-20:]) for name in names]
        return all(len(r) == 20 and np.ptp(r, axis=0).max() < 1e-3 for r in recent)

    wait_until(still, 30.0, f'rest of {" and ".join(names)}')
    return client.count()


@pytest.mark.slow(reason='five processes with rendering: 20 s')
def test_each_arm_obeys_its_own_policy_and_the_real_driver_hears_none(arms):
    for moving, other in (ARMS, ARMS[::-1]):
        before = settled(arms, *ARMS, 'driver')
        wait_until(lambda s=moving: arms.enable(s), 30.0, f'{moving}: enable')
        arms.wait_for_motion(moving)
        assert arms.travel(other, before[other] - 1) < REST
        assert arms.stop(moving)
        assert arms.frames[moving] == f'{moving}/base_link'
    assert set(arms.frames) == set(ARMS)
    assert arms.travel('driver', 0) < REST
    assert arms.commands == []
    assert arms.node.count_publishers('/Alicia_controller/joint_trajectory') == 0
    assert arms.node.count_subscribers('/Alicia_controller/joint_trajectory') == 2


@pytest.mark.slow(reason='with the test above')
def test_stop_of_one_arm_does_not_stop_the_other(arms):
    settled(arms, *ARMS)
    for side in ARMS:
        wait_until(lambda s=side: arms.enable(s), 30.0, f'{side}: enable')
    for side in ARMS:
        arms.wait_for_motion(side)
    assert arms.stop('left')
    before = settled(arms, 'left')
    arms.wait_for_motion('right')
    assert arms.travel('left', before['left'] - 1) < REST
    assert arms.status['right'].enabled and not arms.status['left'].enabled
    assert arms.stop('right')
