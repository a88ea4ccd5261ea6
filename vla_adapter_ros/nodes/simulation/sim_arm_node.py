# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The simulated Alicia-D with its cameras, on the topics of the real driver (front end A).

It publishes `joint_states` and both image topics and obeys the two trajectory topics as a
ros2_control joint_trajectory_controller does. `objects` and `~/success` say what only a simulation
knows: the scripted expert and the demo use them, policies do not.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.cameras.camera_messages import camera_info_message
from vla_adapter_ros.nodes.common.arm_commands import namespace_problem
from vla_adapter_ros.nodes.common.messages import (
    COMMAND,
    EVERY,
    LATCHED,
    image_message,
    joint_state_message,
    to_time,
)
from vla_adapter_ros.nodes.common.node_main import run_node
from vla_adapter_ros.nodes.common.parameters import (
    FRAME_PREFIX,
    declare_parameters,
    parameter,
    read_parameters,
)
from vla_adapter_ros.nodes.simulation.scene_markers import scene_markers
from vla_adapter_ros.nodes.simulation.sim_cameras import CameraThread, camera_intrinsics
from vla_adapter_ros.nodes.simulation.sim_window import SimWindow
from vla_adapter_ros.nodes.simulation.trajectories import received_trajectory
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.levels.ranges import LEVELS, NOMINAL
from vla_adapter_ros.simulation.tasks import TASKS, Task, TaskOptions, make_task
from vla_adapter_ros.simulation.trajectory_controller import (
    JointTrajectoryController,
    TrajectoryError,
)

T = TypeVar('T')
# Physics that falls further behind than this does not try to catch up [s].
_MAX_CATCH_UP = 1.0
# In simulated time [s]. Poses that are 0.1 s old are 2 cm behind the hand that carries the object:
# the expert would believe that it has lost it.
_OBJECTS_PERIOD = 0.02
LEVEL = 'How much light, cameras, colours, images and servos vary.'
# As in process: success must last for some of these.
_SUCCESS_PERIOD = 0.1


@dataclass(frozen=True)
class SimArmParameters:
    """Parameters of `sim_arm`."""

    robot: str = parameter('alicia_d', "Robot contract; must be the policy node's.")
    task: str = parameter('tabletop', 'What lies on the table.', choices=tuple(TASKS))
    seed: int = parameter(0, 'Seed of the scene; each reset adds one.', low=0, high=2**31 - 1)
    level: str = parameter(NOMINAL, LEVEL, choices=tuple(LEVELS))
    camera_rate: float = parameter(30.0, 'Rate of both cameras [Hz].', low=0.1, high=240.0)
    state_rate: float = parameter(100.0, 'Rate of joint_states [Hz].', low=1.0, high=200.0)
    publish_clock: bool = parameter(
        False,
        'Publish /clock; others then set use_sim_time. The simulation then waits for its cameras '
        'and becomes slower on a busy machine, instead of jumping.',
    )
    real_time_factor: float = parameter(
        1.0, 'Simulated seconds in one second; with publish_clock at most.', low=0.01, high=100.0
    )
    frame_prefix: str = parameter('', FRAME_PREFIX)
    window: bool = parameter(False, "Open MuJoCo's window; needs a display.")


