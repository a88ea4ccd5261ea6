# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads LeRobot datasets of version 3.0 and 2.1 without the lerobot library."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.data.codecs import decode_image
from vla_adapter_ros.data.episodes import ActionKind, Episode, StatesActions, files_fingerprint
from vla_adapter_ros.data.files import read_json
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.columns import (
    DEFAULT,
    Columns,
    camera_features,
    feature_names,
)
from vla_adapter_ros.data.lerobot.metadata import episode_rows, read_info, read_lines
from vla_adapter_ros.data.lerobot.stored_images import StoredImages
from vla_adapter_ros.data.lerobot.tables import (
    column_matrix,
    damage,
    parquet_files,
    read_groups,
    read_table,
    read_tasks,
)
from vla_adapter_ros.data.lerobot.video import VideoReader
from vla_adapter_ros.data.lerobot.writer import final_metadata
from vla_adapter_ros.errors import DatasetError, readable
from vla_adapter_ros.robot.contract import RobotContract

OPEN_VIDEOS = 16


@dataclass(frozen=True)
class _Part:
    """Where an episode lies: its row of the table, its first frame there, its length and text."""

    row: int
    first: int
    length: int
    text: str


class LeRobotSource:
    """A LeRobot dataset; see `EpisodeSource`.

    An episode in which the task changes (`task_index` per frame) is read as several episodes.

    Args:
        path: folder with meta/info.json.
        columns: what its features are.
        tolerant: leave damaged episodes out, in place of an error for all.

    Attributes:
        damaged: key → why, of the episodes that are left out.

    Raises:
        DatasetError: another version, missing or damaged files or features, or lengths that do
            not add up.
    """

    def __init__(
        self, path: str | Path, columns: Columns = DEFAULT, tolerant: bool = False
    ) -> None:
        self.path, self.columns = Path(path), columns
        self._tolerant, self.damaged = tolerant, dict[str, str]()
        with readable(self.path, DatasetError):
            self._read_tables()
        self._videos: dict[Path, VideoReader] = {}
        self._stored = StoredImages()
        self._process = os.getpid()

    def _read_tables(self) -> None:
        self.info = read_info(self.path)
        self.version = str(self.info['codebase_version'])
        self._features = self.info['features']
        self._state, self._actions = self.columns.state, self.columns.action
        for option, name in (('state', self.columns.state), ('action', self.columns.action)):
            if name not in self._features:
                raise DatasetError(
                    f'{self.path}: no feature {name!r}: name it with data.{option} (--{option}). '
                    f'It has {self.describe_features()}'
                )
        self.fps = float(self.info['fps'])
        self._keys = camera_features(self.path, self._features, self.columns)
        self.cameras = tuple(self._keys)
        self.contract = self._read_contract()
        self.action_kind = self._kind()
        self.names = feature_names(self._features[self.columns.action])
        self._rows = self._read_rows()
        # Key and metadata of each episode, if we wrote it.
        self._written = list(final_metadata(self.path).items())
        self._parts: list[_Part] = []
        self.episodes: list[Episode] = []
        for number in range(len(self._rows)):
            self._add(number)
        if not self.episodes:
            raise DatasetError(f'{self.path}: has no episodes')

    def describe_features(self) -> str:
        """Return the features a user can choose from, in words."""
        cameras = list(camera_features(self.path, self._features, DEFAULT).values())
        others = [
            f'{key} ({int(np.prod(feature.get("shape") or 1))})'
            for key, feature in self._features.items()
            if key not in layout.INDEX_COLUMNS and feature.get('dtype') not in ('video', 'image')
        ]
        return f'the features {", ".join(others)} and the cameras {", ".join(cameras) or "none"}'

    def _read_contract(self) -> RobotContract | None:
        extra = self.path / layout.EXTRA
        if not extra.is_file():
            return None
        try:
            return RobotContract.from_dict(read_json(extra)['contract'], str(extra))
        except (KeyError, TypeError) as error:
            raise DatasetError(f'{extra}: has no contract') from error

    def _kind(self) -> ActionKind:
        meaning = self.columns.actions
        if self.contract is not None:
            if meaning not in (None, 'joint_target'):
                raise DatasetError(
                    f'{self.path}: its own contract says that the actions are joint targets, '
                    f'data.actions says {meaning}'
                )
            return 'joint_target'
        if meaning == 'ee_delta':
            return 'tool_delta'
        return 'joint_target' if meaning in ('joint_target', 'joint_delta') else 'command'

    def _read_rows(self) -> list[dict[str, Any]]:
        if self.version == 'v2.1':
            rows = read_lines(self.path / 'meta/episodes.jsonl')
        else:
            rows = [
                row
                for file in parquet_files(self.path / 'meta/episodes')
                for row in episode_rows(file)
            ]
        for row in rows:
            if not isinstance(row.get('episode_index'), int) or not row.get('length'):
                raise DatasetError(
                    f'{self.path}: meta/episodes: a row without episode_index or length'
                )
        rows.sort(key=lambda row: row['episode_index'])
        total = int(self.info.get('total_episodes', len(rows)))
        if len(rows) < total:
            raise DatasetError(
                f'{self.path}: info.json counts {total} episodes, the table has {len(rows)}'
            )
        return rows[:total]

    def _add(self, number: int) -> None:
        try:
            with readable(f'{self.path}: row {number} of meta/episodes', DatasetError):
                if self._tolerant:
                    self._frames(number)
                parts = self._split(number)
                self.episodes += [self._episode(part) for part in parts]
                self._parts += parts
        except DatasetError as error:
            if not self._tolerant:
                raise
            key, _ = self._written_as(int(self._rows[number]['episode_index']))
            self.damaged[key] = str(error)

    def _split(self, number: int) -> list[_Part]:
        row = self._rows[number]
        tasks = row.get('tasks') or []
        texts = [tasks] if isinstance(tasks, str) else [str(task) for task in tasks]
        length = int(row['length'])
        if len(texts) == 1:
            return [_Part(number, 0, length, texts[0].strip())]
        if not texts and 'task_index' not in self._features:
            raise DatasetError(
                f'{self.path}: episode {row["episode_index"]}: has no task text'
            )
        # Several tasks: the text of each frame is that of its task_index.
        index = self._vectors(('task_index',))[0][self._frames(number), 0]
        bounds = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), length]
        return [
            _Part(number, first, last - first, self._task(int(index[first]), number))
            for first, last in pairwise(bounds)
        ]

    def _task(self, index: int, number: int) -> str:
        if index not in self._tasks:
            raise DatasetError(
                f'{self.path}: episode {self._rows[number]["episode_index"]}: task_index {index} '
                f'is not in meta/tasks, which has {sorted(self._tasks)}'
            )
        return self._tasks[index].strip()

    @cached_property
    def _tasks(self) -> dict[int, str]:
        if self.version == 'v2.1':
            lines = read_lines(self.path / 'meta/tasks.jsonl')
            return {int(line['task_index']): str(line['task']) for line in lines}
        return dict(enumerate(read_tasks(self.path / layout.TASKS)))

    def _episode(self, part: _Part) -> Episode:
        number = int(self._rows[part.row]['episode_index'])
        if not part.text:
            raise DatasetError(
                f'{self.path}: episode {number}: its task text is empty; write one into '
                'meta/tasks and meta/episodes'
            )
        length = int(self._rows[part.row]['length'])
        whole = part.length == length
        key = f'episode_{number:06d}' + ('' if whole else f'_from_{part.first:06d}')
        # The last part ends as the episode does; of the others nobody said how they ended.
        ends = part.first + part.length == length
        mark = self._written_as(number)[1].get('success') if ends else None
        return Episode(key, part.length, part.text, mark if isinstance(mark, bool) else None)

    def _written_as(self, number: int) -> tuple[str, dict[str, Any]]:
        known = number < len(self._written)
        return self._written[number] if known else (f'episode_{number:06d}', {})

    def number(self, episode: int) -> int:
        """Return an episode's `episode_index` in the tables."""
        return int(self._rows[self._parts[episode].row]['episode_index'])

    def described(self, episode: int) -> tuple[str, dict[str, Any]]:
        """Return the key that an episode was written under, and its metadata.

        Of a part of an episode with several tasks the key says where it begins; of what another
        tool wrote there is no metadata.
        """
        part, found = self._parts[episode], self.episodes[episode]
        row = self._rows[part.row]
        key, metadata = self._written_as(self.number(episode))
        if part.length == int(row['length']):
            return key, dict(metadata)
        return f'{key}_from_{part.first:06d}', {**metadata, 'success': found.success}

    # States and actions --------------------------------------------------------------------------

    @cached_property
    def _data_files(self) -> list[Path]:
        files = parquet_files(self.path / 'data')
        if not files:
            raise DatasetError(f'{self.path}: no data/*.parquet')
        return files

    def _vectors(self, names: tuple[str, ...]) -> list[np.ndarray]:
        """Return columns of all data files, in their order: (N, D) each."""
        parts: list[list[np.ndarray]] = []
        for file in self._data_files:
            why, groups = self._cut.get(file, ('', []))
            if why and not groups:
                continue
            table = read_groups(file, names, groups) if why else read_table(file, names)
            parts.append([column_matrix(table.column(name), name, file) for name in names])
        if not parts:
            raise DatasetError('; '.join(why for why, _ in self._cut.values()))
        try:
            return [np.concatenate(column) for column in zip(*parts, strict=True)]
        except ValueError as error:
            sizes = {part[-1].shape[1] for part in parts}
            raise DatasetError(
                f'{self.path}: the length of {names} differs from file to file: {sizes}'
            ) from error

    @cached_property
    def _cut(self) -> dict[Path, tuple[str, list[int]]]:
        """Damaged file → why it cannot be read, and its row groups that can."""
        names = [name for name in ('episode_index', 'task_index') if name in self._features]
        names = list(dict.fromkeys(('episode_index', *names, self._state, self._actions)))
        files = self._data_files if self._tolerant else []
        found = {file: damage(file, names) for file in files}
        return {file: (why, groups) for file, (why, groups) in found.items() if why}

    @cached_property
    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        numbers = self._vectors(('episode_index',))[0][:, 0]
        order = np.argsort(numbers, kind='stable')
        wanted = [int(row['episode_index']) for row in self._rows]
        return order, np.searchsorted(numbers[order], [wanted, [n + 1 for n in wanted]])

    def _frames(self, number: int) -> np.ndarray:
        """Return the rows of an episode of the table in the data files' order."""
        order, bounds = self._order
        rows = order[bounds[0, number] : bounds[1, number]]
        if len(rows) != int(self._rows[number]['length']):
            raise DatasetError(
                f'{self.path}: episode_{int(self._rows[number]["episode_index"]):06d}: '
                f'{len(rows)} frames of data, the table says {self._rows[number]["length"]}'
                + ''.join(f'; {why}' for why, _ in self._cut.values())
            )
        return rows

    @cached_property
    def _states_actions(self) -> StatesActions:
        return StatesActions(*self._vectors((self._state, self._actions)))

    def states_actions(self, episode: int) -> StatesActions:
        """Return state and actions of all frames."""
        part = self._parts[episode]
        with readable(f'{self.path}: {self.episodes[episode].key}', DatasetError):
            rows = self._frames(part.row)[part.first : part.first + part.length]
            state, actions = (v[rows].astype(np.float32) for v in self._states_actions)
        if self.columns.actions == 'joint_delta' and state.shape == actions.shape:
            actions[:, :-1] += state[:, :-1]
        return StatesActions(state, actions)

    # Images ------------------------------------------------------------------------------------

    def images(self, episode: int, camera: str, frames: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield (H, W, 3) uint8 RGB images of the given frames."""
        where = f'{self.path}: {self.episodes[episode].key}: {camera}'
        with readable(where, DatasetError):
            yield from self._images(episode, self._keys[camera], frames)

    def _images(self, episode: int, key: str, frames: Iterable[int]) -> Iterator[np.ndarray]:
        part = self._parts[episode]
        if self._features[key]['dtype'] == 'video':
            reader, first = self._video(part.row, key)
            for frame in frames:
                yield reader.frame(first + part.first + frame)
        else:
            file, row = self._data_file(part.row), self._rows[part.row]
            number, length = int(row['episode_index']), int(row['length'])
            for frame in frames:
                data = self._stored.read(file, key, number, part.first + frame, length)
                if not data:
                    raise DatasetError(
                        f'{self.path}: {self.episodes[episode].key}: frame {frame}: no image in '
                        f'{key}'
                    )
                yield decode_image(data)

    def _place(self, episode: int, prefix: str) -> dict[str, int]:
        names = ['chunk_index', 'file_index']
        needed = [*names, *['from_timestamp'] * prefix.startswith('videos/')]
        missing = [n for n in needed if self._rows[episode].get(f'{prefix}/{n}') is None]
        if missing:
            raise DatasetError(
                f'{self.path}: meta/episodes: no {prefix}/{missing[0]} for episode '
                f'{self._rows[episode]["episode_index"]}'
            )
        row = self._rows[episode]
        return {name: int(row[f'{prefix}/{name}']) for name in names}

    def _old_place(self, episode: int) -> dict[str, int]:
        number = int(self._rows[episode]['episode_index'])
        size = int(self.info['chunks_size'])
        return {'episode_chunk': number // size, 'episode_index': number}

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

    def _data_file(self, episode: int) -> Path:
        if self.version == 'v2.1':
            place = self._old_place(episode)
        else:
            place = self._place(episode, 'data')
        return self.path / str(self.info['data_path']).format(**place)

    def fingerprint(self) -> str:
        """Return a hash of the metadata's bytes and of all files' names and sizes."""
        folders = [self.path / 'data', self.path / 'videos', self.path / 'meta']
        files = [f for folder in folders for f in folder.rglob('*') if f.is_file()]
        # Instructions may be edited without a change of any size.
        metadata = [f for f in files if f.is_relative_to(self.path / 'meta')]
        found = files_fingerprint(self.path, files, metadata)
        # The cache holds these cameras and actions.
        chosen = replace(self.columns, actions=self.columns.actions or 'joint_target')
        if chosen == replace(DEFAULT, actions='joint_target'):
            return found
        return hashlib.sha256(f'{found} {self.columns}'.encode()).hexdigest()[:16]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {'_videos': {}, '_stored': StoredImages()}
