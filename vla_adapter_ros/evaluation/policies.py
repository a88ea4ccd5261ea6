# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies that can be evaluated in simulation: checkpoints, the expert, and baselines.

expert         scripted, from the true object poses
zero           does not move
random         moves at random
replay:FOLDER  plays the actions of a collected dataset back, blindly
shipped        the checkpoint that ships with the package
a folder       a checkpoint; or its address on the Hub, `org/name@revision`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from vla_adapter_ros.errors import DatasetError, VLAAdapterError, readable
from vla_adapter_ros.inference.chunk import CHUNK_SIZE, ActionChunk
from vla_adapter_ros.inference.simple_policies import HoldPolicy, shipped_checkpoint
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.expert.chunks import ExpertChunks
from vla_adapter_ros.simulation.expert.expert import ExpertPolicy
from vla_adapter_ros.weights.released import model_folder

BASELINES = ('expert', 'zero', 'random', 'replay:FOLDER')
SHIPPED = 'shipped'
RANDOM_STEP = 0.05  # standard deviation of a joint's change in one step [rad]


class EvaluatedPolicy(Protocol):
    """A policy with a notification at the start of each episode.

    Attributes:
        contract: defines its observations and actions.
        needs_images: whether its observations must have images.
    """

    contract: RobotContract
    needs_images: bool

    def begin(self, simulation: ArmSimulation, task: str, seed: int) -> None:
        """Begin an episode."""
        ...

    def predict(self, observation: Observation) -> ActionChunk:
        """Return the chunk for an observation."""
        ...


@dataclass(frozen=True)
class PolicySettings:
    """How a checkpoint runs; see `Policy.from_pretrained`."""

    device: str = 'auto'
    dtype: str = 'auto'
    threads: int = 1


class ScriptedExpert:
    """The expert, which asks the simulation where the objects are."""

    needs_images = False

    def __init__(self, contract: RobotContract) -> None:
        self.contract = contract
        self._chunks = ExpertChunks(contract)

    def begin(self, simulation: ArmSimulation, task: str, seed: int) -> None:
        """Begin an episode."""
        self._simulation = simulation
        self._chunks = ExpertChunks(self.contract, ExpertPolicy.of(simulation))

    def predict(self, observation: Observation) -> ActionChunk:
        """Return the chunk for an observation."""
        self._chunks.see(self._simulation.object_poses())
        return self._chunks.predict(observation)


class ZeroPolicy(HoldPolicy):
    """Stays where it is: what success without doing anything would be."""

    needs_images = False

    def __init__(self, contract: RobotContract) -> None:
        super().__init__(replace(contract, action_space='joint_delta'))

    def begin(self, simulation: ArmSimulation, task: str, seed: int) -> None:
        """Begin an episode."""


class RandomPolicy:
    """Moves at random: the success rate of chance."""

    needs_images = False

    def __init__(self, contract: RobotContract) -> None:
        self.contract = replace(contract, action_space='joint_delta')
        self._rng = np.random.default_rng(2)

    def begin(self, simulation: ArmSimulation, task: str, seed: int) -> None:
        """Begin an episode; under a node there is none, and the random walk continues."""
        self._rng = np.random.default_rng((seed, 2))

    def predict(self, observation: Observation) -> ActionChunk:
        """Return a random walk of the joints, and a random gripper."""
        steps = self._rng.normal(0.0, RANDOM_STEP, (CHUNK_SIZE, 7))
        actions = np.cumsum(steps, axis=0)
        actions[:, 6] = self._rng.integers(2)
        return _chunk(actions, observation, self.contract, 'random')


