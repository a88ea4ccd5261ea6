# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Encoded images in the Parquet files of a LeRobot dataset, a bounded number of them in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros.data.lerobot.tables import parquet_errors, read_table
from vla_adapter_ros.errors import DatasetError

OPEN_FILES = 16
# Groups of rows up to this size are read at once and kept for random access; larger ones, which
# other tools write, are read from the file a few images after the other.
LARGE_GROUP_BYTES = 64_000_000
# All kept groups of a reader together.
HELD_BYTES = 256_000_000
_STREAMED_ROWS = 16


class StoredImages:
    """Reads encoded images by file, episode and frame."""

    def __init__(self) -> None:
        self._files: OrderedDict[Path, _File] = OrderedDict()
        self._groups: OrderedDict[tuple[Path, str, int], pa.ChunkedArray] = OrderedDict()

    def read(self, file: Path, key: str, episode: int, frame: int, length: int) -> bytes | None:
        """Return the PNG or JPEG bytes of a frame; None if there are none.

        Args:
            file: Parquet file of the episode.
            key: feature of the camera.
            episode: its `episode_index`.
            frame: number in the episode.
            length: of the episode, as the table of episodes says.

        Raises:
            DatasetError: missing or damaged file or column, or another number of frames.
        """
        opened = self._open(file)
        rows = opened.rows(episode)
        if len(rows) != length:
            raise DatasetError(
                f'{file}: {len(rows)} images of {key} in episode {episode}, the table says '
                f'{length}'
            )
        row = int(rows[frame])
        group = opened.group_of(row)
        with parquet_errors(file):
            if opened.group_bytes(key, group) > LARGE_GROUP_BYTES:
                value = opened.next_value(key, group, row)
            else:
                value = self._group(opened, key, group)[row - opened.start(group)].as_py()
        return (value or {}).get('bytes')

    def _open(self, path: Path) -> _File:
        if path not in self._files:
            while len(self._files) >= OPEN_FILES:
                self._files.popitem(last=False)[1].close()
            self._files[path] = _File(path)
        self._files.move_to_end(path)
        return self._files[path]

    def _group(self, file: _File, key: str, group: int) -> pa.ChunkedArray:
        name = (file.path, key, group)
        if name not in self._groups:
            found = file.read_group(key, group)
            held = sum(column.nbytes for column in self._groups.values())
            while self._groups and held + found.nbytes > HELD_BYTES:
                held -= self._groups.popitem(last=False)[1].nbytes
            self._groups[name] = found
        self._groups.move_to_end(name)
        return self._groups[name]


class _File:
    """One Parquet file, open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        numbers = read_table(path, ['episode_index']).column(0).to_numpy()
        self._order = np.argsort(numbers, kind='stable')
        self._numbers = numbers[self._order]
        with parquet_errors(path):
            self._file = pq.ParquetFile(path, buffer_size=1 << 20)
        meta = self._file.metadata
        sizes = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        # Place in large groups by (feature, group): next row, rows that come from there on.
        self._streams: dict[tuple[str, int], tuple[int, Iterator[Any]]] = {}
        self._bytes: dict[tuple[str, int], int] = {}

    def rows(self, episode: int) -> np.ndarray:
        first, last = np.searchsorted(self._numbers, [episode, episode + 1])
        return self._order[first:last]

    def group_of(self, row: int) -> int:
        return int(np.searchsorted(self._starts, row, 'right')) - 1

    def start(self, group: int) -> int:
        return int(self._starts[group])

    def group_bytes(self, key: str, group: int) -> int:
        if (key, group) not in self._bytes:
            self._check_column(key)
            meta = self._file.metadata.row_group(group)
            columns = [meta.column(number) for number in range(meta.num_columns)]
            self._bytes[key, group] = sum(
                column.total_uncompressed_size
                for column in columns
                if f'{column.path_in_schema}.'.startswith(f'{key}.')
            )
        return self._bytes[key, group]

    def _check_column(self, key: str) -> None:
        there = self._file.schema_arrow.names
        if key not in there:
            raise DatasetError(f'{self.path}: no column {key!r}; it has {there}')

    def read_group(self, key: str, group: int) -> pa.ChunkedArray:
        return self._file.read_row_group(group, columns=[key]).column(0)

    def next_value(self, key: str, group: int, row: int) -> Any:
        """Return the value of a row; from the group's start if it lies before the last one."""
        place, values = self._streams.get((key, group), (row + 1, iter(())))
        if place > row:
            place, values = self.start(group), self._values(key, group)
        for number, value in enumerate(values, start=place):
            if number == row:
                self._streams[key, group] = (row + 1, values)
                return value.as_py()
        raise DatasetError(f'{self.path}: no row {row}')

    def _values(self, key: str, group: int) -> Iterator[Any]:
        for batch in self._file.iter_batches(_STREAMED_ROWS, [group], [key]):
            yield from batch.column(0)

    def close(self) -> None:
        self._streams.clear()
        self._file.close()
