# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Columns and tables of LeRobot's Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def vector_column(values: np.ndarray) -> pa.FixedSizeListArray:
    """Return (N, D) values as a column of float32 lists of length D."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def column_matrix(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of numbers, or of lists of D numbers, as (N, D)."""
    rows = len(column)
    flat: Any = column
    while pa.types.is_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
        flat = pa.chunked_array([chunk.flatten() for chunk in flat.chunks])
    return flat.to_numpy().reshape(rows, -1)


def read_tasks(path: Path) -> list[str]:
    """Return the task texts of tasks.parquet in the order of their index."""
    table = pq.read_table(path)
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


def replace_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file that appears only when complete."""
    temporary = path.with_name(f'.{path.name}')
    pq.write_table(table, temporary)
    temporary.replace(path)