class ReplayPolicy:
    """Plays recorded actions back by time, open loop.

    On an episode's own seed this measures what the control stack loses; on other seeds it cannot
    know where the objects are.

    Raises:
        DatasetError: the dataset was not written by this package.
    """

    needs_images = False

    def __init__(self, folder: Path) -> None:
        from vla_adapter_ros.data.lerobot.layout import EXTRA_EPISODES
        from vla_adapter_ros.data.sources import open_source

        self._source = open_source(folder)
        lines = folder / EXTRA_EPISODES
        if self._source.contract is None or not lines.is_file():
            raise DatasetError(f'{folder}: replay needs a dataset of simulation.collect')
        self.contract = replace(self._source.contract, action_space='joint_position')
        self._index = _episode_index(lines)

    def seeds(self, task: str) -> list[int]:
        """Return the seeds recorded of a task."""
        return sorted(seed for name, seed in self._index if name == task)

    def begin(self, simulation: ArmSimulation, task: str, seed: int) -> None:
        """Begin an episode: its own recording if there is one, else one of the same task."""
        from vla_adapter_ros.evaluation.replay import EpisodeReplay

        seeds = self.seeds(task)
        if not seeds:
            raise DatasetError(f'{self._source.path}: no episode of task {task}')
        chosen = seed if seed in seeds else seeds[seed % len(seeds)]
        self._replay = EpisodeReplay(self._source, self._index[task, chosen])

    def predict(self, observation: Observation) -> ActionChunk:
        """Return the recorded targets that follow the observation's time."""
        return self._replay.predict(observation)


class Checkpoint:
    """A trained policy."""

    needs_images = True

    def __init__(self, folder: Path, settings: PolicySettings) -> None:
        from vla_adapter_ros.inference.exported import open_policy

        self._policy = open_policy(
            folder, device=settings.device, dtype=settings.dtype, threads=settings.threads
        )
        if self._policy.contract is None:
            raise VLAAdapterError(f'checkpoint {folder}: no robot contract; it cannot act here')
        self.contract = self._policy.contract

    def begin(self, simulation: ArmSimulation, task: str, seed: int) -> None:
        """Begin an episode; the network keeps nothing between observations."""

    def predict(self, observation: Observation) -> ActionChunk:
        """Return the chunk for an observation."""
        return self._policy.predict(observation)


def make_policy(
    name: str, contract: RobotContract, settings: PolicySettings | None = None
) -> EvaluatedPolicy:
    """Return a policy by name: a baseline, `replay:FOLDER`, `shipped`, or a checkpoint's folder.

    Args:
        name: see the module's description.
        contract: for those that have none of their own.
        settings: how a checkpoint runs.

    Raises:
        VLAAdapterError: no such policy, or it cannot be loaded.
    """
    if name == 'expert':
        return ScriptedExpert(contract)
    if name == 'zero':
        return ZeroPolicy(contract)
    if name == 'random':
        return RandomPolicy(contract)
    if name.startswith('replay:'):
        return ReplayPolicy(Path(name.removeprefix('replay:')))
    return Checkpoint(checkpoint_folder(name), settings or PolicySettings())


def is_baseline(name: str) -> bool:
    """Whether a policy is none of the checkpoints."""
    return name in BASELINES or name.startswith('replay:')


def checkpoint_folder(name: str) -> Path:
    """Return the folder of a checkpoint: itself, of the shipped one, or of one on the Hub.

    Raises:
        VLAAdapterError: no such folder, or none ships.
    """
    if name == SHIPPED:
        if (shipped := shipped_checkpoint()) is None:
            raise VLAAdapterError('policy shipped: no checkpoint ships with this installation')
        return shipped
    if (folder := model_folder(name)).is_dir():
        return folder
    known = ', '.join((*BASELINES, SHIPPED))
    raise VLAAdapterError(f'policy {name!r}: expected {known} or the folder of a checkpoint')


def _chunk(
    actions: np.ndarray, observation: Observation, contract: RobotContract, name: str
) -> ActionChunk:
    return ActionChunk(
        actions=actions,
        observation_stamp=observation.stamp,
        step_period=contract.step_period,
        instruction=observation.instruction,
        provenance={'policy': name},
    )


def _episode_index(lines: Path) -> Mapping[tuple[str, int], int]:
    """Return (task, seed) → number of the episode in the dataset."""
    found = {}
    with readable(lines, DatasetError):
        for number, line in enumerate(lines.read_text(encoding='utf-8').splitlines()):
            metadata = json.loads(line).get('metadata', {})
            if 'task' in metadata and 'seed' in metadata:
                found[str(metadata['task']), int(metadata['seed'])] = number
    return found
