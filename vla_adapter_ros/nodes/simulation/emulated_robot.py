# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node `emulated_robot`: the driver of any robot that a contract describes, emulated.

For rehearsals and tests of a contract without the robot: it listens where the contract says that
the driver listens, and publishes `joint_states`. It has no dynamics and no cameras, and takes
names and units from the contract: whether they are the robot's, only the robot can tell.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.nodes.common.messages import EVERY, joint_state_message
from vla_adapter_ros.nodes.common.node_main import run_node
from vla_adapter_ros.nodes.common.parameters import declare_parameters, parameter, read_parameters
from vla_adapter_ros.nodes.simulation.gripper_server import GripperServer
from vla_adapter_ros.nodes.simulation.trajectories import received_trajectory
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract
from vla_adapter_ros.simulation.servo_gripper import ServoGripper
from vla_adapter_ros.simulation.trajectory_controller import (
    JointTrajectoryController,
    TrajectoryError,
)

_RATE_HZ = 100.0


@dataclass(frozen=True)
class EmulatedRobotParameters:
    """Parameters of `emulated_robot`."""

    robot: str = parameter('generic_jtc', 'Robot contract: name or YAML file.')
    object_at: float = parameter(
        0.0, 'Opening at which an object stops the gripper, 0: none [open fraction].',
        low=0.0, high=1.0,
    )  # fmt: skip


class EmulatedRobot(Node):
    """An arm that follows its commands exactly, and a servo gripper."""

    def __init__(self) -> None:
        super().__init__('emulated_robot')
        declare_parameters(self, EmulatedRobotParameters)
        parameters = read_parameters(self, EmulatedRobotParameters)
        self.contract = contract = resolve_contract(parameters.robot)
        # Not at zero: exact zeros are what a driver publishes that has no data yet.
        middle = 0.5 * (contract.lower + contract.upper)[:-1]
        self._arm = JointTrajectoryController(contract.driver_joint_names, middle + 0.01)
        self.gripper = ServoGripper(1.0, contract.gripper.max_velocity, parameters.object_at)
        self._last = time.monotonic()
        self._states = self.create_publisher(JointState, 'joint_states', EVERY)
        self._listen(contract)
        self.create_timer(1.0 / _RATE_HZ, self._tick)
        self.get_logger().info(f'emulated {contract.name}: {", ".join(contract.names)}')

    def _listen(self, contract: RobotContract) -> None:
        front_end = contract.front_end
        self._server: GripperServer | None = None
        if front_end.kind == 'joint_commands':
            self._streamed = self._arm.sample(time.monotonic())[0]
            self.create_subscription(JointState, front_end.arm_topic, self._on_command, EVERY)
            return
        self.create_subscription(JointTrajectory, front_end.arm_topic, self._on_arm, EVERY)
        if front_end.gripper is not None:
            self._server = GripperServer(self, contract, self.gripper)
        else:
            self._fingers = JointTrajectoryController(
                contract.driver_names[-1:], front_end.gripper_command(np.array([1.0]))
            )
            topic = front_end.gripper_topic
            self.create_subscription(JointTrajectory, topic, self._on_gripper, EVERY)

    def _tick(self) -> None:
        now = time.monotonic()
        contract = self.contract
        joints = self._arm.sample(now)[0]
        if contract.front_end.kind == 'joint_commands':
            joints = self._streamed
        elif self._server is None:
            command = float(self._fingers.sample(now)[0][0])
            self.gripper.go(contract.front_end.gripper_fraction(command))
        self.gripper.step(now - self._last)
        self._last = now
        if self._server is not None:
            self._server.tick()
        positions = np.append(joints, contract.gripper.to_position(self.gripper.opening))
        stamp = self.get_clock().now().to_msg()
        self._states.publish(
            joint_state_message(contract.driver_names, positions, np.zeros(len(positions)), stamp)
        )

    def _on_command(self, message: JointState) -> None:
        values = dict(zip(message.name, message.position))
        names = self.contract.driver_names
        # As the drivers do with a joint that is missing.
        self._streamed = np.array([values.get(name, 0.0) for name in names[:-1]])
        if names[-1] in values:
            self.gripper.go(self.contract.front_end.gripper_fraction(values[names[-1]]))

    def _on_arm(self, message: JointTrajectory) -> None:
        self._follow(self._arm, message)

    def _on_gripper(self, message: JointTrajectory) -> None:
        self._follow(self._fingers, message)

    def _follow(self, controller: JointTrajectoryController, message: JointTrajectory) -> None:
        now = time.monotonic()
        try:
            if not message.points:
                controller.hold(controller.sample(now)[0])
                return
            stamp_now = self.get_clock().now().nanoseconds * 1e-9
            controller.accept(received_trajectory(message, now, stamp_now), now)
        except TrajectoryError as error:
            self.get_logger().warning(f'refused a trajectory: {error}')


def main(args: Sequence[str] | None = None) -> None:
    """Run the emulated robot."""
    sys.exit(run_node('emulated_robot', __doc__, EmulatedRobotParameters, EmulatedRobot, args))


if __name__ == '__main__':
    main()
