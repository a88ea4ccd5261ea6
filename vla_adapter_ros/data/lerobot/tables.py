# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Columns and tables of LeRobot's Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.weights.files import pointer_hint, replacement

# Of one file: a week at 100 frames per second.
MOST_ROWS = 60_000_000


def vector_column(values: np.ndarray) -> pa.FixedSizeListArray:
    """Return (N, D) values as a column of float32 lists of length D."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files below a folder, without the `._` files that macOS leaves."""
    return sorted(f for f in folder.rglob('*.parquet') if not f.name.startswith('.'))


@contextmanager
def parquet_errors(file: Path) -> Iterator[None]:
    """Turn what pyarrow raises for a missing or damaged file into a DatasetError."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        hint = pointer_hint(file) or f': {str(error).splitlines()[0]}'
        raise DatasetError(f'{file}: no readable Parquet file{hint}') from error


def column_names(file: Path) -> list[str]:
    """Return the columns of a file, of which nothing else is read.

    Raises:
        DatasetError: it has more rows than any recording: repeated values take no room in a file,
            but as much memory as others.
    """
    metadata = pq.read_metadata(file)
    if metadata.num_rows > MOST_ROWS:
        raise DatasetError(f'{file}: {metadata.num_rows} rows, expected at most {MOST_ROWS}')
    names: list[str] = metadata.schema.to_arrow_schema().names
    return names


def read_table(file: Path, names: Sequence[str], episode: int | None = None) -> pa.Table:
    """Return columns of a file, of one episode if given.

    Raises:
        DatasetError: missing, damaged, or without these columns.
    """
    with parquet_errors(file):
        there = column_names(file)
        missing = [name for name in names if name not in there]
        if missing:
            raise DatasetError(f'{file}: no column {missing[0]!r}; it has {there}')
        chosen = None if episode is None else [('episode_index', '=', episode)]
        return pq.read_table(file, columns=list(names), filters=chosen)


def read_groups(file: Path, names: Sequence[str], groups: Sequence[int]) -> pa.Table:
    """Return columns of some row groups of a file, as `read_table` does of all."""
    with parquet_errors(file), pq.ParquetFile(file) as opened:
        return opened.read_row_groups(list(groups), columns=list(names))


def damage(file: Path, names: Sequence[str]) -> tuple[str, list[int]]:
    """Return why columns of a file cannot be read ('': they can), and the row groups that can."""
    try:
        _read_all(read_table(file, names), names, file)
        return '', []
    except DatasetError as error:
        why = str(error)
    try:
        with parquet_errors(file), pq.ParquetFile(file) as opened:
            count = opened.num_row_groups
    except DatasetError:
        return why, []
    good = []
    for group in range(count):
        with suppress(DatasetError, KeyError):
            _read_all(read_groups(file, names, [group]), names, file)
            good.append(group)
    return why, good


def _read_all(table: pa.Table, names: Sequence[str], file: Path) -> None:
    for name in names:
        column_matrix(table.column(name), name, file)


def column_matrix(
    column: pa.ChunkedArray, name: str = '', file: Path = Path()
) -> np.ndarray:
    """Return a column of numbers, or of lists of D numbers, as (N, D); missing numbers are NaN.

    Args:
        column: of a Parquet file.
        name: of the column, for the message.
        file: where it is, for the message.

    Raises:
        DatasetError: a row is missing, has another length, or holds no numbers.
    """
    flat: Any = column.combine_chunks()
    if isinstance(flat, pa.ChunkedArray):
        flat = pa.concat_arrays(flat.chunks) if flat.num_chunks else pa.array([], flat.type)
    rows = len(flat)
    while _is_list(flat.type):
        lengths = pc.list_value_length(flat).fill_null(-1).to_numpy()
        usual = int(np.bincount(lengths[lengths >= 0]).argmax()) if (lengths >= 0).any() else 0
        bad = np.flatnonzero(lengths != usual)
        if len(bad):
            row = int(bad[0]) * rows // max(1, len(flat))
            got = f'{lengths[bad[0]]} values' if lengths[bad[0]] >= 0 else 'nothing'
            raise DatasetError(
                f'{file}: row {row}{_episode_of(file, row)}: {name} has {got}, other rows have '
                f'{usual} values'
            )
        flat = flat.flatten()
    if pa.types.is_boolean(flat.type):
        flat = flat.cast(pa.uint8())
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_null)
    if not any(kind(flat.type) for kind in kinds):
        raise DatasetError(f'{file}: {name} holds {flat.type}, expected numbers')
    values = flat.to_numpy(zero_copy_only=False)
    return values.reshape(rows, -1) if rows else np.zeros((0, 0))


def _is_list(kind: pa.DataType) -> bool:
    checks = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(check(kind) for check in checks)


def _episode_of(file: Path, row: int) -> str:
    with parquet_errors(file):
        if 'episode_index' not in column_names(file):
            return ''
        number = pq.read_table(file, columns=['episode_index']).column(0)[row].as_py()
    return f' (episode {number})'


def read_tasks(path: Path) -> list[str]:
    """Return the task texts of tasks.parquet in the order of their index."""
    with parquet_errors(path):
        table = read_table(path, column_names(path))
    # The text is the pandas index: named 'task' by lerobot 0.6, unnamed by 0.4.
    texts = table.column(next(name for name in table.column_names if name != 'task_index'))
    order = np.argsort(table.column('task_index').to_numpy())
    values = texts.to_pylist()
    return [values[i] for i in order]


def write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """Write tasks.parquet: a pandas table indexed by the task's text."""
    import pandas as pd

    index = pd.Index(list(tasks), name='task')
    frame = pd.DataFrame({'task_index': np.arange(len(tasks))}, index=index)
    replace_table(path, pa.Table.from_pandas(frame))


def rows_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table with the columns of all of them."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def replace_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file that appears only when complete."""
    with replacement(path) as temporary:
        pq.write_table(table, temporary)
