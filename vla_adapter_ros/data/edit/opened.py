# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A LeRobot v3.0 dataset of any tool, with everything in it that must survive an edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros.data.files import read_json
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.metadata import read_info, read_lines
from vla_adapter_ros.data.lerobot.tables import (
    column_matrix,
    parquet_errors,
    parquet_files,
    read_table,
    read_tasks,
)
from vla_adapter_ros.data.lerobot.writer import STAGING
from vla_adapter_ros.errors import DatasetError

Row = dict[str, Any]


class OpenedSet:
    """A dataset to be edited.

    Attributes:
        path: its folder.
        info: info.json.
        rows: of the table of episodes, with all columns, in order.
        stats: stats.json; {} if there is none.
        extra: our meta/vla_adapter.json, or None.
        lines: of our meta/vla_adapter_episodes.jsonl, one for each episode; None without it.

    Raises:
        DatasetError: it is none, is unfinished, has another version, or its metadata are damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not layout.is_dataset(path):
            raise DatasetError(f'{path}: no LeRobot dataset (meta/info.json)')
        if (path / STAGING).is_dir():
            raise DatasetError(
                f'{path}: has unfinished episodes; run the command that wrote it again first'
            )
        self.info = read_info(path)
        if self.info['codebase_version'] != layout.VERSION:
            raise DatasetError(
                f'{path}: LeRobot version {self.info["codebase_version"]}; edits need '
                f'{layout.VERSION}. The script convert_dataset_v21_to_v30 of lerobot 0.4 brings '
                'it up to date'
            )
        self.features: layout.Features = self.info['features']
        self.fps = float(self.info['fps'])
        self.rows = self._read_rows()
        with parquet_errors(path / layout.TASKS):
            self.tasks = dict(enumerate(read_tasks(path / layout.TASKS)))
        self.stats: dict[str, Any] = self._optional(layout.STATS) or {}
        self.extra: dict[str, Any] | None = self._optional(layout.EXTRA)
        self.lines = self._read_lines()
        self._loaded: tuple[Path, pa.Table] | None = None
        self._in_file: dict[str, dict[Path, list[int]]] = {}

    def _optional(self, name: str) -> Any:
        if not (file := self.path / name).is_file():
            return None
        if not isinstance(data := read_json(file), dict):
            raise DatasetError(f'{file}: expected a JSON object, got {type(data).__name__}')
        return data

    def _read_rows(self) -> list[Row]:
        rows: list[Row] = []
        for file in parquet_files(self.path / 'meta/episodes'):
            with parquet_errors(file):
                rows += pq.read_table(file).to_pylist()
        needed = ['episode_index', 'length', 'data/chunk_index', 'data/file_index']
        for key in self.videos:
            fields = ('chunk_index', 'file_index', 'from_timestamp')
            needed += [f'videos/{key}/{field}' for field in fields]
        for row in rows:
            missing = [name for name in needed if row.get(name) is None]
            if missing:
                raise DatasetError(f'{self.path}: meta/episodes: a row without {missing[0]}')
        rows.sort(key=lambda row: row['episode_index'])
        total = self.info.get('total_episodes', len(rows))
        if type(total) is not int or len(rows) < total or not total:
            raise DatasetError(
                f'{self.path}: info.json counts {total} episodes, the table has {len(rows)}'
            )
        return rows[:total]

    def _read_lines(self) -> list[Row] | None:
        file = self.path / layout.EXTRA_EPISODES
        if not file.is_file():
            return None
        lines = read_lines(file)[: len(self.rows)]
        missing = self.rows[len(lines) :]
        return lines + [unnamed_line(row['episode_index']) for row in missing]

    @property
    def videos(self) -> list[str]:
        """Features that are stored as video."""
        return [name for name, f in self.features.items() if f.get('dtype') == 'video']

    def key(self, number: int) -> str:
        """Return the name of an episode."""
        line = self.lines[number] if self.lines else {}
        return str(line.get('key') or f'episode_{self.rows[number]["episode_index"]:06d}')

    def data_file(self, number: int) -> Path:
        """Return the file with the table of an episode."""
        return self._file(number, 'data', self.info['data_path'])

    def video_file(self, number: int, key: str) -> Path:
        """Return the file with an episode's video of a feature."""
        return self._file(number, f'videos/{key}', self.info['video_path'], video_key=key)

    def _file(self, number: int, prefix: str, pattern: str, **more: str) -> Path:
        row = self.rows[number]
        place = {name: row[f'{prefix}/{name}'] for name in ('chunk_index', 'file_index')}
        return self.path / str(pattern).format(**place, **more)

    def episodes_in(self, file: Path, key: str) -> list[int]:
        """Return the episodes of which a file has a feature's video, in order."""
        if key not in self._in_file:
            self._in_file[key] = {}
            for number in range(len(self.rows)):
                there = self.video_file(number, key)
                self._in_file[key].setdefault(there, []).append(number)
        return self._in_file[key][file]

    def video_frame(self, number: int, key: str) -> int:
        """Return where an episode's first frame lies in its video file."""
        return round(float(self.rows[number][f'videos/{key}/from_timestamp']) * self.fps)

    def table(self, number: int) -> pa.Table:
        """Return all columns of an episode's frames.

        Raises:
            DatasetError: its file is damaged, or has another number of frames.
        """
        file, row = self.data_file(number), self.rows[number]
        # Episodes are asked for in order, and a file holds many.
        if self._loaded is None or self._loaded[0] != file:
            with parquet_errors(file):
                self._loaded = file, pq.read_table(file)
            missing = {'episode_index', 'index'} - set(self._loaded[1].column_names)
            if missing:
                raise DatasetError(f'{file}: no column {min(missing)!r}')
        table = self._loaded[1]
        frames = np.flatnonzero(table.column('episode_index').to_numpy() == row['episode_index'])
        if len(frames) != row['length']:
            raise DatasetError(
                f'{file}: episode {row["episode_index"]}: {len(frames)} frames, the table of '
                f'episodes says {row["length"]}'
            )
        if frames[-1] - frames[0] + 1 == len(frames):
            return table.slice(frames[0], len(frames))
        return table.take(pa.array(frames))

    def texts(self, number: int) -> list[str]:
        """Return the task text of each frame of an episode.

        Raises:
            DatasetError: there is none, or the tables say different things.
        """
        row = self.rows[number]
        told = row.get('tasks') or []
        told = [told] if isinstance(told, str) else [str(text) for text in told]
        indices = self._task_indices.get(row['episode_index'])
        if indices is None:
            found = told * row['length'] if len(told) == 1 else []
        else:
            found = [self.tasks.get(int(index), '') for index in indices]
        if not all(found) or len(found) != row['length']:
            raise DatasetError(f'{self.path}: episode {row["episode_index"]}: has no task text')
        if told and set(told) != set(found):
            raise DatasetError(
                f'{self.path}: episode {row["episode_index"]}: meta/episodes says {told}, '
                f'task_index of its frames {sorted(set(found))}; relabel it first'
            )
        return found

    @cached_property
    def _task_indices(self) -> dict[int, np.ndarray]:
        if 'task_index' not in self.features:
            return {}
        found: dict[int, np.ndarray] = {}
        for file in sorted({self.data_file(number) for number in range(len(self.rows))}):
            table = read_table(file, ['episode_index', 'task_index'])
            numbers, indices = (column_matrix(column)[:, 0] for column in table.columns)
            bounds = np.flatnonzero(np.diff(numbers)) + 1
            starts = np.concatenate([[0], bounds])
            for start, part in zip(starts, np.split(indices, bounds), strict=True):
                before = found.get(int(numbers[start]), part[:0])
                found[int(numbers[start])] = np.concatenate([before, part])
        return found


