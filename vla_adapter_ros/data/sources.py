# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The formats of demonstrations, detected from the files present."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vla_adapter_ros.data.bags.source import BagSource
from vla_adapter_ros.data.episodes import EpisodeSource
from vla_adapter_ros.data.lerobot.columns import DEFAULT, Columns
from vla_adapter_ros.data.lerobot.layout import is_dataset
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.public.calvin import CalvinSource
from vla_adapter_ros.data.public.libero import LiberoSource
from vla_adapter_ros.data.public.rlds import RLDSSource
from vla_adapter_ros.errors import DatasetError


@dataclass(frozen=True)
class Format:
    """One kind of dataset.

    Attributes:
        name: for error messages, with the file it is recognised by.
        matches: whether a folder or file is of this kind.
        open: the reader.
    """

    name: str
    matches: Callable[[Path], bool]
    open: Callable[[Path], EpisodeSource]


# The first that matches is taken.
FORMATS = (
    Format('LeRobot (meta/info.json)', is_dataset, LeRobotSource),
    Format(
        'LIBERO (*.hdf5)', lambda p: p.suffix == '.hdf5' or any(p.glob('*.hdf5')), LiberoSource
    ),
    Format('RLDS (*.tfrecord-*)', lambda p: any(p.glob('*.tfrecord-*')), RLDSSource),
    Format(
        'CALVIN (lang_annotations/)', lambda p: (p / 'lang_annotations').is_dir(), CalvinSource
    ),
    Format(
        'bags (metadata.yaml)',
        lambda p: (p / 'metadata.yaml').is_file() or any(p.glob('*/metadata.yaml')),
        BagSource,
    ),
)


def open_source(path: str | Path, columns: Columns = DEFAULT) -> EpisodeSource:
    """Open demonstrations of any supported format, detected from the files present.

    LeRobot v3.0 and v2.1; LIBERO HDF5 (a folder of .hdf5 files, or one file); RLDS (TFRecord
    shards with features.json); CALVIN (episode_*.npz); bags (metadata.yaml, or a folder of such).

    Args:
        path: folder or file.
        columns: what the features of a LeRobot dataset are; of no other format.

    Raises:
        DatasetError: the path does not exist, or its format is unknown.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetError(f'{path}: no such file or folder')
    if is_dataset(path):
        return LeRobotSource(path, columns)
    if columns != DEFAULT:
        raise DatasetError(f'{path}: features can be named of LeRobot datasets only')
    for kind in FORMATS:
        if kind.matches(path):
            return kind.open(path)
    if (path / '.staging').is_dir():
        raise DatasetError(f'{path}: was interrupted before it was finalised; run the writer')
    *others, last = (kind.name for kind in FORMATS)
    raise DatasetError(f'{path}: expected {", ".join(others)} or {last}')
