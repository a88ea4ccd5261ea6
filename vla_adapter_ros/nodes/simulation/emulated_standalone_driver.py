# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node `alicia_d_driver_node`, emulated: front end B, the vendor's standalone driver.

Emulated with its traps: zeros before the first answer, a missing joint is sent to 0 rad, one
common speed, stamps of the time of publishing, no limits, no interpolation, no watchdog.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from vla_adapter_ros.nodes.common.messages import EVERY
from vla_adapter_ros.nodes.common.node_main import run_node
from vla_adapter_ros.nodes.common.parameters import parameter
from vla_adapter_ros.nodes.simulation.emulated_driver import (
    GRIPPER_NAME,
    JOINT_NAMES,
    EmulatedDriver,
    EmulatedDriverParameters,
)
from vla_adapter_ros.simulation.servo_arm import JOINTS

_RATE_HZ = 100.0


@dataclass(frozen=True)
class StandaloneDriverParameters(EmulatedDriverParameters):
    """Parameters of `emulated_standalone_driver`."""

    first_reply_after: float = parameter(
        0.5, 'The arm first answers this long after the start [s]; zeros until then.',
        low=0.0, high=600.0,
    )


class StandaloneDriver(EmulatedDriver):
    """`joint_commands` in, `joint_states` out; `demonstration` and `zero_calibrate`."""

    kind = StandaloneDriverParameters

    def __init__(self) -> None:
        super().__init__('alicia_d_driver_node')
        self._replies_at = time.monotonic() + self.parameters.first_reply_after
        self.create_subscription(JointState, 'joint_commands', self._on_command, EVERY)
        self.create_subscription(Bool, 'demonstration', self._on_demonstration, EVERY)
        self.create_subscription(Bool, 'zero_calibrate', self._on_zero_calibrate, EVERY)
        self.create_timer(1.0 / _RATE_HZ, self._tick)
        self.get_logger().info('emulated Alicia-D, standalone driver')

    def _tick(self) -> None:
        self.advance()
        if time.monotonic() < self._replies_at:
            self.publish_state(np.zeros(JOINTS), 0.0)
        else:
            self.publish_state(*self.measure())

    def _on_command(self, message: JointState) -> None:
        values = dict(zip(message.name, message.position))
        joints = np.array([values.get(name, 0.0) for name in JOINT_NAMES])
        speed = max((abs(v) for v in message.velocity), default=self.speed)
        self.advance()
        self.arm.command(joints, values.get(GRIPPER_NAME), speed)

    def _on_demonstration(self, message: Bool) -> None:
        self.advance()
        self.arm.set_torque(not message.data)

    def _on_zero_calibrate(self, message: Bool) -> None:
        if message.data:
            self.arm.set_zero()
            self.arm.set_torque(True)
            self.get_logger().warning('zero of all joints rewritten; the real arm keeps this')


def main(args: Sequence[str] | None = None) -> None:
    """Run the emulated driver."""
    name = 'emulated_standalone_driver'
    sys.exit(run_node(name, __doc__, StandaloneDriverParameters, StandaloneDriver, args))


if __name__ == '__main__':
    main()
