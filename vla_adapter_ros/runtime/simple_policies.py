# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies without a network, and where the shipped checkpoint lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.runtime.chunk import ActionChunk
from vla_adapter_ros.runtime.contract import RobotContract

CHUNK_SIZE = 8
SHIPPED_CHECKPOINT = 'tiny_sim'


def shipped_checkpoint() -> Path | None:
    """Return the checkpoint directory that ships with the package, or None if none does."""
    path = Path(__file__).resolve().parent.parent / 'checkpoints' / SHIPPED_CHECKPOINT
    return path if path.is_dir() else None


class HoldPolicy:
    """Asks the arm to stay where it is: the whole loop without motion."""

    def __init__(self, contract: RobotContract) -> None:
        self.contract = contract

    def predict(self, observation: Observation) -> ActionChunk:
        """Return a chunk that keeps the observed joints."""
        if self.contract.action_space == 'joint_position':
            row = observation.proprioception
        else:
            arm = 6 if self.contract.action_space == 'ee_delta' else len(self.contract.joints)
            row = np.append(np.zeros(arm), observation.proprioception[-1])
        return ActionChunk(
            actions=np.tile(row, (CHUNK_SIZE, 1)),
            observation_stamp=observation.stamp,
            step_period=self.contract.step_period,
            instruction=observation.instruction,
            latencies={'total': 0.0},
            provenance={'policy': 'hold'},
        )
