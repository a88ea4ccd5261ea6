# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Training samples: observations with action chunks, from any source of demonstrations.

dataset = open_dataset('datasets/pick')                    # cached, contract's action space
train, validation = dataset.split(0.05)
batch = train.batch([0, 17, 4])                            # arrays, physical units
statistics = train.statistics()                            # of what the model is to predict
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vla_adapter_ros.data.episodes import (
    Episode,
    EpisodeSource,
    all_states_actions,
    successes,
)
from vla_adapter_ros.data.lerobot.columns import DEFAULT, Columns, check_foreign
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.prepare import prepare
from vla_adapter_ros.data.sources import dataset_names, open_source
from vla_adapter_ros.data.training.actions import (
    ChunkTransform,
    ForwardKinematics,
    chunk_rows,
    chunk_transform,
    contract_kinematics,
    summed_tool_deltas,
)
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.inference.chunk import CHUNK_SIZE
from vla_adapter_ros.processing.images import OWN_IMAGES, ImageConfig, resize_for_model
from vla_adapter_ros.processing.statistics import Statistics, VectorStatistics
from vla_adapter_ros.robot.contract import RobotContract

# Chunks the statistics are computed from; of more, evenly spaced ones (quantiles of 16 M values
# are exact to four digits, and memory stays bounded).
STATISTICS_CHUNKS = 2_000_000
# Relative difference between a dataset's rate and the contract's step.
_RATE_TOLERANCE = 0.005


@dataclass(frozen=True)
class Batch:
    """Samples as arrays, in physical units; normalisation and prompts come after.

    Attributes:
        images: (B, C, S, S, 3) uint8 RGB at the model's size, cameras in contract order.
        proprioception: (B, P) float32.
        actions: (B, K, A) float32 in the action space.
        is_pad: (B, K) bool, True where the episode had ended and the last target is held.
        instructions: B texts.
        datasets: (B,) which dataset of a mixture.
        rows: (B,) row of the observation in its dataset.
    """

    images: np.ndarray
    proprioception: np.ndarray
    actions: np.ndarray
    is_pad: np.ndarray
    instructions: list[str]
    datasets: np.ndarray
    rows: np.ndarray


