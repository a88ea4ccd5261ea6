# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One episode as a folder: frames.parquet, a video per camera, episode.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros.data.codecs import encode_png
from vla_adapter_ros.data.files import new_folder
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.tables import vector_column
from vla_adapter_ros.data.lerobot.video import VideoWriter
from vla_adapter_ros.data.statistics import HISTOGRAM_BINS, image_histogram
from vla_adapter_ros.errors import DatasetError, ObservationError, readable
from vla_adapter_ros.processing.images import ImageConfig, check_image, resize_for_model
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract

FRAMES, EPISODE = 'frames.parquet', 'episode.json'
# One image in this many goes into the images' statistics.
STATISTICS_STRIDE = 8
# Encoded images of one group of rows: what is in memory at once, and what a reader reads at once.
GROUP_BYTES = 16_000_000
_DESCRIBED = {
    'key': str, 'instruction': str, 'length': int, 'sizes': dict, 'histograms': dict,
    'metadata': dict,
}  # fmt: skip


def read_description(file: Path) -> dict[str, Any]:
    """Return what `EPISODE` tells of a staged episode. Raises DatasetError if it is damaged."""
    with readable(file, DatasetError, 'remove its folder and run the command again'):
        description: dict[str, Any] = json.loads(file.read_text(encoding='utf-8'))
        for name, kind in _DESCRIBED.items():
            if type(description[name]) is not kind:
                raise TypeError(f'{name} is {description[name]!r:.40}')
        description['histograms'] = {
            camera: np.array(rows, np.int64).reshape(3, HISTOGRAM_BINS)
            for camera, rows in description['histograms'].items()
        }
        return description


@dataclass
class StagedEpisode:
    """An episode without its frames."""

    key: str
    instruction: str | None
    actions: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)


