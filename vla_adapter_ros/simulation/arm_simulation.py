# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The simulated Alicia-D on its table: physics, joint servos, cameras, and where objects are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.simulation.layout import (
    PLATE_HEIGHT,
    PLATE_NAME,
    Placement,
    SceneLayout,
    SceneObject,
    SceneOptions,
    sample_layout,
)
from vla_adapter_ros.simulation.levels.appearance import Appearance
from vla_adapter_ros.simulation.levels.camera_image import CameraImages
from vla_adapter_ros.simulation.levels.clutter import CLUTTER
from vla_adapter_ros.simulation.levels.dynamics import Dynamics
from vla_adapter_ros.simulation.levels.patterns import fill_patterns
from vla_adapter_ros.simulation.levels.ranges import find_level
from vla_adapter_ros.simulation.rendering import OffscreenRenderer
from vla_adapter_ros.simulation.scene import (
    ARM_JOINT_NAMES,
    CAMERA_NAMES,
    FINGER_STROKE,
    JOINT_NAMES,
    PARKING_HEIGHT,
    SCENE_FILE,
)

if TYPE_CHECKING:
    from vla_adapter_ros.robot.kinematics import Kinematics

STEP_PERIOD = 0.1  # control period of the simulated arm's contract [s]
# Gripper straight down, tool at (0.235, 0, 0.13) m: the pose before every task.
READY_JOINTS = (-0.0015, -0.0073, 0.4404, 0.0, -1.2184, 0.0015)


@dataclass(frozen=True)
class Pose:
    """Position (3,) [m] and rotation (3, 3) in `base_link`."""

    position: np.ndarray
    rotation: np.ndarray

    @property
    def yaw(self) -> float:
        """Angle [rad] of the x axis about the vertical."""
        return float(np.arctan2(self.rotation[1, 0], self.rotation[0, 0]))


def gripper_down(yaw: float) -> np.ndarray:
    """Return the rotation (3, 3) of `tool0` for a gripper straight down, turned by `yaw` [rad].

    The fingers close along y turned by `yaw`. The z axis of `tool0` points back to the wrist,
    so it is the vertical: a plain turn about z. In the ready pose `yaw` is pi.
    """
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def arm_kinematics() -> Kinematics:
    """Return kinematics of the arm, from its contract; not thread-safe: one for each user."""
    from vla_adapter_ros.robot.contract import contract_path, load_contract
    from vla_adapter_ros.robot.kinematics import Kinematics

    path = contract_path('alicia_d')
    contract = load_contract(path)
    return Kinematics(contract, path.parent / contract.kinematics.urdf)


