# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Joins staged episodes into the files of a LeRobot v3.0 dataset.

Data and video files are written once and never changed; the table of episodes and info.json,
which refer to them, are replaced last. A crash in between leaves the old dataset and all staged
episodes; running again overwrites the files nothing refers to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros.data.files import LIBRARIES, read_json
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.metadata import read_info
from vla_adapter_ros.data.lerobot.staging import EPISODE, FRAMES, read_description
from vla_adapter_ros.data.lerobot.tables import (
    column_matrix,
    read_tasks,
    replace_table,
    rows_table,
    write_tasks,
)
from vla_adapter_ros.data.lerobot.video import (
    CODEC_NAME,
    KEY_FRAME_EVERY,
    PIXEL_FORMAT,
    check_joined,
    codec_settings,
    join_videos,
)
from vla_adapter_ros.data.statistics import (
    Statistics,
    flatten_statistics,
    nested_statistics,
    pool_statistics,
    summarise,
    summarise_histogram,
)
from vla_adapter_ros.errors import DatasetError, readable
from vla_adapter_ros.weights.files import make_folder, replacement, write_json, write_text
from vla_adapter_ros.weights.metadata import software_versions

FORMAT_VERSION = 1
MEGABYTE = 1_000_000
ACTION_MEANING = 'absolute joint targets, to be reached one frame period after the frame'


@dataclass
class _Staged:
    folder: Path
    description: dict[str, Any]

    @property
    def key(self) -> str:
        return str(self.description['key'])

    @property
    def length(self) -> int:
        return int(self.description['length'])


class _Existing:
    """The dataset before this run."""

    def __init__(self, path: Path) -> None:
        self.rows: list[dict[str, Any]] = []
        self.tasks: list[str] = []
        self.lines: list[str] = []
        self.extra: dict[str, Any] = {}
        self.features: layout.Features | None = None
        self.frames = 0
        if not layout.is_dataset(path):
            return
        with readable(path, DatasetError):
            self._read(path)

    def _read(self, path: Path) -> None:
        info = read_info(path)
        self.features = info['features']
        for file in sorted((path / 'meta/episodes').rglob('*.parquet')):
            self.rows += pq.read_table(file).to_pylist()
        self.rows.sort(key=lambda row: int(row['episode_index']))
        # info.json is replaced last: rows it does not count are of an interrupted run.
        self.rows = self.rows[: info['total_episodes']]
        self.frames = info['total_frames']
        self.tasks = read_tasks(path / layout.TASKS)[: info['total_tasks']]
        self.lines = (path / layout.EXTRA_EPISODES).read_text().splitlines()[: len(self.rows)]
        self.extra = read_json(path / layout.EXTRA)

    def next_file(self, prefix: str) -> int:
        """Return the number of the first unused file of `data` or `videos/<key>`."""
        used = [
            row[f'{prefix}/chunk_index'] * layout.FILES_PER_CHUNK + row[f'{prefix}/file_index']
            for row in self.rows
        ]
        return max(used, default=-1) + 1


