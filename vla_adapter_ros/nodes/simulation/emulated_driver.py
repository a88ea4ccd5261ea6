# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Common to both emulated drivers: faults, the hand that moves a torque-free arm, publishing.

They stand in for the vendor's driver in tests and rehearsals. They use its names and units, not
the robot contract's: what is tested against them must get the contract right.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.common.messages import EVERY
from vla_adapter_ros.nodes.common.parameters import declare_parameters, parameter, read_parameters
from vla_adapter_ros.simulation.servo_arm import JOINTS, STROKE, ServoArm, opening_to_metres

JOINT_NAMES = tuple(f'Joint{i + 1}' for i in range(JOINTS))
GRIPPER_NAME = 'Gripper'
FAULTS = (
    'none', 'no_reply', 'raw_zero', 'frozen', 'silent', 'gripper_inverted', 'joints_swapped'
)
_TRUTH_PERIOD_S = 0.02
_FAULT_HELP = (
    'none; no_reply: the arm never answers (zeros, fresh stamps); raw_zero: servos answer 0'
    ' (all −π); frozen: the last state forever; silent: no joint states at all;'
    ' gripper_inverted: the state says open for closed; joints_swapped: Joint1 and Joint2 are'
    ' reported as each other.'
)


@dataclass(frozen=True)
class EmulatedDriverParameters:
    """Parameters of both emulated drivers."""

    start: str = parameter(
        '0.2,-0.3,0.6,0.1,0.5,0.0', 'Where the arm stands when switched on: six angles [rad].'
    )
    default_speed_deg_s: float = parameter(
        20.0, 'Speed of the arm where a command gives none [deg/s].', low=1.0, high=440.0
    )
    fault: str = parameter('none', _FAULT_HELP, choices=FAULTS)


def parse_joints(text: str) -> np.ndarray:
    """Return (6,) joint angles of a comma-separated text. Raises VLAAdapterError."""
    try:
        joints = np.array([float(part) for part in text.split(',')])
    except ValueError:
        joints = np.zeros(0)
    if joints.shape != (JOINTS,) or not np.isfinite(joints).all():
        raise VLAAdapterError(f'parameter start: got {text!r}, expected six numbers: 0,0,0,0,0,0')
    return joints


class EmulatedDriver(Node):
    """A driver in front of a `ServoArm`; subclasses are the two front ends."""

    kind: type[EmulatedDriverParameters] = EmulatedDriverParameters

    def __init__(self, name: str) -> None:
        super().__init__(name)
        declare_parameters(self, self.kind, live=('fault',))
        self.parameters = read_parameters(self, self.kind)
        self.arm = ServoArm(parse_joints(self.parameters.start))
        self._last_state: tuple[np.ndarray, float] | None = None
        self._last_step = time.monotonic()
        self._states = self.create_publisher(JointState, 'joint_states', EVERY)
        # What a person's hand does to an arm without torque; the real driver has no such topic.
        self.create_subscription(JointState, '~/hand', self._on_hand, EVERY)
        # What a bystander sees, whatever the joint states say.
        self._truth = self.create_publisher(JointState, '~/arm', EVERY)
        self.create_timer(_TRUTH_PERIOD_S, self._publish_truth)

    @property
    def fault(self) -> str:
        """The fault that is shown now; one of FAULTS."""
        return self.get_parameter('fault').value

    @property
    def speed(self) -> float:
        """The driver's default speed [rad/s]."""
        return float(np.deg2rad(self.parameters.default_speed_deg_s))

    def advance(self) -> None:
        """Move the arm up to now."""
        now = time.monotonic()
        self.arm.step(now - self._last_step)
        self._last_step = now

    def measure(self) -> tuple[np.ndarray, float]:
        """Return (6,) joints [rad] and the gripper [m] as the driver would report them."""
        if self.fault == 'no_reply':
            return np.zeros(JOINTS), 0.0
        if self.fault == 'raw_zero':
            return np.full(JOINTS, -np.pi), STROKE
        if self.fault == 'frozen' and self._last_state is not None:
            return self._last_state
        metres = opening_to_metres(self.arm.gripper)
        if self.fault == 'gripper_inverted':
            metres = STROKE - metres
        joints = self.arm.joints
        if self.fault == 'joints_swapped':
            joints[[0, 1]] = joints[[1, 0]]
        self._last_state = (joints, metres)
        return self._last_state

    def publish_state(
        self, joints: np.ndarray, gripper: float, order: list[int] | None = None
    ) -> None:
        """Publish a joint state stamped now, which says nothing about when it was measured."""
        if self.fault == 'silent':
            return
        names = [*JOINT_NAMES, GRIPPER_NAME]
        positions = [*joints.tolist(), gripper]
        order = order or list(range(len(names)))
        message = JointState(
            name=[names[i] for i in order],
            position=[positions[i] for i in order],
            # Both front ends read velocities once, at the start, and repeat them.
            velocity=[0.0] * len(names),
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._states.publish(message)

    def _publish_truth(self) -> None:
        self.advance()
        message = JointState(
            name=[*JOINT_NAMES, GRIPPER_NAME],
            position=[*self.arm.joints.tolist(), opening_to_metres(self.arm.gripper)],
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._truth.publish(message)

    def _on_hand(self, message: JointState) -> None:
        values = dict(zip(message.name, message.position))
        joints = [values.get(n, p) for n, p in zip(JOINT_NAMES, self.arm.joints.tolist())]
        self.arm.move_by_hand(np.array(joints), values.get(GRIPPER_NAME))