class ArmSimulation:
    """Arm, gripper, table and objects in MuJoCo.

    Joint vectors are (7,) in the driver's units and order: Joint1…Joint6 [rad], then `Gripper`
    [m of finger travel, 0 = open, 0.025 = closed]. Times are simulation time [s].

    Not thread-safe; render and close in the thread that rendered first.

    Attributes:
        images: what the cameras of this episode make of rendered images.
    """

    joint_names: tuple[str, ...] = JOINT_NAMES
    camera_names: tuple[str, ...] = CAMERA_NAMES

    def __init__(self, options: SceneOptions | None = None, seed: int = 0) -> None:
        self.model = mujoco.MjModel.from_xml_path(str(SCENE_FILE))
        self.data = mujoco.MjData(self.model)
        joints = (*ARM_JOINT_NAMES, 'left_finger')
        self._qpos = np.array([int(self.model.joint(n).qposadr[0]) for n in joints])
        self._dof = np.array([int(self.model.joint(n).dofadr[0]) for n in joints])
        low, high = np.array([self.model.joint(name).range for name in ARM_JOINT_NAMES]).T
        # Limits (7,) of actions in contract order: joints [rad], gripper open fraction.
        self.action_lower, self.action_upper = np.append(low, 0.0), np.append(high, 1.0)
        self._tool = int(self.model.site('tool0').id)
        self._plate_body = int(self.model.body(PLATE_NAME).id)
        self._solid = self.model.geom_contype != 0  # the others are only seen
        fill_patterns(self.model)
        self._appearance = Appearance(self.model)
        self._dynamics = Dynamics(self.model, self._movable_bodies())
        self._renderer: OffscreenRenderer | None = None
        self._slots: dict[str, str] = {}
        self.options = options or SceneOptions()
        self.reset(seed)

    @property
    def time(self) -> float:
        """Simulation time [s] since the last reset."""
        return float(self.data.time)

    @property
    def timestep(self) -> float:
        """Length of one physics step [s]."""
        return float(self.model.opt.timestep)

    @property
    def positions(self) -> np.ndarray:
        """(7,) true joint positions, a copy."""
        return self.data.qpos[self._qpos]

    @property
    def measured(self) -> tuple[np.ndarray, np.ndarray]:
        """(7,) joint positions and velocities [rad/s, m/s] as the servos report them, copies.

        Beyond `nominal` positions are those of the last reading, and velocities are 0, as the
        Alicia-D's driver publishes them.
        """
        if self._servos.direct:
            return self.positions, self.data.qvel[self._dof]
        return self._servos.reading(self.positions), np.zeros(len(self._qpos))

    @property
    def lag(self) -> float:
        """Longest time [s] by which the measured arm is behind its command; 0 at `nominal`."""
        return self._dynamics.lag

    @property
    def targets(self) -> np.ndarray:
        """(7,) joint positions last commanded, a copy."""
        return self._targets.copy()

    @property
    def proprioception(self) -> np.ndarray:
        """(7,) measured state in contract order: joints [rad], gripper as open fraction."""
        return _in_contract_units(self.measured[0])

    @property
    def true_state(self) -> np.ndarray:
        """(7,) state in contract order as it is, not as it is measured: for experts."""
        return _in_contract_units(self.positions)

    @property
    def object_names(self) -> tuple[str, ...]:
        """Names of the things on the table, the plate last if there is one."""
        plate = (PLATE_NAME,) if self.layout.plate is not None else ()
        return (*self._slots, *plate)

    def reset(
        self,
        seed: int | None = None,
        options: SceneOptions | None = None,
        layout: SceneLayout | None = None,
    ) -> SceneLayout:
        """Put the arm in its start pose and the objects where `layout` or the seed puts them.

        Args:
            seed: seed of the random layout (None: a new one).
            options: the objects from now on (None: as before).
            layout: an exact arrangement instead of a random one.

        Raises:
            VLAAdapterError: unknown object, or the objects do not fit.
        """
        self.options = options or self.options
        self.layout = layout or sample_layout(np.random.default_rng(seed), self.options)
        mujoco.mj_resetData(self.model, self.data)
        start = self.layout.start_joints or READY_JOINTS
        closed = (1.0 - self.layout.start_gripper) * FINGER_STROKE
        self.data.qpos[self._qpos] = (*start, closed)
        self.data.joint('right_finger').qpos = closed
        self._place_objects()
        level = find_level(self.options.level)
        self._appearance.apply(level, self.layout, self._slots)
        self._servos = self._dynamics.apply(level, self.layout.look_seed)
        self.images = CameraImages(level, self.layout.look_seed)
        self._targets = np.array([*start, closed])
        self.data.ctrl[:] = self._targets
        self._ahead = 0.0
        mujoco.mj_forward(self.model, self.data)
        if not self._servos.direct:
            self._servos.read(self.positions, 0.0)
        return self.layout

    def _place_objects(self) -> None:
        self._slots = {}
        used: dict[str, int] = {}
        for item, placement in self.layout.objects.items():
            slot = used.get(item.shape, 0)
            used[item.shape] = slot + 1
            self._slots[item.name] = f'{item.shape}_{slot}'
            self._put(f'{item.shape}_{slot}', placement, item.half_height)
        for body, (x, y, yaw) in self.layout.clutter.items():
            self._put(body, Placement(x, y, yaw), CLUTTER[body])
        present = {*self._slots.values(), *self.layout.clutter}
        for body in self._movable_bodies():
            body_id = self.model.body(body).id
            self.model.body_gravcomp[body_id] = 0.0 if body in present else 1.0
            # Parked objects must neither fall nor touch anything.
            geoms = (self.model.geom_bodyid == body_id) & self._solid
            self.model.geom_contype[geoms] = 1 if body in present else 0
            self.model.geom_conaffinity[geoms] = 3 if body in present else 0
        plate = self.layout.plate
        where = (plate.x, plate.y, 0.0) if plate else (0.0, 0.0, PARKING_HEIGHT)
        self.model.body_pos[self._plate_body] = where

    def _movable_bodies(self) -> list[str]:
        return [
            name
            for name in (self.model.joint(i).name for i in range(self.model.njnt))
            if self.model.joint(name).type[0] == mujoco.mjtJoint.mjJNT_FREE
        ]

    def _put(self, body: str, placement: Placement, height: float) -> None:
        half = 0.5 * placement.yaw
        pose = (placement.x, placement.y, height, np.cos(half), 0.0, 0.0, np.sin(half))
        self.data.joint(body).qpos[:] = pose

    def set_targets(self, positions: np.ndarray, velocities: np.ndarray | None = None) -> None:
        """Set the targets of the servos: (7,) positions and, if known, (7,) velocities.

        Raises:
            VLAAdapterError: wrong shape or not finite; the targets stay as they were.
        """
        positions = np.asarray(positions, float)
        if positions.shape != (7,) or not np.isfinite(positions).all():
            raise VLAAdapterError(f'targets: expected 7 finite positions, got {positions!r}')
        self._targets[:] = positions
        control = self._targets.copy()
        if velocities is not None:
            control += self._dynamics.lead * np.asarray(velocities, float)
        if self._servos.direct:
            self.data.ctrl[:] = control
        else:
            self._servos.send(control, self.time)

    def step(self, duration: float) -> None:
        """Advance physics by `duration` [s]; less than a physics step is kept for later."""
        self._ahead += duration
        steps = int(self._ahead / self.timestep + 1e-6)
        self._ahead -= steps * self.timestep
        if steps and self._servos.direct:
            mujoco.mj_step(self.model, self.data, nstep=steps)
            return
        for _ in range(steps):
            control = self._servos.arrived(self.time)
            if control is not None:
                self.data.ctrl[:] = control
            mujoco.mj_step(self.model, self.data)
            self._servos.read(self.positions, self.time)

    def tool_pose(self) -> Pose:
        """Return the pose of `tool0`, between the finger pads."""
        mujoco.mj_kinematics(self.model, self.data)
        rotation = self.data.site_xmat[self._tool].reshape(3, 3).copy()
        return Pose(self.data.site_xpos[self._tool].copy(), rotation)

    def object_pose(self, name: str) -> Pose:
        """Return the pose of an object (its centre) or of the plate (its top).

        Raises:
            VLAAdapterError: nothing of that name is on the table; the message lists the names.
        """
        if name == PLATE_NAME and self.layout.plate is not None:
            where = np.array([self.layout.plate.x, self.layout.plate.y, PLATE_HEIGHT])
            return Pose(where, np.eye(3))
        if name not in self._slots:
            known = ', '.join(self.object_names)
            raise VLAAdapterError(f'object {name!r} is not on the table; there are: {known}')
        state = self.data.joint(self._slots[name]).qpos
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, state[3:7])
        return Pose(state[:3].copy(), rotation.reshape(3, 3))

    def object_poses(self) -> Mapping[str, Pose]:
        """Return name → pose of everything on the table."""
        return {name: self.object_pose(name) for name in self.object_names}

    def scene_objects(self) -> tuple[SceneObject, ...]:
        """Return the movable objects on the table."""
        return tuple(self.layout.objects)

    def render(
        self, camera: str, height: int, width: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the (height, width, 3) uint8 RGB image of `third_person` or `wrist`.

        Raises:
            RenderingError: no OpenGL here, an unknown camera, or a size that is not allowed.
        """
        if self._renderer is None:
            self._renderer = OffscreenRenderer(self.model)
        return self._renderer.render(self.data, camera, height, width, out)

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __enter__(self) -> ArmSimulation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _in_contract_units(driver: np.ndarray) -> np.ndarray:
    """Return a (7,) driver vector with the gripper as open fraction (1 = open)."""
    driver[6] = 1.0 - driver[6] / FINGER_STROKE
    return driver
