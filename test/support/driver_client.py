# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A node in the test's own process that talks to a driver as a policy node would."""

from __future__ import annotations

import time

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from support.graph_client import RosClient
from support.ros_harness import wait_until
from vla_adapter_ros.nodes.common.messages import to_duration

JOINTS = [f'Joint{i}' for i in range(1, 7)]


class DriverClient(RosClient):
    """Records `/joint_states` with receive times; publishes on the driver's topics."""

    def __init__(self, environment: dict):
        super().__init__(environment, 'client')
        self.times: list[float] = []
        self.states: list[JointState] = []
        self.node.create_subscription(JointState, '/joint_states', self._on_state, 100)
        self._publishers: dict[str, object] = {}
        self.start()

    def _on_state(self, message: JointState):
        self.times.append(time.monotonic())
        self.states.append(message)

    def wait_for_states(self, count: int = 1) -> None:
        seen = len(self.states)
        wait_until(lambda: len(self.states) >= seen + count, 20, 'joint states')

    @property
    def joints(self) -> np.ndarray:
        """(6,) the newest joint positions."""
        return joints_of(self.states[-1])

    @property
    def gripper(self) -> float:
        return dict(zip(self.states[-1].name, self.states[-1].position))['Gripper']

    def history(self) -> np.ndarray:
        """(N, 6) all joint positions so far."""
        return np.array([joints_of(state) for state in list(self.states)])

    def publish(self, topic: str, message) -> None:
        """Publish once somebody listens."""
        if topic not in self._publishers:
            self._publishers[topic] = self.node.create_publisher(type(message), topic, 10)
        publisher = self._publishers[topic]
        wait_until(lambda: publisher.get_subscription_count() > 0, 20, f'listener on {topic}')
        publisher.publish(message)

    def command(self, positions: dict, speed: float | None = None) -> None:
        """Send a joint command of front end B."""
        message = JointState(name=list(positions), position=[float(v) for v in positions.values()])
        if speed is not None:
            message.velocity = [speed] * len(positions)
        self.publish('/joint_commands', message)

    def trajectory(self, controller: str, names, points) -> None:
        """Send (time, positions) points to a controller of front end A."""
        message = JointTrajectory(joint_names=list(names))
        for seconds, positions in points:
            message.points.append(JointTrajectoryPoint(
                positions=[float(p) for p in positions], time_from_start=to_duration(seconds)
            ))
        self.publish(f'/{controller}/joint_trajectory', message)

    def flag(self, topic: str, value: bool) -> None:
        self.publish(topic, Bool(data=value))


def joints_of(state: JointState) -> np.ndarray:
    values = dict(zip(state.name, state.position))
    return np.array([values[name] for name in JOINTS])
