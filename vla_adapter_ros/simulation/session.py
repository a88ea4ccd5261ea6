# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One episode at a time: a task on a simulation, driven by actions at the control rate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.camera_spec import CameraSpec
from vla_adapter_ros.robot.camera_view import crop_to_view
from vla_adapter_ros.simulation.arm_simulation import STEP_PERIOD, ArmSimulation
from vla_adapter_ros.simulation.scene import FINGER_STROKE
from vla_adapter_ros.simulation.tasks import Task


def to_driver(state: np.ndarray) -> np.ndarray:
    """Return (7,) driver units (gripper [m], 0 = open) of a contract vector (open fraction)."""
    driver = np.array(state, float)
    driver[6] = (1.0 - driver[6]) * FINGER_STROKE
    return driver


def render_views(
    simulation: ArmSimulation, cameras: Mapping[str, CameraSpec]
) -> dict[str, np.ndarray]:
    """Return camera → (H, W, 3) uint8 RGB: what a policy sees of each camera, not yet turned."""
    views = {}
    for name, camera in cameras.items():
        image = simulation.render(name, camera.height, camera.width)
        image = simulation.images.seen(name, image, simulation.time)
        views[name] = crop_to_view(image, camera)
    return views


class TaskSession:
    """Runs episodes of a task.

    Actions are (7,) absolute targets in contract order and units: joints [rad], then the
    gripper's open fraction. Each is reached on a straight line in joint space in 0.1 s.

    Args:
        simulation: the arm and its table.
        task: what to do.
        cameras: as in a robot contract; None: observations have no images.
    """

    def __init__(
        self,
        simulation: ArmSimulation,
        task: Task,
        cameras: Mapping[str, CameraSpec] | None = None,
    ) -> None:
        self.simulation = simulation
        self.task = task
        self.cameras = cameras or {}
        self.steps = 0

    @property
    def over(self) -> bool:
        """Whether the time limit is reached."""
        return self.steps >= self.task.horizon

    def reset(self, seed: int | None = None) -> Observation:
        """Begin the episode of a seed and return its first observation."""
        self.task.reset(self.simulation, seed)
        self.steps = 0
        return self.observe()

    def ask(self, instruction: str) -> Observation:
        """Begin another episode on the table as it is, with a new instruction.

        Raises:
            InstructionError: the scene cannot do that.
        """
        self.task.set_instruction(self.simulation, instruction)
        self.steps = 0
        return self.observe()

    def observe(self, images: bool = True) -> Observation:
        """Return what the robot sees and feels now; the stamp is simulation time [s]."""
        return Observation(
            images=render_views(self.simulation, self.cameras if images else {}),
            proprioception=self.simulation.proprioception,
            instruction=self.task.instruction,
            stamp=self.simulation.time,
        )

    def step(self, action: np.ndarray) -> bool:
        """Carry out one action and return whether the task is done and settled.

        Raises:
            VLAAdapterError: the action is not 7 finite numbers; nothing moves then.
        """
        action = np.asarray(action, float)
        if action.shape != (7,) or not np.isfinite(action).all():
            raise VLAAdapterError(f'action: expected 7 finite numbers, got {action!r}')
        simulation = self.simulation
        self._drive(to_driver(np.clip(action, simulation.action_lower, simulation.action_upper)))
        self.steps += 1
        return self.task.settled(self.simulation)

    def _drive(self, target: np.ndarray) -> None:
        start = self.simulation.targets
        velocity = (target - start) / STEP_PERIOD
        ticks = round(STEP_PERIOD / self.simulation.timestep)
        for tick in range(1, ticks + 1):
            self.simulation.set_targets(start + (tick / ticks) * (target - start), velocity)
            self.simulation.step(self.simulation.timestep)
        self.simulation.set_targets(target)
