# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The tasks as Gymnasium environments: `import vla_adapter_ros.simulation.environment`, then
`gymnasium.make('AliciaPickAndPlace-v0')`.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.camera_spec import CameraSpec
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.scene import CAMERA_NAMES, THIRD_PERSON
from vla_adapter_ros.simulation.session import TaskSession
from vla_adapter_ros.simulation.tasks import TASKS, TaskOptions, make_task

MAX_INSTRUCTION = 200
_CHARACTERS = 'abcdefghijklmnopqrstuvwxyz ,'


def environment_id(task: str) -> str:
    """Return the registered id of a task: `pick_and_place` → `AliciaPickAndPlace-v0`."""
    return f'Alicia{"".join(word.capitalize() for word in task.split("_"))}-v0'


class AliciaEnv(gymnasium.Env):
    """One task on the simulated Alicia-D at 10 Hz.

    Observation: `images` (camera → (H, W, 3) uint8 RGB), `proprioception` (7,) (joints [rad],
    gripper open fraction) and `instruction`. Action: (7,) absolute targets in the same order.
    Reward 1 when the task is done (the episode terminates), else 0; truncated at the horizon.
    `info` has `success` and `objects` (name → position in the base frame [m]).

    Args:
        task: name of the task (`tasks.TASKS`).
        image_size: side of the square images [px].
        options: how episodes vary.
        render_mode: `rgb_array` or None.
        render_size: (height, width) [px] of `render()`.
    """

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 10}  # noqa: RUF012 (gymnasium)

    def __init__(
        self,
        task: str = 'reach',
        image_size: int = 128,
        options: TaskOptions | None = None,
        render_mode: str | None = None,
        render_size: tuple[int, int] = (480, 640),
    ) -> None:
        if render_mode not in (None, *self.metadata['render_modes']):
            raise ValueError(f'render_mode: got {render_mode!r}, expected rgb_array or None')
        self.render_mode = render_mode
        self._render_size = render_size
        self._session = TaskSession(
            ArmSimulation(),
            make_task(task, options),
            dict.fromkeys(CAMERA_NAMES, CameraSpec(image_size, image_size, 0, 'fixed')),
        )
        image = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.action_space = spaces.Box(
            self.simulation.action_lower, self.simulation.action_upper, dtype=np.float64
        )
        self.observation_space = spaces.Dict({
            'images': spaces.Dict(dict.fromkeys(CAMERA_NAMES, image)),
            # Servos may overshoot their limits by a hair, so the space is unbounded.
            'proprioception': spaces.Box(-np.inf, np.inf, (7,), np.float64),
            'instruction': spaces.Text(MAX_INSTRUCTION, min_length=0, charset=_CHARACTERS),
        })  # fmt: skip

    @property
    def simulation(self) -> ArmSimulation:
        """The simulation, for experts and metrics."""
        return self._session.simulation

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; a seed fixes table, look, start pose and instruction."""
        super().reset(seed=seed)
        # Without a seed the next episode follows from the last seed given, as Gymnasium asks.
        drawn = seed if seed is not None else int(self.np_random.integers(2**31))
        return _plain(self._session.reset(drawn)), self._info(False)

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carry out one action of 0.1 s."""
        done = self._session.step(action)
        observation = _plain(self._session.observe())
        truncated = self._session.over and not done
        return observation, float(done), done, truncated, self._info(done)

    def render(self) -> np.ndarray | None:
        """Return the third-person image, (height, width, 3) uint8 RGB."""
        if self.render_mode is None:
            return None
        return self._session.simulation.render(THIRD_PERSON, *self._render_size)

    def close(self) -> None:
        """Free the renderer."""
        self._session.simulation.close()

    def _info(self, success: bool) -> dict[str, Any]:
        poses = self._session.simulation.object_poses()
        return {
            'success': success,
            'objects': {name: pose.position for name, pose in poses.items()},
        }


def _plain(observation: Observation) -> dict[str, Any]:
    return {
        'images': dict(observation.images),
        'proprioception': observation.proprioception,
        'instruction': observation.instruction,
    }


def register_environments() -> tuple[str, ...]:
    """Register every task with Gymnasium and return the ids; again does nothing."""
    names = []
    for task, spec in TASKS.items():
        names.append(environment_id(task))
        if names[-1] not in gymnasium.registry:
            gymnasium.register(
                id=names[-1],
                entry_point=f'{__name__}:AliciaEnv',
                max_episode_steps=spec.horizon,
                kwargs={'task': task},
            )
    return tuple(names)


ENVIRONMENT_IDS = register_environments()