class FrameStore(Protocol):
    """All frames of a dataset in one row order: episodes one after the other.

    Attributes:
        episodes: the demonstrations.
        cameras: in the order of the images.
        state, actions: (N, P) and (N, A) float32.
    """

    episodes: Sequence[Episode]
    cameras: tuple[str, ...]
    state: np.ndarray
    actions: np.ndarray

    def images(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return (B, C, S, S, 3) uint8 RGB of the frames at `rows`."""
        ...


class LiveFrames:
    """Decodes and resizes each frame on demand; without a cache, from any source.

    Args:
        source: the demonstrations.
        images: size and resize.
    """

    def __init__(self, source: EpisodeSource, images: ImageConfig) -> None:
        self._source, self._config = source, images
        self.episodes = source.episodes
        self.cameras = source.cameras
        self.state, self.actions = all_states_actions(source)
        lengths = [episode.length for episode in source.episodes]
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        # Decoders keep a place in their file: one reader at a time.
        self._lock = threading.Lock()

    def images(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return (B, C, S, S, 3) uint8 RGB of the frames at `rows`."""
        size = self._config.size
        batch = np.empty((len(rows), len(self.cameras), size, size, 3), np.uint8)
        with self._lock:
            for place, row in zip(batch, rows, strict=True):
                episode = int(np.searchsorted(self._starts, row, 'right')) - 1
                frame = int(row - self._starts[episode])
                for c, camera in enumerate(self.cameras):
                    image = next(iter(self._source.images(episode, camera, [frame])))
                    place[c] = resize_for_model(image, self._config, rotate=0)
        return batch


class Dataset:
    """Observations and action chunks of some episodes of one dataset.

    Args:
        name: key of the statistics.
        store: frames.
        transform: absolute targets and state → actions; None keeps them as recorded.
        action_space: of the actions: one of the contract's, or `command` (as recorded).
        chunk_size: K.
        stride: frames in one step of the chunk.
        episodes: which episodes; None: all.
        complete_chunks: skip observations whose chunk would run past the episode's end, as
            the official loader does; otherwise the last target is held and marked in `is_pad`.
        contract: robot contract, if known.
        fps: frames per second, if known.
        holds_last: whether the last target may be held past the episode's end: absolute targets
            may, motions and commands would go on moving.

    Raises:
        DatasetError: no observations are left.
    """

    def __init__(
        self,
        name: str,
        store: FrameStore,
        transform: ChunkTransform | None,
        action_space: str,
        *,
        chunk_size: int = CHUNK_SIZE,
        stride: int = 1,
        episodes: Sequence[int] | None = None,
        complete_chunks: bool = False,
        contract: RobotContract | None = None,
        fps: float | None = None,
        holds_last: bool = True,
    ) -> None:
        self.fps, self.holds_last = fps, holds_last
        self.name, self.store, self.action_space = name, store, action_space
        self.chunk_size, self.stride, self.contract = chunk_size, stride, contract
        self._transform = transform
        self._complete_chunks = complete_chunks
        everything = range(len(store.episodes))
        self.selected = list(everything if episodes is None else episodes)
        lengths = np.array([episode.length for episode in store.episodes])
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths
        cut = chunk_size * stride - 1 if complete_chunks else 0
        rows = [
            np.arange(self._starts[e], self._ends[e] - cut, store.episodes[e].image_every)
            for e in self.selected
        ]
        self._rows = np.concatenate([np.zeros(0, np.int64), *rows]).astype(np.int64)
        if not len(self._rows):
            raise DatasetError(
                f'dataset {name!r}: no observations in {len(self.selected)} episodes'
                + f', all shorter than a chunk of {chunk_size}' * bool(complete_chunks)
            )

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the images."""
        return self.store.cameras

    @property
    def action_dim(self) -> int:
        """Number of action dimensions A."""
        return self.chunks([0])[0].shape[-1]

    def episode_of(self, index: int) -> tuple[int, int]:
        """Return the episode's number and the frame in it of observation `index`."""
        row = int(self._rows[index])
        episode = int(np.searchsorted(self._ends, row, 'right'))
        return episode, row - int(self._starts[episode])

    def indices_of(self, episode: int) -> range:
        """Return the observations that belong to an episode (its number in the dataset)."""
        first = np.searchsorted(self._rows, self._starts[episode])
        last = np.searchsorted(self._rows, self._ends[episode])
        return range(int(first), int(last))

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Return the observations at `indices` (0 to len − 1) with their chunks."""
        rows = self._rows[np.asarray(indices, np.int64)]
        actions, is_pad = self._chunks_at(rows)
        episodes = np.searchsorted(self._ends, rows, 'right')
        return Batch(
            images=self.store.images(rows),
            proprioception=self.store.state[rows],
            actions=actions,
            is_pad=is_pad,
            instructions=[self.store.episodes[e].instruction for e in episodes],
            datasets=np.zeros(len(rows), np.int64),
            rows=rows,
        )

    def chunks(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return actions (B, K, A) float32 and is_pad (B, K) at `indices`."""
        return self._chunks_at(self._rows[np.asarray(indices, np.int64)])

    def _chunks_at(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ends = self._ends[np.searchsorted(self._ends, rows, 'right')]
        places, is_pad = chunk_rows(rows, ends, self.chunk_size, self.stride)
        actions = self.store.actions[places]
        if self._transform is not None:
            actions = self._transform(actions, self.store.state[rows])
        return np.ascontiguousarray(actions, np.float32), is_pad

    def states(self) -> np.ndarray:
        """Return the proprioception (len, P) of all observations."""
        return self.store.state[self._rows]

    def statistics(self) -> Statistics:
        """Return the statistics of the model's inputs and targets.

        Actions as they were recorded: every transition once, as officially, also those that no
        chunk begins with. Actions relative to the observation: all steps of all chunks, without
        padding. The last action dimension (the gripper) is not normalised, as officially.
        """
        if self._transform is None:
            kept = [np.arange(self._starts[e], self._ends[e]) for e in self.selected]
            rows = np.concatenate(kept)
            state, actions = self.store.state[rows], self.store.actions[rows]
        else:
            state, step = self.states(), -(-len(self) // STATISTICS_CHUNKS)
            chunks, is_pad = self.chunks(np.arange(0, len(self), step))
            actions = chunks[~is_pad]
        mask = np.ones(actions.shape[-1], bool)
        mask[-1] = False
        return Statistics(
            key=self.name,
            action=VectorStatistics.from_data(actions, mask),
            proprio=VectorStatistics.from_data(state),
            num_transitions=len(state),
            num_trajectories=len(self.selected),
        )

    def with_episodes(self, episodes: Sequence[int]) -> Dataset:
        """Return the same dataset with other episodes."""
        return Dataset(
            self.name, self.store, self._transform, self.action_space,
            chunk_size=self.chunk_size, stride=self.stride, episodes=episodes,
            complete_chunks=self._complete_chunks, contract=self.contract, fps=self.fps,
            holds_last=self.holds_last,
        )  # fmt: skip

    def split(self, fraction: float, seed: int = 0) -> tuple[Dataset, Dataset | None]:
        """Return a training and a validation part that share no episode.

        Episodes are ranked by a hash of their key, so that new episodes move few old ones.

        Args:
            fraction: of the episodes that goes into validation; at least one if above 0.
            seed: selects another set of episodes.

        Raises:
            DatasetError: a fraction outside [0, 1), or too few episodes to hold one out.
        """
        if not 0 <= fraction < 1:
            raise DatasetError(f'validation fraction: got {fraction}, expected [0, 1)')
        if fraction == 0:
            return self, None
        held = max(1, round(fraction * len(self.selected)))
        if held >= len(self.selected):
            raise DatasetError(
                f'dataset {self.name!r}: {len(self.selected)} episodes are too few to hold out '
                f'{held} for validation'
            )
        ranked = sorted(self.selected, key=lambda e: _rank(self.store.episodes[e].key, seed))
        chosen = set(ranked[:held])
        rest = [e for e in self.selected if e not in chosen]
        return self.with_episodes(rest), self.with_episodes(sorted(chosen))

    @cached_property
    def at_end(self) -> np.ndarray:
        """(len,) bool: observations whose chunk runs past the end of their episode."""
        ends = self._ends[np.searchsorted(self._ends, self._rows, 'right')]
        return self._rows + self.chunk_size * self.stride > ends


def _rank(key: str, seed: int) -> str:
    return hashlib.sha256(f'{seed} {key}'.encode()).hexdigest()


def open_dataset(
    path: str | Path,
    *,
    name: str | None = None,
    images: ImageConfig = OWN_IMAGES,
    contract: RobotContract | None = None,
    action_space: str | None = None,
    kinematics: ForwardKinematics | None = None,
    chunk_size: int = CHUNK_SIZE,
    columns: Columns = DEFAULT,
    complete_chunks: bool | None = None,
    only_successes: bool = False,
    cache: str | Path | bool | None = None,
    cache_format: str = 'auto',
    workers: int = 1,
    progress: bool = False,
) -> Dataset:
    """Open demonstrations of any supported format for training.

    Args:
        path: dataset (see `open_source`).
        name: key of the statistics; None: see `dataset_names`.
        images: size and resize of the images the model sees.
        contract: what the data must agree with; None: its own.
        action_space: what the model predicts; None: the contract's. Must be None for
            datasets of commands (LIBERO, CALVIN, LeRobot without a contract).
        kinematics: for `ee_delta`; None: those of the contract's URDF.
        chunk_size: actions in a chunk.
        columns: what the features of a LeRobot dataset are.
        complete_chunks: see `Dataset`; None: where the actions are motions per step or commands,
            whose last value must not be held, but not for absolute targets.
        only_successes: leave out episodes that are not marked as successful.
        cache: folder of caches; None: that of the user; False: decode each frame when
            it is needed (slow).
        cache_format: `raw`, `jpeg` or `auto`.
        workers: processes that build the cache.
        progress: show a progress bar while building it.

    Raises:
        DatasetError: the data cannot be read or does not fit the contract.
    """
    source = open_source(path, columns)
    check_contract(source, contract)
    stride = _stride(source, contract or source.contract)
    holds_last = source.action_kind == 'joint_target'
    if complete_chunks is None:
        complete_chunks = not holds_last
    chosen = None
    if only_successes:
        marks = [episode.success for episode in source.episodes]
        chosen = successes(marks, f'{source.path}: no episode')
    store: FrameStore
    if cache is False:
        store = LiveFrames(source, images)
    else:
        root = None if cache is None or cache is True else cache
        store = prepare(
            source, images, format=cache_format, root=root, workers=workers, progress=progress
        )
    options: dict[str, Any] = {
        'chunk_size': chunk_size, 'complete_chunks': complete_chunks, 'fps': source.fps,
        'episodes': chosen, 'holds_last': holds_last,
    }  # fmt: skip
    label = name or dataset_names([path])[0]
    used = contract or source.contract
    if source.action_kind == 'command':
        if action_space is not None:
            raise DatasetError(
                f'{source.path}: its actions are commands and cannot be converted to '
                f'{action_space}'
            )
        return Dataset(label, store, None, 'command', contract=contract, **options)
    if used is None:
        raise DatasetError(f'{source.path}: has no contract; name one with data.contract')
    if source.action_kind == 'tool_delta':
        space = action_space or 'ee_delta'
        if space != 'ee_delta':
            raise DatasetError(
                f'{source.path}: its actions are ee_delta and cannot be converted to {space}'
            )
        return Dataset(label, store, summed_tool_deltas, space, contract=used, **options)
    space = action_space or used.action_space
    if space == 'ee_delta' and kinematics is None:
        kinematics = contract_kinematics(used)
    transform = chunk_transform(used, space, kinematics)
    return Dataset(label, store, transform, space, stride=stride, contract=used, **options)


def _stride(source: EpisodeSource, contract: RobotContract | None) -> int:
    """Return the number of frames in one step of the contract.

    Raises:
        DatasetError: none, or the steps of commands are not the contract's.
    """
    if contract is None or source.action_kind == 'command':
        return 1
    frames = contract.step_period * source.fps
    stride = round(frames)
    # 29.97 frames/s are 30.
    if stride < 1 or abs(frames - stride) > _RATE_TOLERANCE * stride:
        raise DatasetError(
            f'{source.path}: {source.fps:g} frames/s do not divide the contract step of '
            f'{contract.step_period:g} s; set step_period of the contract to '
            f'{1 / source.fps:.4g} s'
        )
    if source.action_kind == 'tool_delta' and stride != 1:
        raise DatasetError(
            f'{source.path}: its actions are ee_delta per frame at {source.fps:g} frames/s; set '
            f'step_period of the contract to {1 / source.fps:.4g} s'
        )
    return stride


def check_contract(source: EpisodeSource, contract: RobotContract | None) -> None:
    """Raise DatasetError where a source's contract differs from `contract`.

    The action space may differ: it is computed from absolute targets.
    """
    if contract is None:
        return
    if source.contract is None:
        if isinstance(source, LeRobotSource):
            check_foreign(source, contract)
        return
    found = [
        line
        for line in contract.differences(source.contract)
        if not line.startswith('action_space:')
    ]
    if found:
        raise DatasetError(
            f'{source.path}: was recorded with another contract: {"; ".join(found)}'
        )
