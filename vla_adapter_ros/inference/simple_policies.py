# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies without a network, and where the shipped checkpoint lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract

CHUNK_SIZE = 8
SHIPPED_CHECKPOINT = 'tiny_sim'
# Farther than this from where it was held, the arm was moved by someone [rad, open fraction].
MOVED = 0.1


def shipped_checkpoint() -> Path | None:
    """Return the checkpoint directory that ships with the package, or None if none does."""
    path = Path(__file__).resolve().parent.parent / 'checkpoints' / SHIPPED_CHECKPOINT
    return path if path.is_dir() else None


class HoldPolicy:
    """Asks the arm to stay where it first was: the whole loop without motion.

    To ask for what is measured would let an arm that sags a little sink with every chunk.
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
        return ActionChunk(
            actions=np.tile(row, (CHUNK_SIZE, 1)),
            observation_stamp=observation.stamp,
            step_period=self.contract.step_period,
            instruction=observation.instruction,
            latencies={'total': 0.0},
            provenance={'policy': 'hold'},
        )
