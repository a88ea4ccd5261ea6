# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads an edited dataset back and compares it with what it was made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vla_adapter_ros.data.edit.opened import OpenedSet, Piece, whole_pieces
from vla_adapter_ros.data.edit.summaries import is_depth, read_images
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.video import VideoReader
from vla_adapter_ros.errors import DatasetError

# Of an image that was encoded again, against the one before [levels of 255].
_ENCODED_AGAIN = 12.0


def check(pieces: Sequence[Piece], folder: Path, encoded: Collection[tuple[int, str]]) -> None:
    """Compare every row of every table, and the first and last image of every video.

    Args:
        pieces: what the dataset was made of.
        folder: the new dataset.
        encoded: episode and feature of videos that were encoded again.

    Raises:
        DatasetError: something differs; nothing is to be replaced then.
    """
    new = OpenedSet(folder)
    if len(new.rows) != len(pieces):
        raise _differs(folder, 'episodes', len(new.rows), len(pieces))
    frames = 0
    pairs = zip(whole_pieces(new), pieces, strict=True)
    # Not shown where nobody looks on.
    bar = tqdm(pairs, 'read back', len(pieces), unit='episode', leave=False, disable=None)
    for number, (made, piece) in enumerate(bar):
        _check_table(made, piece, frames)
        frames += piece.length
        for key in new.videos:
            if not is_depth(new.features[key]):
                _check_images(made, piece, key, (number, key) in encoded)
    for key in new.videos:
        _check_lengths(new, key)
    if _is_readable(pieces[0].source):
        LeRobotSource(folder)


def _is_readable(source: OpenedSet) -> bool:
    """Return whether the reader of training opens a dataset; it needs more than an edit."""
    try:
        LeRobotSource(source.path)
    except DatasetError:
        return False
    return True


def _check_table(made: Piece, piece: Piece, first: int) -> None:
    place = f'{made.source.path}: episode {made.number}'
    new, old = made.table(), piece.table()
    changed = [*layout.INDEX_COLUMNS] if not piece.whole else ['episode_index', 'index']
    for name in set(new.column_names) - {*changed, 'task_index'}:
        column = old.column(name).cast(new.schema.field(name).type)
        if not new.column(name).equals(column):
            raise DatasetError(f'{place}: {name} is read back differently')
    index = new.column('index').to_numpy()
    if not np.array_equal(index, first + np.arange(piece.length)):
        raise DatasetError(f'{place}: index is not {first} and on')
    if made.texts() != piece.texts():
        raise DatasetError(f'{place}: task texts are read back differently')


def _check_images(made: Piece, piece: Piece, key: str, encoded: bool) -> None:
    frames = sorted({0, piece.length - 1})
    pairs = zip(read_images(made, key, frames), read_images(piece, key, frames), strict=True)
    for frame, (new, old) in zip(frames, pairs, strict=True):
        error = np.abs(new.astype(int) - old).mean() if new.shape == old.shape else np.inf
        if error > (_ENCODED_AGAIN if encoded else 0.0):
            raise DatasetError(
                f'{made.source.path}: episode {made.number}: frame {frame} of {key} differs from '
                f'that of {piece.source.key(piece.number)} in {piece.source.path}'
            )


def _check_lengths(new: OpenedSet, key: str) -> None:
    wanted: Counter[Path] = Counter()
    for number, row in enumerate(new.rows):
        wanted[new.video_file(number, key)] += row['length']
    for file, length in wanted.items():
        reader = VideoReader(file, new.fps)
        # A file that was taken whole may have more frames than episodes refer to.
        if reader.length < length:
            raise _differs(file, 'frames', reader.length, length)
        reader.close()


def _differs(place: Path, what: str, found: int, wanted: int) -> DatasetError:
    return DatasetError(f'{place}: {found} {what} are read back, expected {wanted}')
