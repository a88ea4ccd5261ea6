# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The simulated Alicia-D as an environment of lerobot: `--env.type=alicia --env.task=reach`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig

from vla_adapter_ros.lerobot_policy.features import ACTION, IMAGES, STATE
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract

GYM_ID = 'LeRobotAlicia-v0'


@EnvConfig.register_subclass('alicia')
@dataclass
class AliciaEnvConfig(EnvConfig):
    """A task of the simulation, seen through a robot contract.

    Attributes:
        task: `reach`, `pick_and_place`, …; see docs/simulation.md.
        fps: control rate [1/s].
        robot: contract whose cameras are drawn.
    """

    task: str | None = 'reach'
    fps: int = 10
    robot: str = 'alicia_d_sim'
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        contract = resolve_contract(self.robot)
        size = len(contract.names)
        self.features = {
            ACTION: PolicyFeature(FeatureType.ACTION, (size,)),
            'agent_pos': PolicyFeature(FeatureType.STATE, (size,)),
        }
        self.features_map = {ACTION: ACTION, 'agent_pos': STATE}
        for name, shape in image_shapes(contract).items():
            self.features[f'pixels/{name}'] = PolicyFeature(FeatureType.VISUAL, shape)
            self.features_map[f'pixels/{name}'] = IMAGES + name

    @property
    def gym_id(self) -> str:
        """Id that this module registers."""
        return GYM_ID

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """Arguments of `AliciaEnvironment`."""
        return {'task': self.task, 'robot': self.robot}


def image_shapes(contract: RobotContract) -> dict[str, tuple[int, int, int]]:
    """Return camera → (height, width, 3) of its upright image."""
    shapes = {}
    for name, camera in contract.cameras.items():
        width, height = camera.seen_size
        if camera.rotate % 180:
            width, height = height, width
        shapes[name] = (height, width, 3)
    return shapes


class AliciaEnvironment(gymnasium.Env):
    """One task at 10 Hz, with lerobot's names.

    Observation: `pixels` (camera → upright (H, W, 3) uint8 RGB) and `agent_pos` (7,). Action: (7,)
    absolute targets. `info` has `is_success`.

    Args:
        task: name of the task.
        robot: contract whose cameras are drawn.
    """

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 10}  # noqa: RUF012 (gymnasium)
    render_mode = 'rgb_array'

    def __init__(self, task: str, robot: str = 'alicia_d_sim') -> None:
        from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
        from vla_adapter_ros.simulation.session import TaskSession
        from vla_adapter_ros.simulation.tasks import make_task

        contract = resolve_contract(robot)
        self.task, self._cameras = task, contract.cameras
        simulation = ArmSimulation()
        self._session = TaskSession(simulation, make_task(task), contract.cameras)
        self._max_episode_steps = self._session.task.horizon  # lerobot asks for it
        limits = simulation.action_lower, simulation.action_upper
        self.action_space = spaces.Box(*(x.astype(np.float32) for x in limits), dtype=np.float32)
        images = {
            name: spaces.Box(0, 255, shape, np.uint8)
            for name, shape in image_shapes(contract).items()
        }
        self.observation_space = spaces.Dict({
            'pixels': spaces.Dict(images),
            'agent_pos': spaces.Box(-np.inf, np.inf, (len(contract.names),), np.float64),
        })  # fmt: skip

    @property
    def task_description(self) -> str:
        """The instruction of the episode."""
        return self._session.task.instruction

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; a seed fixes table, look, start pose and instruction."""
        super().reset(seed=seed)
        drawn = seed if seed is not None else int(self.np_random.integers(2**31))
        return self._named(self._session.reset(drawn)), {'is_success': False}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carry out one action of 0.1 s."""
        done = self._session.step(action)
        observation = self._named(self._session.observe())
        truncated = self._session.over and not done
        return observation, float(done), done, truncated, {'is_success': done}

    def render(self) -> np.ndarray:
        """Return the first camera's image."""
        return self._named(self._session.observe())['pixels'][next(iter(self._cameras))]

    def close(self) -> None:
        """Free the renderer."""
        self._session.simulation.close()

    def _named(self, observation: Observation) -> dict[str, Any]:
        upright = {
            name: np.rot90(image, -self._cameras[name].rotate // 90).copy()
            for name, image in observation.images.items()
        }
        return {'pixels': upright, 'agent_pos': observation.proprioception}


if GYM_ID not in gymnasium.registry:
    # Without wrappers: lerobot 0.4 looks for `task_description` on what Gymnasium makes.
    entry_point = f'{__name__}:AliciaEnvironment'
    gymnasium.register(id=GYM_ID, entry_point=entry_point, order_enforce=False)