class SimArmNode(Node):
    """Node `sim_arm`; README.md lists its topics.

    Attributes:
        after_step: called after every physics step, under `lock` (a referee looks then).
        after_image: called in the cameras' thread with each published image, as in
            `CameraThread`; the pixels are only lent.
        wait_at: simulated time, as in stamps, does not pass this [s]; with publish_clock.
    """

    def __init__(self) -> None:
        super().__init__('sim_arm', automatically_declare_parameters_from_overrides=True)
        declare_parameters(self, SimArmParameters, live=())
        self.parameters = read_parameters(self, SimArmParameters)
        self.contract = resolve_contract(self.parameters.robot)
        self._prefix = self.parameters.frame_prefix
        self.lock = threading.Lock()
        self.task = self._make_task()
        self.simulation = ArmSimulation()
        self.task.reset(self.simulation, self.parameters.seed)
        self._seed = self.parameters.seed
        self.after_step: Callable[[], object] | None = None
        self.after_image: Callable[[str, np.ndarray, float], object] | None = None
        self.wait_at = math.inf
        self._clock_offset = 0.0
        self._begin_scene()
        self._last_tick = time.monotonic()
        self._make_outputs()
        self._make_inputs(self.contract)
        self._cameras = self._start_cameras()
        self._window = None
        if self.parameters.window:
            self._window = SimWindow(self.simulation, self.get_logger().error)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(self._tick_period(), self._tick, clock=steady)
        self.get_logger().info(
            f'simulated {self.contract.name}: task {self.parameters.task!r}, '
            f'on the table: {", ".join(self.simulation.object_names)}'
        )

    def _make_task(self) -> Task:
        return make_task(self.parameters.task, TaskOptions(level=self.parameters.level))

    def close(self) -> None:
        """Stop rendering and free the GL context."""
        self._cameras.close()
        if self._window is not None:
            self._window.close()
        self.simulation.close()

    def arrange(self, set_up: Callable[[ArmSimulation], T]) -> T:
        """Let `set_up` reset the simulation to another scene; returns what it returns."""
        with self.lock:
            # A clock that goes back would be a fault to those who live on it.
            self._clock_offset += self.simulation.time
            # An instruction of the last scene may name objects that are gone.
            self.task = self._make_task()
            result = set_up(self.simulation)
            self._begin_scene()
        return result

    def _begin_scene(self) -> None:
        positions = self.simulation.targets
        names = self.contract.driver_names
        self._arm = JointTrajectoryController(names[:-1], positions[:-1])
        self._gripper = JointTrajectoryController(names[-1:], positions[-1:])
        self._success = False
        self._next_objects = self._next_success = 0.0

    def _tick_period(self) -> float:
        period = 1.0 / self.parameters.state_rate
        # With a clock of our own a tick is always as long in simulated time, however late it is.
        faster = self.parameters.real_time_factor if self.parameters.publish_clock else 1.0
        return period / faster

    def _make_outputs(self) -> None:
        self._states = self.create_publisher(JointState, 'joint_states', EVERY)
        # Reliable as real cameras are: RViz asks for that, and who does not takes them too.
        self._images = {
            camera: (
                self.create_publisher(Image, f'{camera}/image', COMMAND),
                self.create_publisher(CameraInfo, f'{camera}/camera_info', COMMAND),
            )
            for camera in self.simulation.camera_names
        }
        self._objects = self.create_publisher(MarkerArray, 'objects', EVERY)
        self._successes = self.create_publisher(Bool, '~/success', LATCHED)
        self._clock_publisher = None
        if self.parameters.publish_clock:
            self._clock_publisher = self.create_publisher(ClockMessage, '/clock', EVERY)

    def _make_inputs(self, contract: RobotContract) -> None:
        if problem := namespace_problem(self, contract):
            raise VLAAdapterError(problem)
        front_end = contract.front_end
        if front_end.kind != 'joint_trajectory' or not front_end.gripper_topic:
            raise VLAAdapterError(
                f'robot {contract.name}: sim_arm has front end joint_trajectory with a '
                f'gripper_topic only; emulated_robot stands in for other robots'
            )
        for topic, name in ((front_end.arm_topic, '_arm'), (front_end.gripper_topic, '_gripper')):
            self.create_subscription(
                JointTrajectory, topic, partial(self._on_trajectory, name), COMMAND
            )
        self.create_subscription(
            String, 'vla_adapter/instruction', self._on_instruction, LATCHED
        )
        self.create_service(Trigger, '~/reset', self._on_reset)

    def _start_cameras(self) -> CameraThread:
        return CameraThread(
            self.simulation,
            self.lock,
            self._image_sizes(),
            self.parameters.camera_rate,
            self._publish_image,
            self._now,
            self.get_logger().error,
            lockstep=self.parameters.publish_clock,
        )

    def _image_sizes(self) -> dict[str, tuple[int, int]]:
        cameras = self.contract.cameras
        if missing := set(cameras) - set(self.simulation.camera_names):
            raise VLAAdapterError(
                f'robot {self.contract.name}: the simulation has no camera {sorted(missing)}, '
                f'only {list(self.simulation.camera_names)}'
            )
        return {name: (camera.width, camera.height) for name, camera in cameras.items()}

    def _now(self) -> float:
        """Time of stamps [s]: simulated time if we publish it, else the node's clock."""
        if self.parameters.publish_clock:
            return self._clock_offset + self.simulation.time
        return self.get_clock().now().nanoseconds * 1e-9

    def _publish_image(self, camera: str, pixels: np.ndarray, stamp: float) -> None:
        when, frame_id = to_time(stamp), f'{self._prefix}{camera}_optical_frame'
        height, width, _ = pixels.shape
        intrinsics = camera_intrinsics(self.simulation.model, camera, width, height)
        images, infos = self._images[camera]
        images.publish(image_message(pixels, when, frame_id))
        infos.publish(camera_info_message(intrinsics, when, frame_id))
        # Read once: another thread takes it away when an episode ends.
        if (look := self.after_image) is not None:
            look(camera, pixels, stamp)

    def _tick(self) -> None:
        elapsed = self._due()
        if not elapsed:
            return
        # The state that follows is that of now, however long its computing takes.
        stamp = self._now()
        with self.lock:
            self._advance(elapsed)
            if self._clock_publisher is not None:
                stamp = self._now()
            positions, velocities = self.simulation.measured
            if self._window is not None:
                self._window.show()
        if self._clock_publisher is not None:
            self._clock_publisher.publish(ClockMessage(clock=to_time(stamp)))
        self._states.publish(
            joint_state_message(self.contract.driver_names, positions, velocities, to_time(stamp))
        )
        if self.simulation.time >= self._next_objects - 1e-9:
            self._next_objects = self.simulation.time + _OBJECTS_PERIOD
            self._publish_objects()
        if self.simulation.time >= self._next_success - 1e-9:
            self._next_success += _SUCCESS_PERIOD
            self._publish_success()

    def _due(self) -> float:
        """Return how far [s] the simulation shall advance now."""
        steady = time.monotonic()
        elapsed, self._last_tick = steady - self._last_tick, steady
        if not self.parameters.publish_clock:
            return min(elapsed, _MAX_CATCH_UP) * self.parameters.real_time_factor
        period = 1.0 / self.parameters.state_rate
        waits = self._cameras.due() or self._now() + period > self.wait_at
        return 0.0 if waits else period

    def _advance(self, duration: float) -> None:
        """Step physics in slices, with fresh commanded states in each."""
        step = self.simulation.timestep
        while duration > 1e-9:
            part = min(step, duration)
            arm, gripper = (c.sample(self.simulation.time) for c in (self._arm, self._gripper))
            self.simulation.set_targets(
                np.concatenate([arm[0], gripper[0]]), np.concatenate([arm[1], gripper[1]])
            )
            self.simulation.step(part)
            duration -= part
            if self.after_step is not None:
                self.after_step()

    def _on_trajectory(self, controller: str, message: JointTrajectory) -> None:
        with self.lock:
            now = self.simulation.time
            try:
                # The controllers live on simulation time; stamps may be on the system's clock.
                trajectory = received_trajectory(message, now, self._now())
                getattr(self, controller).accept(trajectory, now)
            except TrajectoryError as error:
                self.get_logger().warning(
                    f'{controller[1:]} trajectory refused: {error}', throttle_duration_sec=1.0
                )

    def _on_instruction(self, message: String) -> None:
        with self.lock:
            try:
                self.task.set_instruction(self.simulation, message.data)
            except VLAAdapterError as error:
                self.get_logger().warning(f'success is not evaluated: {error}')
            self._success = False

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._seed += 1
        self.arrange(lambda simulation: self.task.reset(simulation, self._seed))
        response.success, response.message = True, f'new scene, seed {self._seed}'
        return response

    def _publish_objects(self) -> None:
        if not self._objects.get_subscription_count():
            return
        with self.lock:
            poses, stamp = self.simulation.object_poses(), self._now()
        self._objects.publish(scene_markers(poses, f'{self._prefix}base_link', to_time(stamp)))

    def _publish_success(self) -> None:
        with self.lock:
            success = self.task.settled(self.simulation)
        if success and not self._success:
            self.get_logger().info(f'done: {self.task.instruction}')
        self._success = success
        self._successes.publish(Bool(data=success))


def main(args: Sequence[str] | None = None) -> None:
    """Run the simulated arm."""
    sys.exit(run_node('sim_arm', __doc__, SimArmParameters, SimArmNode, args))


if __name__ == '__main__':
    main()