def unnamed_line(number: int) -> Row:
    """Return our line of metadata for an episode that has none."""
    return {'key': f'episode_{number:06d}', 'metadata': {}}


@dataclass(frozen=True)
class Piece:
    """An episode of the new dataset: frames `first` to before `last` of one of an old dataset.

    Attributes:
        source: the old dataset.
        number: row of the episode there.
        first: its first frame.
        last: the frame after its last.
        text: new task text; None: as it is.
        replaces: the text that the new one replaces; None: any.
    """

    source: OpenedSet
    number: int
    first: int
    last: int
    text: str | None = None
    replaces: str | None = None

    @property
    def length(self) -> int:
        """Number of frames."""
        return self.last - self.first

    @property
    def whole(self) -> bool:
        """Whether all frames are kept."""
        return self.length == self.source.rows[self.number]['length']

    def texts(self) -> list[str]:
        """Return the task text of each frame."""
        if self.text is not None and self.replaces is None:
            return [self.text] * self.length
        old = self.source.texts(self.number)[self.first : self.last]
        return [self.text if text == self.replaces and self.text else text for text in old]

    def table(self) -> pa.Table:
        """Return all columns of the frames."""
        return self.source.table(self.number).slice(self.first, self.length)


def whole_pieces(source: OpenedSet, numbers: Sequence[int] | None = None) -> list[Piece]:
    """Return episodes (default: all) as they are."""
    chosen = range(len(source.rows)) if numbers is None else numbers
    return [Piece(source, n, 0, int(source.rows[n]['length'])) for n in chosen]
