# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies without a network, and the path of the shipped checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vla_adapter_ros.inference.chunk import CHUNK_SIZE, ActionChunk
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract

SHIPPED_CHECKPOINT = 'tiny_sim'
# Farther from the held position than this, someone moved the arm [rad, open fraction].
MOVED = 0.1
# Parts of each joint's range: how far above zero the movement is centred (away from the table on
# arms whose joints raise the tool when positive), and how far it goes to either side.
CENTRE_FRACTION = 0.1
HALF_FRACTION = 0.06
# Half-widths of movement in delta action spaces, over one chunk.
JOINT_DELTA = 0.1  # rad
TOOL_DELTA = 0.02  # m


def shipped_checkpoint() -> Path | None:
    """Return the checkpoint directory that ships with the package, or None if none does."""
    path = Path(__file__).resolve().parent.parent / 'checkpoints' / SHIPPED_CHECKPOINT
    return path if path.is_dir() else None


class HoldPolicy:
    """Keeps the arm where it first was: the complete loop without motion.

    Commanding the measured joints would let an arm that sags a little sink with every chunk.
    """

    def __init__(self, contract: RobotContract) -> None:
        self.contract = contract
        self._held: np.ndarray | None = None

    def predict(self, observation: Observation) -> ActionChunk:
        """Return a chunk that keeps the joints; those of an arm that was moved, from then on."""
        here = np.asarray(observation.proprioception, float)
        if self._held is None or np.abs(here - self._held).max() > MOVED:
            self._held = here.copy()
        if self.contract.action_space == 'joint_position':
            row = self._held
        elif self.contract.action_space == 'joint_delta':
            row = np.append(self._held[:-1] - here[:-1], self._held[-1])
        else:
            row = np.append(np.zeros(6), self._held[-1])
        actions = np.tile(row, (CHUNK_SIZE, 1))
        return _chunk(actions, observation, self.contract, 'hold')


class RandomMotionPolicy:
    """Wanders through small, safe movements: everything but a network.

    Args:
        contract: joints, limits and action space.
        seed: of the movements.
    """

    def __init__(self, contract: RobotContract, seed: int = 0) -> None:
        self.contract = contract
        self._random = np.random.default_rng(seed)

    def predict(self, observation: Observation) -> ActionChunk:
        """Return a chunk that leads steadily to a random goal."""
        here = np.asarray(observation.proprioception, float)
        centre, half = small_movements(self.contract)
        goal = centre + half * self._random.uniform(-1.0, 1.0, len(centre))
        start = np.zeros_like(goal)
        if self.contract.action_space == 'joint_position':
            start = here
        elif self.contract.action_space == 'joint_delta':
            # Towards a pose near the centre, so that a long walk does not end at the limits.
            middle, width = _small_poses(self.contract)
            pose = middle + width * self._random.uniform(-1.0, 1.0, len(middle))
            goal[:-1] = np.clip(pose - here, -JOINT_DELTA, JOINT_DELTA)[:-1]
        steps = np.linspace(0.0, 1.0, CHUNK_SIZE + 1)[1:, None]
        actions = start + steps * (goal - start)
        actions[:, -1] = goal[-1]
        return _chunk(actions, observation, self.contract, 'random')


def small_movements(contract: RobotContract) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and half-width, each (A,), of actions that move the arm a little, safely."""
    centre, half = _small_poses(contract)
    if contract.action_space == 'joint_delta':
        centre[:-1], half[:-1] = 0.0, JOINT_DELTA
    elif contract.action_space == 'ee_delta':
        centre = np.array([0.0] * 6 + [0.5])
        half = np.array([TOOL_DELTA] * 3 + [JOINT_DELTA] * 3 + [0.5])
    return centre, half


def _small_poses(contract: RobotContract) -> tuple[np.ndarray, np.ndarray]:
    lower, upper = contract.lower, contract.upper
    zero = np.clip(np.zeros_like(lower), lower, upper)
    centre = zero + CENTRE_FRACTION * (upper - zero)
    half = HALF_FRACTION * (upper - lower)
    # Joints of some arms have zero at a limit, or beyond it.
    centre = np.clip(centre, lower + half, upper - half)
    centre[-1], half[-1] = 0.5, 0.5  # the gripper: anything from closed to open
    return centre, half


def _chunk(
    actions: np.ndarray, observation: Observation, contract: RobotContract, name: str
) -> ActionChunk:
    return ActionChunk(
        actions=actions,
        observation_stamp=observation.stamp,
        step_period=contract.step_period,
        instruction=observation.instruction,
        latencies={'total': 0.0},
        provenance={'policy': name},
    )
