# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies that LIBERO can ask: checkpoints, and one that does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from vla_adapter_ros.errors import CheckpointError, VLAAdapterError
from vla_adapter_ros.evaluation.libero.asking import CAMERAS, commands_of, observation_for

ZERO = 'zero'
STATE_SIZE, ACTION_SIZE = 8, 7


class Answering(Protocol):
    """Answers observations with commands.

    Attributes:
        identity: what decides its answers, as plain JSON data.
        chunk_size: commands in an answer.
    """

    identity: Mapping[str, Any]
    chunk_size: int

    def __call__(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return commands (K, 7)."""
        ...


class ZeroPolicy:
    """Does not move: what success without doing anything would be."""

    identity: Mapping[str, Any] = {'policy': ZERO}
    chunk_size = 8

    def __call__(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return commands that move nothing, gripper open."""
        return np.tile((0.0,) * 6 + (-1.0,), (self.chunk_size, 1))


class CheckpointPolicy:
    """A trained policy.

    Args:
        checkpoint: folder or address on the Hub.
        suite: whose statistics it uses.
        device: see `EngineSettings`, as `dtype`.
        dtype: precision.

    Raises:
        VLAAdapterError: it cannot be loaded, or was not trained for LIBERO.
    """

    def __init__(self, checkpoint: str, suite: str, device: str, dtype: str) -> None:
        from vla_adapter_ros.inference.policy import Policy

        self._policy = Policy.from_pretrained(
            checkpoint, device=device, dtype=dtype, statistics_key=suite
        )
        refuse_unfit(checkpoint, self._policy)
        self.chunk_size = self._policy.chunk_size
        self.identity = dict(self._policy.provenance)

    def __call__(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the commands of a chunk."""
        actions = self._policy.predict(observation_for(arrays, header['instruction'])).actions
        if not np.isfinite(actions).all():
            raise VLAAdapterError(
                'policy: its actions are not finite; nothing of it can be judged'
            )
        return commands_of(actions)


def refuse_unfit(name: str, policy: Any) -> None:
    """Raise CheckpointError for a policy that was not trained for LIBERO's robot and cameras."""
    contract, processing = policy.contract, policy.pipeline.config
    if contract is not None:
        raise CheckpointError(
            f'checkpoint {name}: trained for robot {contract.name!r}, not for LIBERO'
        )
    cameras = processing.cameras
    if cameras != CAMERAS[: len(cameras)] or not cameras:
        raise CheckpointError(f'checkpoint {name}: cameras {list(cameras)}, LIBERO has {CAMERAS}')
    turns = {c: processing.rotations.get(c, processing.images.rotate) for c in cameras}
    if turned := {camera: turn for camera, turn in turns.items() if turn}:
        raise CheckpointError(
            f'checkpoint {name}: turns its images ({turned}); they would be turned twice: '
            'LIBERO images are turned upright here, as the training data are'
        )
    statistics = policy.statistics
    if statistics.action.size != ACTION_SIZE:
        raise CheckpointError(
            f'checkpoint {name}: actions of {statistics.action.size} numbers, LIBERO has 7'
        )
    if policy.engine.model.config.use_proprio and statistics.proprio.size != STATE_SIZE:
        raise CheckpointError(
            f'checkpoint {name}: a state of {statistics.proprio.size} numbers, LIBERO has 8'
        )
