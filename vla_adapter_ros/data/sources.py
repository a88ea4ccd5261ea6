# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The formats of demonstrations, detected from the files present."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_adapter_ros.data.bags.source import BagSource
from vla_adapter_ros.data.edit.place import interrupted
from vla_adapter_ros.data.episodes import EpisodeSource
from vla_adapter_ros.data.hub import dataset_folder
from vla_adapter_ros.data.lerobot.columns import DEFAULT, Columns
from vla_adapter_ros.data.lerobot.layout import is_dataset
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.public.calvin import CalvinSource
from vla_adapter_ros.data.public.libero import LiberoSource
from vla_adapter_ros.data.public.rlds import RLDSSource
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.weights.hub import is_hub, parse_address


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


# Folders of a version or a part: they are named by the folder they lie in.
_PART = re.compile(r'\d+\.\d+\.\d+|training|validation')

# The first that matches is taken. CALVIN's folders hold millions of files: looking for others'
# names in them takes seconds.
FORMATS = (
    Format('LeRobot (meta/info.json)', is_dataset, LeRobotSource),
    Format(
        'CALVIN (lang_annotations/)', lambda p: (p / 'lang_annotations').is_dir(), CalvinSource
    ),
    Format(
        'LIBERO (*.hdf5)', lambda p: p.suffix == '.hdf5' or any(p.glob('*.hdf5')), LiberoSource
    ),
    Format('RLDS (*.tfrecord-*)', lambda p: any(p.glob('*.tfrecord-*')), RLDSSource),
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
        path: folder or file, or `hub:org/name@revision`.
        columns: what the features of a LeRobot dataset are; of no other format.

    Raises:
        DatasetError: the path does not exist, or its format is unknown.
    """
    path = dataset_folder(path)
    if not path.exists():
        raise DatasetError(f'{path}: no such file or folder{interrupted(path)}')
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


def dataset_names(paths: Sequence[str | Path]) -> list[str]:
    """Return a name for each dataset: its folder's, or that of the folder around a version.

    `libero_object_no_noops/1.0.0` is `libero_object_no_noops`. Equal names are made different by
    the folders around them.
    """
    parts = []
    for path in paths:
        if is_hub(path):
            address = parse_address(path)
            full = Path('/', address.repo, address.folder)
        else:
            full = Path(path).expanduser().resolve()
        if _PART.fullmatch(full.name):
            full = full.parent
        parts.append([*full.parent.parts[1:], full.stem if full.is_file() else full.name])
    names = ['/'.join(part[-1:]) for part in parts]
    for depth in range(2, max(map(len, parts), default=1) + 1):
        names = [
            '/'.join(part[-depth:]) if names.count(name) > 1 else name
            for part, name in zip(parts, names, strict=True)
        ]
    return names
