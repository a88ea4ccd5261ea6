# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Node `controller_manager`, emulated: front end A, the vendor's ros2_control driver.

Emulated with its traps: the drive to the zero pose at activation, one speed whatever velocities a
trajectory has, positions that refresh at 20 Hz under 200 Hz stamps, joints in any order, a new
trajectory that starts from the measured (old) state.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.nodes.common.messages import EVERY, LATCHED
from vla_adapter_ros.nodes.common.node_main import run_node
from vla_adapter_ros.nodes.common.parameters import parameter
from vla_adapter_ros.nodes.simulation.emulated_driver import (
    GRIPPER_NAME,
    JOINT_NAMES,
    EmulatedDriver,
    EmulatedDriverParameters,
)
from vla_adapter_ros.nodes.simulation.trajectories import received_trajectory
from vla_adapter_ros.simulation.servo_arm import JOINTS, metres_to_opening
from vla_adapter_ros.simulation.trajectory_controller import (
    JointTrajectoryController,
    Trajectory,
    TrajectoryError,
)

_RATE_HZ = 200.0
_REFRESH_PERIOD_S = 0.05
# Humble's joint_state_broadcaster iterates over an unordered map.
_ORDER = [3, 6, 0, 5, 1, 4, 2]


@dataclass(frozen=True)
class Ros2ControlParameters(EmulatedDriverParameters):
    """Parameters of `emulated_ros2_control`."""

    startup_motion: bool = parameter(
        True, 'Drive to the zero pose and open the gripper at activation, as the driver does.'
    )
    open_loop_control: bool = parameter(
        False, 'Start new trajectories from the commanded instead of the measured state.'
    )
    allow_nonzero_velocity_at_trajectory_end: bool = parameter(
        False, 'As the controllers\' parameter: Humble true, Jazzy and later false.'
    )


class Ros2Control(EmulatedDriver):
    """Two trajectory controllers and a joint state broadcaster in front of the servos."""

    kind = Ros2ControlParameters

    def __init__(self) -> None:
        super().__init__('controller_manager')
        zeros = self.parameters.startup_motion
        joints, gripper = (np.zeros(JOINTS), 0.0) if zeros else self.measure()
        moving_end = self.parameters.allow_nonzero_velocity_at_trajectory_end
        self._controllers = {
            'Alicia_controller': JointTrajectoryController(
                JOINT_NAMES, joints, allow_nonzero_velocity_at_end=moving_end
            ),
            'Gripper_controller': JointTrajectoryController(
                [GRIPPER_NAME], [gripper], allow_nonzero_velocity_at_end=moving_end
            ),
        }
        self._measured = self.measure()
        self._refreshed = time.monotonic()
        for name in self._controllers:
            self.create_subscription(
                JointTrajectory, f'{name}/joint_trajectory', partial(self._on_trajectory, name),
                EVERY,
            )
        self._describe()
        self.create_timer(1.0 / _RATE_HZ, self._tick)
        self.get_logger().info('emulated Alicia-D, ros2_control driver')

    def _describe(self) -> None:
        """Publish what of a robot description concerns the driver: its hardware parameters."""
        self._description = self.create_publisher(String, 'robot_description', LATCHED)
        self._description.publish(String(data=(
            '<robot name="alicia_d"><ros2_control name="arm" type="system"><hardware>'
            '<plugin>alicia_d_driver/AliciaDHardwareInterface</plugin>'
            '<param name="gripper_type">50mm</param>'
            f'<param name="default_speed_deg_s">{self.parameters.default_speed_deg_s}</param>'
            '</hardware></ros2_control></robot>'
        )))

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._refreshed >= _REFRESH_PERIOD_S:
            self._measured, self._refreshed = self.measure(), now
        arm, _ = self._controllers['Alicia_controller'].sample(now)
        gripper, _ = self._controllers['Gripper_controller'].sample(now)
        self.advance()
        self.arm.command(arm, metres_to_opening(float(gripper[0])), self.speed)
        self.publish_state(*self._measured, _ORDER)

    def _on_trajectory(self, name: str, message: JointTrajectory) -> None:
        controller, now = self._controllers[name], time.monotonic()
        try:
            if not message.points:
                # An empty message means: stop and hold.
                controller.hold(controller.sample(now)[0])
                return
            clock = self.get_clock().now().nanoseconds * 1e-9
            trajectory = received_trajectory(message, now, clock)
            if not self.parameters.open_loop_control:
                self._accept_from_measured(name, trajectory, now)
            else:
                controller.accept(trajectory, now)
        except TrajectoryError as error:
            self.get_logger().warning(f'{name} refused a trajectory: {error}')

    def _accept_from_measured(self, name: str, trajectory: Trajectory, now: float) -> None:
        joints, gripper = self._measured
        fresh = JointTrajectoryController(
            self._controllers[name].joint_names,
            joints if name == 'Alicia_controller' else [gripper],
            allow_nonzero_velocity_at_end=(
                self.parameters.allow_nonzero_velocity_at_trajectory_end
            ),
        )
        fresh.accept(trajectory, now)
        self._controllers[name] = fresh


def main(args: Sequence[str] | None = None) -> None:
    """Run the emulated driver."""
    sys.exit(run_node('emulated_ros2_control', __doc__, Ros2ControlParameters, Ros2Control, args))


if __name__ == '__main__':
    main()