class _Assembly:
    """One run of `assemble`: the existing dataset and the staged episodes."""

    def __init__(
        self,
        path: Path,
        staged: Sequence[_Staged],
        existing: _Existing,
        settings: layout.DatasetSettings,
    ) -> None:
        self.path, self.staged, self.existing = path, staged, existing
        self.settings, self.contract, self.fps = settings, settings.contract, settings.fps
        self.features = _features(staged, existing, settings)
        self.tasks = list(existing.tasks)
        for episode in staged:
            if episode.description['instruction'] not in self.tasks:
                self.tasks.append(episode.description['instruction'])
        self.rows = self._episode_rows()

    def _episode_rows(self) -> list[dict[str, Any]]:
        rows = []
        first = self.existing.frames
        for number, episode in enumerate(self.staged, start=len(self.existing.rows)):
            tasks = [episode.description['instruction']]
            rows.append(layout.episode_row(number, tasks, episode.length, first))
            first += episode.length
        return rows

    def write_data(self) -> None:
        schema = layout.parquet_schema(self.features)
        # A dictionary of images would only be another copy of them.
        plain = [name for name in schema.names if not name.startswith(layout.IMAGES)]
        sizes = [(episode.folder / FRAMES).stat().st_size for episode in self.staged]
        number = self.existing.next_file('data')
        for group in _groups(sizes, layout.DATA_FILE_MB * MEGABYTE):
            place = layout.file_place(number)
            file = self.path / layout.DATA_PATH.format(**place)
            make_folder(file.parent)
            with replacement(file) as temporary:
                with pq.ParquetWriter(
                    temporary, schema, compression='snappy', use_dictionary=plain
                ) as writer:
                    for i in group:
                        for table in self._episode_tables(i, schema):
                            writer.write_table(table)
                        self.rows[i] |= {f'data/{name}': value for name, value in place.items()}
            number += 1

    def _episode_tables(self, i: int, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yield an episode group by group, as it was staged."""
        episode, row = self.staged[i], self.rows[i]
        task = self.tasks.index(episode.description['instruction'])
        with pq.ParquetFile(episode.folder / FRAMES) as file:
            first = 0
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                frames = np.arange(first, first + len(table))
                constant = np.ones(len(table), np.int64)
                columns = {name: table.column(name) for name in table.column_names} | {
                    'timestamp': pa.array((frames / self.fps).astype(np.float32)),
                    'frame_index': pa.array(frames),
                    'episode_index': pa.array(constant * row['episode_index']),
                    'index': pa.array(frames + row['dataset_from_index']),
                    'task_index': pa.array(constant * task),
                }
                yield pa.table([columns[name] for name in schema.names], schema=schema)
                first += len(table)

    def write_videos(self, camera: str) -> None:
        key = layout.image_key(camera)
        prefix = f'videos/{key}'
        parts = [episode.folder / f'{camera}.mp4' for episode in self.staged]
        sizes = [part.stat().st_size for part in parts]
        number = self.existing.next_file(prefix)
        settings = [codec_settings(part) for part in parts]
        for group in _groups(sizes, layout.VIDEO_FILE_MB * MEGABYTE, settings):
            place = layout.file_place(number)
            file = self.path / layout.VIDEO_PATH.format(video_key=key, **place)
            make_folder(file.parent)
            joined = [parts[i] for i in group]
            with replacement(file) as temporary:
                join_videos(joined, temporary, self.fps)
                check_joined(temporary, joined, self.fps)
            frame = 0
            for i in group:
                length = self.staged[i].length
                self.rows[i] |= {f'{prefix}/{name}': value for name, value in place.items()}
                self.rows[i] |= {
                    f'{prefix}/from_timestamp': frame / self.fps,
                    f'{prefix}/to_timestamp': (frame + length) / self.fps,
                }
                frame += length
            number += 1

    def remove_strays(self) -> None:
        """Remove data and video files that no episode refers to: left by an interrupted run."""
        rows = [*self.existing.rows, *self.rows]
        named = set()
        for prefix, pattern in [('data', layout.DATA_PATH), *self._video_patterns()]:
            for row in rows:
                place = {name: row[f'{prefix}/{name}'] for name in ('chunk_index', 'file_index')}
                named.add(self.path / pattern.format(**place))
        for file in [*self.path.glob('data/*/*'), *self.path.glob('videos/*/*/*')]:
            if file not in named:
                file.unlink()
        for file in self.path.glob('meta/**/.*.tmp'):
            file.unlink()

    def _video_patterns(self) -> list[tuple[str, str]]:
        if self.settings.storage != 'video':
            return []
        keys = [layout.image_key(camera) for camera in self.contract.cameras]
        return [(f'videos/{k}', layout.VIDEO_PATH.replace('{video_key}', k)) for k in keys]

    def write_meta(self) -> None:
        for i, episode in enumerate(self.staged):
            self.rows[i] |= flatten_statistics(_episode_statistics(episode))
        rows = [*self.existing.rows, *self.rows]
        place = self.path / layout.EPISODES_PATH.format(chunk_index=0, file_index=0)
        make_folder(place.parent)
        replace_table(place, rows_table(rows))
        write_tasks(self.path / layout.TASKS, self.tasks)
        write_json(self.path / layout.STATS, self._statistics(rows))
        lines = [
            json.dumps({'key': e.key, 'metadata': e.description['metadata']}) for e in self.staged
        ]
        text = '\n'.join([*self.existing.lines, *lines]) + '\n'
        write_text(self.path / layout.EXTRA_EPISODES, text)
        write_json(self.path / layout.EXTRA, self._extra())
        frames = rows[-1]['dataset_to_index']
        robot, tasks = self.contract.name, len(self.tasks)
        info = layout.make_info(self.features, self.fps, robot, len(rows), frames, tasks)
        write_json(self.path / layout.INFO, info)

    def _statistics(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Statistics]:
        values: dict[str, list[np.ndarray]] = {}
        names = [layout.STATE, layout.ACTION, *layout.INDEX_COLUMNS]
        for file in sorted((self.path / 'data').rglob('*.parquet')):
            table = pq.read_table(file, columns=names)
            for name in names:
                values.setdefault(name, []).append(column_matrix(table.column(name)))
        statistics = {name: summarise(np.concatenate(parts)) for name, parts in values.items()}
        for key in map(layout.image_key, self.contract.cameras):
            statistics[key] = pool_statistics([nested_statistics(row, key) for row in rows])
        return statistics

    def _extra(self) -> dict[str, Any]:
        extra = self.existing.extra
        kept = {name: extra[name] for name in layout.HISTORY if name in extra}
        return kept | {
            'format_version': FORMAT_VERSION,
            **self.settings.to_dict(),
            'images': 'upright: the rotation of the contract is applied',
            'action': ACTION_MEANING,
            'versions': software_versions(*LIBRARIES),
        }


def assemble(path: Path, staging: Path, settings: layout.DatasetSettings) -> None:
    """Add the staged episodes to the dataset at `path`.

    Raises:
        DatasetError: nothing is staged and there is no dataset, or image sizes differ.
    """
    existing = _Existing(path)
    known = {json.loads(line)['key'] for line in existing.lines}
    staged = [episode for episode in _read_staged(staging) if episode.key not in known]
    if not staged:
        if existing.rows:
            return
        raise DatasetError(f'{path}: no episodes to make a dataset of')
    assembly = _Assembly(path, staged, existing, settings)
    assembly.write_data()
    if settings.storage == 'video':
        for camera in settings.contract.cameras:
            assembly.write_videos(camera)
    assembly.remove_strays()
    assembly.write_meta()


def _read_staged(staging: Path) -> list[_Staged]:
    folders = sorted(
        path for path in staging.iterdir() if path.is_dir() and not path.name.startswith('.')
    )
    return [_Staged(folder, read_description(folder / EPISODE)) for folder in folders]


def _features(
    staged: Sequence[_Staged],
    existing: _Existing,
    settings: layout.DatasetSettings,
) -> layout.Features:
    sizes = staged[0].description['sizes']
    for episode in staged:
        if episode.description['sizes'] != sizes:
            raise DatasetError(
                f'episode {episode.key!r}: images are {episode.description["sizes"]} '
                f'(height, width), those of {staged[0].key!r} are {sizes}'
            )
    codec = {
        'codec': CODEC_NAME,
        'pix_fmt': PIXEL_FORMAT,
        'g': KEY_FRAME_EVERY,
        'crf': settings.quality,
    }
    cameras = {camera: tuple(sizes[camera]) for camera in settings.contract.cameras}
    features = layout.make_features(
        settings.contract.names, cameras, settings.storage, settings.fps, codec
    )
    for name, feature in (existing.features or {}).items():
        if features[name]['shape'] != feature.get('shape'):
            raise DatasetError(
                f'{name}: shape {features[name]["shape"]}, in the dataset {feature.get("shape")}'
            )
    return features


def _groups(
    sizes: Sequence[int], limit: int, kinds: Sequence[bytes] | None = None
) -> Iterable[range]:
    """Yield ranges of consecutive items of one kind, of at most `limit` together (or one item)."""
    start, total = 0, 0
    for index, size in enumerate(sizes):
        changes = kinds is not None and kinds[index] != kinds[start]
        if index > start and (changes or total + size > limit):
            yield range(start, index)
            start, total = index, 0
        total += size
    yield range(start, len(sizes))


def _episode_statistics(episode: _Staged) -> dict[str, Statistics]:
    table = pq.read_table(episode.folder / FRAMES, columns=[layout.STATE, layout.ACTION])
    statistics = {
        name: summarise(column_matrix(table.column(name))) for name in table.column_names
    }
    for camera, counts in episode.description['histograms'].items():
        statistics[layout.image_key(camera)] = summarise_histogram(counts)
    return statistics
