# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The simulated Alicia-D as a robot of lerobot: `--robot.type=alicia_sim`.

The file has the name under which lerobot looks for the class.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from lerobot.robots import Robot, RobotConfig

from vla_adapter_ros.lerobot_policy.environment_alicia import AliciaEnvironment, image_shapes
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract

POSITION = '.pos'  # lerobot takes what ends so for joints


@RobotConfig.register_subclass('alicia_sim')
@dataclass(kw_only=True)
class AliciaSimConfig(RobotConfig):
    """A table with a task.

    Attributes:
        task: `reach`, `pick_and_place`, …; see docs/simulation.md.
        seed: of table, look, start pose and instruction.
        robot: contract whose cameras are drawn.
    """

    task: str = 'reach'
    seed: int = 0
    robot: str = 'alicia_d_sim'


class AliciaSim(Robot):
    """One table; every action takes 0.1 s of simulated time, however long lerobot waits for it.

    Observation: `Joint1.pos`, … [rad], `Gripper.pos` (open fraction), camera → upright
    (H, W, 3) uint8 RGB. Action: absolute targets under the same names. The log tells the
    instruction at `connect`, and at `disconnect` whether it was done.
    """

    config_class = AliciaSimConfig
    name = 'alicia_sim'

    def __init__(self, config: AliciaSimConfig) -> None:
        super().__init__(config)
        self.config = config
        self._env: AliciaEnvironment | None = None
        self._seen: dict[str, Any] = {}
        self._steps = 0
        self._done_at: int | None = None

    @cached_property
    def _contract(self) -> RobotContract:
        return resolve_contract(self.config.robot)

    @cached_property
    def _joints(self) -> list[str]:
        return [name + POSITION for name in self._contract.names]

    @property
    def cameras(self) -> dict[str, tuple[int, int, int]]:
        """Camera → shape of its images; lerobot counts them."""
        return image_shapes(self._contract)

    @property
    def observation_features(self) -> dict[str, Any]:
        """Names and types of what is seen and felt."""
        return {**dict.fromkeys(self._joints, float), **self.cameras}

    @property
    def action_features(self) -> dict[str, type]:
        """Names and types of targets."""
        return dict.fromkeys(self._joints, float)

    @property
    def is_connected(self) -> bool:
        """Whether the simulation runs."""
        return self._env is not None

    @property
    def is_calibrated(self) -> bool:
        """True: a simulation needs none."""
        return True

    def connect(self, calibrate: bool = True) -> None:
        """Lay the table."""
        self._env = AliciaEnvironment(self.config.task, self.config.robot)
        self._seen, _ = self._env.reset(seed=self.config.seed)
        self._steps, self._done_at = 0, None
        logging.info('alicia_sim: %r', self._env.task_description)

    def calibrate(self) -> None:
        """Do nothing."""

    def configure(self) -> None:
        """Do nothing."""

    def get_observation(self) -> dict[str, Any]:
        """Return what is seen and felt after the last action."""
        self._running()
        joints = zip(self._joints, map(float, self._seen['agent_pos']), strict=True)
        return {**dict(joints), **self._seen['pixels']}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Move for 0.1 s and return the action."""
        targets = np.array([float(action[name]) for name in self._joints])
        self._seen, _, done, _, _ = self._running().step(targets)
        self._steps += 1
        if done and self._done_at is None:
            self._done_at = self._steps
        return action

    def disconnect(self) -> None:
        """End the simulation, and tell whether the task was done."""
        env = self._running()
        rate = env.metadata['render_fps']
        if self._done_at is None:
            outcome = f'not done in {self._steps / rate:.1f} s'
        else:
            outcome = f'done after {self._done_at / rate:.1f} s'
        logging.info('alicia_sim: %r: %s', env.task_description, outcome)
        env.close()
        self._env = None

    def _running(self) -> AliciaEnvironment:
        if self._env is None:
            raise ConnectionError('alicia_sim: not connected')
        return self._env
