# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The interface of everything that holds demonstrations, whatever its file format."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.robot.contract import RobotContract

# `actions[t]` of a source: an absolute joint target in contract order (ours), the motion of the
# tool from frame t to t + 1 (`ee_delta` per step, base frame), or a command of the dataset's own
# definition (LIBERO's and CALVIN's controllers).
ActionKind = Literal['joint_target', 'tool_delta', 'command']


@dataclass(frozen=True)
class Episode:
    """One demonstration.

    Attributes:
        key: name, unique in its source.
        length: number of frames.
        instruction: the task.
        success: whether it was done, as marked; None: not marked.
        image_every: it has images of its frames 0, n, 2n, … only; those between repeat the last
            one, and are no observations to train on.
    """

    key: str
    length: int
    instruction: str
    success: bool | None = None
    image_every: int = 1


class StatesActions(NamedTuple):
    """State (T, P) and actions (T, A) of one episode, float32, physical units."""

    state: np.ndarray
    actions: np.ndarray


class EpisodeSource(Protocol):
    """Demonstrations that can be read frame by frame.

    Attributes:
        path: where they are.
        fps: frames per second.
        cameras: camera names, third person first.
        contract: the robot contract they were recorded with, if known.
        action_kind: of its actions.
        names: names of the action dimensions.
        episodes: the demonstrations.
    """

    path: Path
    fps: float
    cameras: tuple[str, ...]
    contract: RobotContract | None
    action_kind: ActionKind
    names: tuple[str, ...]
    episodes: Sequence[Episode]

    def states_actions(self, episode: int) -> StatesActions:
        """Return state and actions of all frames."""
        ...

    def images(self, episode: int, camera: str, frames: Iterable[int]) -> Iterable[np.ndarray]:
        """Yield (H, W, 3) uint8 RGB upright images of the given frames."""
        ...

    def fingerprint(self) -> str:
        """Return a hash that changes when the content does."""
        ...


def successes(marks: Sequence[bool | None], none: str) -> list[int]:
    """Return the numbers of the episodes that are marked as successful.

    Args:
        marks: of all episodes, see `Episode.success`.
        none: subject of the sentence that refuses: where there is no episode.

    Raises:
        DatasetError: there are none.
    """
    if all(mark is None for mark in marks):
        raise DatasetError(
            f'{none} is marked as success or failure, so successes cannot be chosen; '
            'end recordings with stop_success or stop_failure, or use all episodes'
        )
    if True not in marks:
        raise DatasetError(f'{none} is marked as success, {count_marks(marks)}')
    return [number for number, mark in enumerate(marks) if mark]


def count_marks(marks: Iterable[bool | None]) -> str:
    """Return how many episodes are marked as success, as failure and not at all, in words."""
    counts = Counter(marks)
    return f'{counts[True]} successes, {counts[False]} failures, {counts[None]} not marked'


def files_fingerprint(root: Path, files: Iterable[Path], contents: Iterable[Path] = ()) -> str:
    """Hash names and sizes of `files` and the bytes of `contents`.

    Modification times do not count: a copied dataset keeps its fingerprint and thus its cache.
    """
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f'{file.relative_to(root)} {file.stat().st_size}\n'.encode())
    for file in sorted(contents):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def all_states_actions(source: EpisodeSource) -> StatesActions:
    """Return state and actions of all episodes, one after the other.

    Raises:
        DatasetError: an episode has NaN or infinity, or a number of rows that differs from its
            length.
    """
    parts = []
    for number, episode in enumerate(source.episodes):
        vectors = source.states_actions(number)
        for what, values in zip(StatesActions._fields, vectors, strict=True):
            if len(values) != episode.length:
                raise DatasetError(
                    f'{source.path}: {episode.key}: {len(values)} rows of {what}, '
                    f'{episode.length} frames'
                )
            bad = np.argwhere(~np.isfinite(values))
            if len(bad):
                frame, column = bad[0]
                raise DatasetError(
                    f'{source.path}: {episode.key}: frame {frame}: {what}[{column}] is '
                    f'{values[frame, column]}'
                )
        parts.append(vectors)
    if not parts:
        raise DatasetError(f'{source.path}: no episodes')
    return StatesActions(*(np.concatenate(column).astype(np.float32) for column in zip(*parts)))
