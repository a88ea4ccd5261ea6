# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies that a benchmark can ask: checkpoints, and one that does nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vla_adapter_ros.errors import CheckpointError, VLAAdapterError
from vla_adapter_ros.processing.observation import Observation

ZERO = 'zero'
CAMERAS = ('third_person', 'wrist')  # in the order of the official evaluations
STATE_SIZE, ACTION_SIZE = 8, 7
ZERO_CHUNK = 8  # commands in an answer of the policy that does nothing


@dataclass(frozen=True)
class Benchmark:
    """Between a benchmark's worker and a policy. State (8,), actions (7,), cameras `CAMERAS`.

    Attributes:
        title: in messages.
        observation: the worker's arrays and the instruction → the policy's observation.
        commands: a chunk (K, 7) in physical units → what the worker is sent (K, 7).
        still: what it is sent (7,) for no motion, gripper open.
    """

    title: str
    observation: Callable[[Mapping[str, np.ndarray], str], Observation]
    commands: Callable[[np.ndarray], np.ndarray]
    still: tuple[float, ...]


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
    chunk_size = ZERO_CHUNK

    def __init__(self, benchmark: Benchmark) -> None:
        self._answer = np.tile(benchmark.still, (ZERO_CHUNK, 1))

    def __call__(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return commands that move nothing, gripper open."""
        return self._answer


class CheckpointPolicy:
    """A trained policy.

    Args:
        benchmark: that asks it.
        checkpoint: folder or address on the Hub.
        statistics_key: which statistics it uses; None: its only ones.
        device: see `EngineSettings`, as `dtype`.
        dtype: precision.

    Raises:
        VLAAdapterError: it cannot be loaded, or was not trained for the benchmark.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        checkpoint: str,
        statistics_key: str | None,
        device: str,
        dtype: str,
    ) -> None:
        from vla_adapter_ros.inference.policy import Policy

        self._policy = Policy.from_pretrained(
            checkpoint, device=device, dtype=dtype, statistics_key=statistics_key
        )
        refuse_unfit(benchmark.title, checkpoint, self._policy)
        self._benchmark = benchmark
        self.chunk_size = self._policy.chunk_size
        self.identity = dict(self._policy.provenance)

    def __call__(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the commands of a chunk."""
        observation = self._benchmark.observation(arrays, header['instruction'])
        actions = self._policy.predict(observation).actions
        if not np.isfinite(actions).all():
            raise VLAAdapterError(
                'policy: its actions are not finite; nothing of it can be judged'
            )
        return self._benchmark.commands(actions)


def make_policy(
    benchmark: Benchmark, name: str, statistics_key: str | None, device: str, dtype: str
) -> Answering:
    """Return the policy of a name on the command line: `zero`, or a checkpoint.

    Raises:
        VLAAdapterError: see `CheckpointPolicy`.
    """
    if name == ZERO:
        return ZeroPolicy(benchmark)
    return CheckpointPolicy(benchmark, name, statistics_key, device, dtype)


def refuse_unfit(title: str, name: str, policy: Any) -> None:
    """Raise CheckpointError for a policy that was not trained for a benchmark's robot."""
    contract, processing = policy.contract, policy.pipeline.config
    if contract is not None:
        raise CheckpointError(
            f'checkpoint {name}: trained for robot {contract.name!r}, not for {title}'
        )
    cameras = processing.cameras
    if cameras != CAMERAS[: len(cameras)] or not cameras:
        raise CheckpointError(f'checkpoint {name}: cameras {list(cameras)}, {title} has {CAMERAS}')
    turns = {c: processing.rotations.get(c, processing.images.rotate) for c in cameras}
    if turned := {camera: turn for camera, turn in turns.items() if turn}:
        raise CheckpointError(
            f'checkpoint {name}: turns its images ({turned}); they would be turned twice: '
            f'{title} images are upright here, as in the training data'
        )
    statistics = policy.statistics
    if statistics.action.size != ACTION_SIZE:
        raise CheckpointError(
            f'checkpoint {name}: actions of {statistics.action.size} numbers, {title} has 7'
        )
    if policy.engine.model.config.use_proprio and statistics.proprio.size != STATE_SIZE:
        raise CheckpointError(
            f'checkpoint {name}: a state of {statistics.proprio.size} numbers, {title} has 8'
        )
