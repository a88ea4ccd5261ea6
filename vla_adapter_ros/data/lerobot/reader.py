# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads LeRobot datasets of version 3.0 and 2.1 without the lerobot library."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vla_adapter_ros.data.codecs import decode_image
from vla_adapter_ros.data.episodes import ActionKind, Episode, StatesActions, files_fingerprint
from vla_adapter_ros.data.files import read_json
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.tables import column_matrix
from vla_adapter_ros.data.lerobot.video import VideoReader
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.robot.contract import RobotContract

OPEN_VIDEOS = 16
OPEN_EPISODES = 8
VERSIONS = ('v2.1', 'v3.0')


class LeRobotSource:
    """A LeRobot dataset; see `EpisodeSource`.

    Args:
        path: folder with meta/info.json.
        state: feature of the proprioception.
        actions: feature of the actions.

    Raises:
        DatasetError: another version, missing files or features, or lengths that do not add up.
    """

    def __init__(
        self, path: str | Path, state: str = layout.STATE, actions: str = layout.ACTION
    ) -> None:
        self.path = Path(path)
        self.info = read_json(self.path / layout.INFO)
        self.version = str(self.info.get('codebase_version'))
        if self.version not in VERSIONS:
            raise DatasetError(
                f'{self.path}: LeRobot version {self.version!r}, expected one of {VERSIONS}'
            )
        self._features = self.info['features']
        self._state, self._actions = state, actions
        for name in (state, actions):
            if name not in self._features:
                raise DatasetError(
                    f'{self.path}: no feature {name!r}; it has {sorted(self._features)}'
                )
        self.fps = float(self.info['fps'])
        self.cameras = _cameras(self._features)
        self.contract, self.action_kind = self._read_contract()
        self.names = _names(self._features[actions])
        self._rows = self._read_rows()
        self.episodes = [self._episode(row) for row in self._rows]
        self._videos: dict[Path, VideoReader] = {}
        self._encoded: dict[tuple[int, str], Any] = {}
        self._process = os.getpid()

    def _read_contract(self) -> tuple[RobotContract | None, ActionKind]:
        extra = self.path / layout.EXTRA
        if not extra.is_file():
            # Written by another tool: what its actions are is not known.
            return None, 'command'
        return RobotContract.from_dict(read_json(extra)['contract'], str(extra)), 'joint_target'

    def _read_rows(self) -> list[dict[str, Any]]:
        total = int(self.info['total_episodes'])
        if self.version == 'v2.1':
            rows = _read_lines(self.path / 'meta/episodes.jsonl')
        else:
            files = sorted((self.path / 'meta/episodes').rglob('*.parquet'))
            rows = [row for file in files for row in _episode_columns(file)]
        rows.sort(key=lambda row: int(row['episode_index']))
        if len(rows) < total:
            raise DatasetError(
                f'{self.path}: info.json counts {total} episodes, the table has {len(rows)}'
            )
        return rows[:total]

    def _episode(self, row: dict[str, Any]) -> Episode:
        number = int(row['episode_index'])
        tasks = row.get('tasks') or []
        if not tasks:
            raise DatasetError(f'{self.path}: episode {number}: has no task text')
        return Episode(f'episode_{number:06d}', int(row['length']), str(tasks[0]))

    # States and actions --------------------------------------------------------------------------

    @cached_property
    def _data_files(self) -> list[Path]:
        files = sorted((self.path / 'data').rglob('*.parquet'))
        if not files:
            raise DatasetError(f'{self.path}: no data/*.parquet')
        return files

    @cached_property
    def _states_actions(self) -> dict[int, StatesActions]:
        names = ['episode_index', self._state, self._actions]
        parts: list[list[np.ndarray]] = []
        for file in self._data_files:
            table = pq.read_table(file, columns=names)
            parts.append([column_matrix(table.column(name)) for name in names])
        episode, state, actions = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(episode[:, 0], kind='stable')
        bounds = np.searchsorted(episode[order, 0], np.arange(len(self._rows) + 1))
        found = {}
        for i, item in enumerate(self.episodes):
            rows = order[bounds[i] : bounds[i + 1]]
            if len(rows) != item.length:
                raise DatasetError(
                    f'{self.path}: {item.key}: {len(rows)} frames of data, '
                    f'the table says {item.length}'
                )
            found[i] = StatesActions(
                state[rows].astype(np.float32), actions[rows].astype(np.float32)
            )
        return found

    def states_actions(self, episode: int) -> StatesActions:
        """Return state and actions of all frames."""
        return self._states_actions[episode]

    # Images ------------------------------------------------------------------------------------

    def images(self, episode: int, camera: str, frames: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield (H, W, 3) uint8 RGB images of the given frames."""
        key = layout.image_key(camera)
        if self._features[key]['dtype'] == 'video':
            reader, first = self._video(episode, key)
            for frame in frames:
                yield reader.frame(first + frame)
        else:
            encoded = self._encoded_images(episode, key)
            for frame in frames:
                yield decode_image(encoded[frame]['bytes'])

    def _place(self, episode: int, prefix: str) -> dict[str, int]:
        row = self._rows[episode]
        return {name: int(row[f'{prefix}/{name}']) for name in ('chunk_index', 'file_index')}

    def _old_place(self, episode: int) -> dict[str, int]:
        size = int(self.info['chunks_size'])
        return {'episode_chunk': episode // size, 'episode_index': episode}

    def _video(self, episode: int, key: str) -> tuple[VideoReader, int]:
        if self.version == 'v2.1':
            place, first = self._old_place(episode), 0
        else:
            prefix = f'videos/{key}'
            place = self._place(episode, prefix)
            first = round(float(self._rows[episode][f'{prefix}/from_timestamp']) * self.fps)
        file = self.path / str(self.info['video_path']).format(video_key=key, **place)
        return self._open_video(file), first

    def _open_video(self, file: Path) -> VideoReader:
        # Decoders must not be shared with the process this one was forked from.
        if self._process != os.getpid():
            self._videos, self._process = {}, os.getpid()
        if file not in self._videos:
            while len(self._videos) >= OPEN_VIDEOS:
                self._videos.pop(next(iter(self._videos))).close()
            self._videos[file] = VideoReader(file, self.fps)
        return self._videos[file]

    def _encoded_images(self, episode: int, key: str) -> Any:
        if self.version == 'v2.1':
            place = self._old_place(episode)
        else:
            place = self._place(episode, 'data')
        file = self.path / str(self.info['data_path']).format(**place)
        number = int(self._rows[episode]['episode_index'])
        # Frames are often read one by one: the images of the last episodes are kept.
        if (episode, key) not in self._encoded:
            while len(self._encoded) >= OPEN_EPISODES:
                self._encoded.pop(next(iter(self._encoded)))
            table = pq.read_table(file, columns=[key], filters=[('episode_index', '=', number)])
            self._encoded[episode, key] = table.column(key).to_pylist()
        return self._encoded[episode, key]

    def fingerprint(self) -> str:
        """Return a hash of the metadata and of all files' names and sizes."""
        folders = [self.path / 'data', self.path / 'videos', self.path / 'meta']
        files = [f for folder in folders for f in folder.rglob('*') if f.is_file()]
        return files_fingerprint(self.path, files, [self.path / layout.INFO])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {'_videos': {}, '_encoded': {}}


def _cameras(features: dict[str, Any]) -> tuple[str, ...]:
    keys = [k for k, feature in features.items() if feature['dtype'] in ('video', 'image')]
    return tuple(key.removeprefix(layout.IMAGES) for key in keys)


def _names(feature: dict[str, Any]) -> tuple[str, ...]:
    names = feature.get('names')
    if isinstance(names, dict):
        # Older tools nest the list: {'motors': [...]}.
        names = next(iter(names.values()))
    size = int(feature['shape'][0])
    return tuple(map(str, names)) if names else tuple(str(i) for i in range(size))


def _episode_columns(file: Path) -> list[dict[str, Any]]:
    names = [n for n in pq.read_schema(file).names if not n.startswith('stats/')]
    return pq.read_table(file, columns=names).to_pylist()


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text().splitlines() if line]
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read: {error.strerror}') from error
