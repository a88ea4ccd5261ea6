# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Statistics of an edited dataset: computed anew of numbers, combined from episodes of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vla_adapter_ros.data.codecs import decode_image
from vla_adapter_ros.data.edit.opened import OpenedSet, Piece, Row
from vla_adapter_ros.data.lerobot.staging import STATISTICS_STRIDE
from vla_adapter_ros.data.lerobot.tables import column_matrix
from vla_adapter_ros.data.lerobot.video import VideoReader
from vla_adapter_ros.data.statistics import (
    Statistics,
    flatten_statistics,
    image_histogram,
    nested_statistics,
    pool_statistics,
    summarise,
    summarise_histogram,
)

_POOLED = {'min', 'max', 'mean', 'std', 'count'}


class Summaries:
    """Statistics of a dataset that is being written.

    Args:
        base: what is described there is described in the new dataset.
    """

    def __init__(self, base: OpenedSet) -> None:
        self._features, self._stats = base.features, base.stats
        first = base.rows[0]
        self._described = {name.split('/')[1] for name in first if name.startswith('stats/')}
        self._described |= set(base.stats)
        kinds = ('video', 'image')
        self._cameras = [
            name
            for name, feature in base.features.items()
            if feature.get('dtype') in kinds and not is_depth(feature)
        ]
        self._vectors = [
            name
            for name, feature in base.features.items()
            if feature.get('dtype') not in (*kinds, 'string') and len(feature['shape']) == 1
        ]
        self._values: dict[str, list[np.ndarray]] = {}

    def without_stale(self, row: Row) -> Row:
        """Return the row of an episode that was cropped without what is computed anew."""
        stale = tuple(f'stats/{name}/' for name in (*self._vectors, *self._cameras))
        return {name: value for name, value in row.items() if not name.startswith(stale)}

    def take(self, row: Row, old: Row, table: pa.Table) -> None:
        """Count an episode's numbers.

        Args:
            row: of the new table of episodes; gets its statistics.
            old: of the table before.
            table: the frames.
        """
        for name in self._vectors:
            if name in self._described and name in table.column_names:
                matrix = column_matrix(table.column(name), name)
                self._values.setdefault(name, []).append(matrix)
                if f'stats/{name}/mean' in old:
                    row |= flatten_statistics({name: summarise(matrix)})

    def finish(self, pieces: Sequence[Piece], rows: Sequence[Row]) -> dict[str, Statistics]:
        """Return stats.json; rows get the statistics of images that they lack."""
        statistics: dict[str, Statistics] = {
            name: summarise(np.concatenate(parts)) for name, parts in self._values.items()
        }
        for name in sorted(self._described - set(statistics)):
            if name in self._cameras:
                for piece, row in zip(pieces, rows, strict=True):
                    if not nested_statistics(row, name):
                        row |= flatten_statistics({name: _of_images(piece, name)})
            parts = [nested_statistics(row, name) for row in rows]
            if all(set(part) >= _POOLED for part in parts):
                statistics[name] = pool_statistics(parts)
            elif name in self._stats:
                statistics[name] = self._stats[name]
        return {name: statistics[name] for name in self._features if name in statistics}


def _of_images(piece: Piece, name: str) -> Statistics:
    frames = range(0, piece.length, STATISTICS_STRIDE)
    images = read_images(piece, name, frames)
    return summarise_histogram(np.sum([image_histogram(image) for image in images], axis=0))


def is_depth(feature: Mapping[str, Any]) -> bool:
    """Return whether a camera's feature holds distances."""
    info = feature.get('info') or {}
    return bool(info.get('video.is_depth_map') or info.get('is_depth_map'))


def read_images(piece: Piece, name: str, frames: Sequence[int]) -> list[np.ndarray]:
    """Return (H, W, 3) uint8 RGB images of frames of an episode.

    Raises:
        DatasetError: there is none, or it is damaged.
    """
    source = piece.source
    if source.features[name]['dtype'] == 'video':
        reader = VideoReader(source.video_file(piece.number, name), source.fps)
        first = source.video_frame(piece.number, name) + piece.first
        images = [reader.frame(first + frame) for frame in frames]
        reader.close()
        return images
    column = piece.table().column(name)
    return [decode_image((column[frame].as_py() or {}).get('bytes') or b'') for frame in frames]