class _Table:
    """frames.parquet, written group by group: memory does not grow with the episode."""

    def __init__(self, path: Path, actions: np.ndarray, cameras: Iterable[str]) -> None:
        self._path, self._actions = path, actions
        self._writer: pq.ParquetWriter | None = None
        self._written = 0
        self._bytes = 0
        self._states: list[np.ndarray] = []
        self._images: dict[str, list[bytes]] = {camera: [] for camera in cameras}

    def __len__(self) -> int:
        return self._written + len(self._states)

    def add(self, state: np.ndarray, images: Mapping[str, bytes]) -> None:
        self._states.append(state)
        for camera, data in images.items():
            self._images[camera].append(data)
            self._bytes += len(data)
        if self._bytes >= GROUP_BYTES:
            self.write()

    def write(self) -> None:
        """Write what was added since the last group."""
        actions = self._actions[self._written : len(self)]
        # Of too many observations the episode is refused, when it is known how many they are.
        if len(self._states) and len(actions) == len(self._states):
            columns: dict[str, pa.Array] = {
                layout.STATE: vector_column(np.stack(self._states)),
                layout.ACTION: vector_column(actions),
            }
            for camera, encoded in self._images.items():
                names = pa.nulls(len(encoded), pa.string())
                columns[layout.image_key(camera)] = pa.StructArray.from_arrays(
                    [pa.array(encoded, pa.binary()), names], names=['bytes', 'path']
                )
            table = pa.table(columns)
            if self._writer is None:
                # PNG does not compress further.
                self._writer = pq.ParquetWriter(
                    self._path, table.schema, compression='snappy', use_dictionary=False
                )
            self._writer.write_table(table)
        self._written, self._bytes = len(self), 0
        self._states.clear()
        for encoded in self._images.values():
            encoded.clear()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Frames:
    """Takes observations one by one; images are written immediately."""

    def __init__(
        self, folder: Path, settings: layout.DatasetSettings, actions: np.ndarray
    ) -> None:
        self._folder, self._settings = folder, settings
        self._contract = settings.contract
        self._stack = ExitStack()
        self._videos: dict[str, VideoWriter] = {}
        stored = self._contract.cameras if settings.storage == 'image' else ()
        self._table = _Table(folder / FRAMES, actions, stored)
        self._stack.callback(self._table.close)
        self.histograms: dict[str, np.ndarray] = {}
        self.sizes: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._table)

    def add(self, observation: Observation) -> None:
        index = len(self)
        state = self._state(observation, index)
        encoded: dict[str, bytes] = {}
        for camera, spec in self._contract.cameras.items():
            if camera not in observation.images:
                raise DatasetError(
                    f'observation {index}: no image of camera {camera!r}; '
                    f'it has {sorted(observation.images)}'
                )
            image = self._stored(camera, observation.images[camera], spec.rotate, index)
            if self._settings.storage == 'image':
                encoded[camera] = encode_png(image)
            else:
                self._write_video(camera, image)
        self._table.add(state, encoded)

    def _state(self, observation: Observation, index: int) -> np.ndarray:
        state = np.asarray(observation.proprioception, np.float64)
        if state.shape != (self._contract.action_dim,):
            raise DatasetError(
                f'observation {index}: proprioception has shape {state.shape}, '
                f'expected ({self._contract.action_dim},)'
            )
        _check_finite(state[None], self._contract, f'observation {index}: proprioception')
        return state

    def _stored(self, camera: str, image: np.ndarray, rotate: int, index: int) -> np.ndarray:
        """Return the image as it is stored; count it in the statistics."""
        try:
            check_image(image)
        except ObservationError as error:
            raise DatasetError(f'observation {index}: {camera}: {error}') from error
        if (side := self._settings.image_size) is None:
            image = np.rot90(image, -rotate // 90)
        else:
            config = ImageConfig(size=side, jpeg_round_trip=False)
            image = resize_for_model(image, config, rotate=rotate)
        size = (image.shape[0], image.shape[1])
        if self.sizes.setdefault(camera, size) != size:
            raise DatasetError(
                f'observation {index}: {camera} is {size[1]}x{size[0]}, the images before are '
                f'{self.sizes[camera][1]}x{self.sizes[camera][0]}'
            )
        if index % STATISTICS_STRIDE == 0:
            total = self.histograms.setdefault(camera, np.zeros((3, 256), np.int64))
            total += image_histogram(image)
        return image

    def _write_video(self, camera: str, image: np.ndarray) -> None:
        if camera not in self._videos:
            file = self._folder / f'{camera}.mp4'
            writer = VideoWriter(file, self._settings.fps, self._settings.quality)
            self._videos[camera] = self._stack.enter_context(writer)
        self._videos[camera].write(image)

    def finish(self) -> None:
        """Write what is left; all observations were added."""
        self._table.write()

    def close(self) -> None:
        self._stack.close()


def stage_episode(
    target: Path,
    episode: StagedEpisode,
    observations: Iterable[Observation],
    settings: layout.DatasetSettings,
) -> None:
    """Write one episode into the folder `target`, which appears only when complete.

    Raises:
        DatasetError: observations, actions or instruction do not fit the contract.
    """
    check_actions(episode.actions, settings.contract)
    with new_folder(target) as folder:
        frames = _Frames(folder, settings, episode.actions)
        try:
            for index, observation in enumerate(observations):
                if index == 0 and episode.instruction is None:
                    episode.instruction = observation.instruction
                frames.add(observation)
            frames.finish()
        finally:
            frames.close()
        if len(frames) != len(episode.actions):
            raise DatasetError(
                f'episode {episode.key!r}: {len(frames)} observations, '
                f'{len(episode.actions)} actions'
            )
        instruction = (episode.instruction or '').strip()
        if not instruction:
            raise DatasetError(f'episode {episode.key!r}: the instruction is empty')
        _write_description(folder / EPISODE, episode, instruction, frames)


def check_actions(actions: np.ndarray, contract: RobotContract) -> None:
    """Raise DatasetError unless actions are (T, J + 1), finite, and at least one."""
    if actions.ndim != 2 or actions.shape[1] != contract.action_dim or not len(actions):
        raise DatasetError(
            f'actions: got shape {actions.shape}, expected (frames, {contract.action_dim})'
        )
    _check_finite(actions, contract, 'actions')


def _check_finite(values: np.ndarray, contract: RobotContract, what: str) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise DatasetError(
            f'{what}: frame {row}, {contract.names[column]} is {values[row, column]}'
        )


def _write_description(
    path: Path, episode: StagedEpisode, instruction: str, frames: _Frames
) -> None:
    description: Mapping[str, Any] = {
        'key': episode.key,
        'instruction': instruction,
        'length': len(frames),
        'sizes': frames.sizes,
        'histograms': {name: rows.tolist() for name, rows in frames.histograms.items()},
        'metadata': episode.metadata,
    }
    try:
        path.write_text(json.dumps(description))
    except TypeError as error:
        raise DatasetError(f'episode {episode.key!r}: metadata is not JSON: {error}') from error
