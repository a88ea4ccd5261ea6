# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies that a benchmark can ask: checkpoints, and one that does nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vla_adapter_ros.errors import CheckpointError, VLAAdapterError
from vla_adapter_ros.evaluation.suites.pool import Asked
from vla_adapter_ros.processing.observation import Observation

if TYPE_CHECKING:
    from vla_adapter_ros.inference.chunk import PipelinePolicy

ZERO = 'zero'
CAMERAS = ('third_person', 'wrist')  # in the order of the official evaluations
ACTION_SIZE = 7
ZERO_CHUNK = 8  # commands in an answer of the policy that does nothing


@dataclass(frozen=True)
class Benchmark:
    """Between a benchmark's worker and a policy. Actions are (7,).

    Attributes:
        title: in messages.
        observation: the worker's arrays and the instruction → the policy's observation.
        commands: a chunk (K, 7) in physical units → what the worker is sent (K, 7).
        still: what it is sent (7,) for no motion, gripper open.
        state_size: numbers of the arm's state.
        cameras: that it has; a policy uses the first, or all.
    """

    title: str
    observation: Callable[[Mapping[str, np.ndarray], str], Observation]
    commands: Callable[[np.ndarray], np.ndarray]
    still: tuple[float, ...]
    state_size: int = 8
    cameras: tuple[str, ...] = CAMERAS


class Answering(Protocol):
    """Answers observations (header and arrays of each) with commands.

    Attributes:
        identity: what decides its answers, as plain JSON data.
        chunk_size: commands in an answer.
    """

    identity: Mapping[str, Any]
    chunk_size: int

    def __call__(self, questions: Sequence[Asked]) -> Sequence[np.ndarray]:
        """Return the commands (K, 7) of each."""
        ...


class ZeroPolicy:
    """Does not move: what success without doing anything would be."""

    identity: Mapping[str, Any] = {'policy': ZERO}
    chunk_size = ZERO_CHUNK

    def __init__(self, benchmark: Benchmark) -> None:
        self._answer = np.tile(benchmark.still, (ZERO_CHUNK, 1))

    def __call__(self, questions: Sequence[Asked]) -> Sequence[np.ndarray]:
        """Return commands that move nothing, gripper open."""
        return [self._answer] * len(questions)


class CheckpointPolicy:
    """A trained policy.

    Args:
        benchmark: that asks it.
        checkpoint: folder, also of an export, or address on the Hub.
        statistics_key: which statistics it uses; None: its only ones.
        device: see `EngineSettings`, as `dtype`.
        dtype: precision.
        batch: most observations that it is asked at once. Above 1, rounding differs from that of
            the official evaluation.

    Attributes:
        cameras: how many it sees.

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
        batch: int = 1,
    ) -> None:
        from vla_adapter_ros.inference.exported import open_policy

        self._policy = open_policy(
            checkpoint, device=device, dtype=dtype, statistics_key=statistics_key
        )
        refuse_unfit(benchmark, checkpoint, self._policy)
        self._policy.warm_up(batch=batch)
        self._benchmark = benchmark
        self.chunk_size = self._policy.chunk_size
        self.cameras = len(self._policy.pipeline.config.cameras)
        self.identity = {**self._policy.provenance, 'batch': batch}

    def __call__(self, questions: Sequence[Asked]) -> Sequence[np.ndarray]:
        """Return the commands of a chunk for each."""
        seen = [
            self._benchmark.observation(arrays, header['instruction'])
            for header, arrays in questions
        ]
        actions = [chunk.actions for chunk in self._policy.predict_many(seen)]
        if not np.isfinite(actions).all():
            raise VLAAdapterError(
                'policy: its actions are not finite; nothing of it can be judged'
            )
        return [self._benchmark.commands(chunk) for chunk in actions]


def make_policy(
    benchmark: Benchmark,
    name: str,
    statistics_key: str | None,
    device: str,
    dtype: str,
    batch: int = 1,
) -> Answering:
    """Return the policy of a name on the command line: `zero`, or a checkpoint.

    Raises:
        VLAAdapterError: see `CheckpointPolicy`.
    """
    if name == ZERO:
        return ZeroPolicy(benchmark)
    return CheckpointPolicy(benchmark, name, statistics_key, device, dtype, batch)


def refuse_unfit(benchmark: Benchmark, name: str, policy: PipelinePolicy) -> None:
    """Raise CheckpointError for a policy that was not trained for a benchmark's robot."""
    title, has = benchmark.title, benchmark.cameras
    contract, processing = policy.contract, policy.pipeline.config
    if contract is not None:
        raise CheckpointError(
            f'checkpoint {name}: trained for robot {contract.name!r}, not for {title}'
        )
    cameras = processing.cameras
    if cameras != has[: len(cameras)] or not cameras:
        raise CheckpointError(f'checkpoint {name}: cameras {list(cameras)}, {title} has {has}')
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
    if statistics.proprio.size != benchmark.state_size:
        raise CheckpointError(
            f'checkpoint {name}: a state of {statistics.proprio.size} numbers, {title} has '
            f'{benchmark.state_size}'
        )
