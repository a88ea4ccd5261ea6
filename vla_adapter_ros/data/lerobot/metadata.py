# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reading the metadata of LeRobot datasets that any tool may have written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from vla_adapter_ros.data.files import read_json
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.tables import column_names, parquet_errors, read_table
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.weights.files import pointer_hint

# Of one vector; names of its dimensions are made from its declared shape.
MOST_VALUES = 100_000
VERSIONS = ('v2.1', 'v3.0')
_OLD_PATHS = {
    'data_path': 'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet',
    'video_path': 'videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4',
}
_PATHS = {'data_path': layout.DATA_PATH, 'video_path': layout.VIDEO_PATH}


def read_info(path: Path) -> dict[str, Any]:
    """Return info.json; fields that follow from the version are filled in where they are missing.

    Raises:
        DatasetError: missing, malformed, another version, or a field that cannot be guessed.
    """
    file = path / layout.INFO
    info = read_json(file)
    if not isinstance(info, dict):
        raise DatasetError(f'{file}: expected a JSON object, got {type(info).__name__}')
    version = info.get('codebase_version')
    if version not in VERSIONS:
        raise DatasetError(
            f'{path}: LeRobot version {str(version)!r}, expected one of {VERSIONS}; lerobot\'s '
            'convert_dataset scripts bring older ones up to date'
        )
    fps = info.get('fps')
    if not isinstance(fps, int | float) or isinstance(fps, bool) or not fps > 0:
        raise DatasetError(
            f'{file}: fps is {fps!r}, expected frames per second above 0; write the rate the data '
            'were recorded at into it'
        )
    features = info.get('features')
    if not isinstance(features, dict) or not all(isinstance(f, dict) for f in features.values()):
        raise DatasetError(f'{file}: no mapping "features": it names the columns of the data')
    for key, feature in features.items():
        if feature.get('dtype') not in ('video', 'image', 'string'):
            _check_shape(feature.get('shape'), f'{file}: features: {key}')
    for name, default in (_OLD_PATHS if version == 'v2.1' else _PATHS).items():
        info[name] = info.get(name) or default
    info['chunks_size'] = info.get('chunks_size') or layout.FILES_PER_CHUNK
    return info


def _check_shape(shape: object, where: str) -> None:
    if not shape:
        raise DatasetError(f'{where}: no shape')
    sizes = shape if isinstance(shape, list) else []
    if not sizes or not all(type(size) is int and size > 0 for size in sizes):
        raise DatasetError(f'{where}: shape is {str(shape)[:60]!r}, expected a list of integers')
    if math.prod(sizes) > MOST_VALUES:
        raise DatasetError(
            f'{where}: shape is {sizes}, expected at most {MOST_VALUES} values in a frame'
        )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines.

    Raises:
        DatasetError: missing, or a line is no JSON object.
    """
    rows = []
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'{path}: cannot be read: {error}') from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise DatasetError(f'{path}: line {number} is no JSON object{pointer_hint(path)}')
        rows.append(row)
    return rows


def episode_rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a table of episodes, without their statistics."""
    with parquet_errors(file):
        names = [n for n in column_names(file) if not n.startswith('stats/')]
    rows: list[dict[str, Any]] = read_table(file, names).to_pylist()
    return rows
