# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Where training caches are, how large they become, and which format fits."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from vla_adapter_ros.data.codecs import encode_jpeg
from vla_adapter_ros.data.episodes import EpisodeSource
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.images import ImageConfig, resize_for_model

# Up to this size `auto` chooses raw: it then stays in the memory of a training machine.
RAW_LIMIT_BYTES = 50_000_000_000
# Frames whose JPEG files are measured to estimate the size of all.
SAMPLED_FRAMES = 16


def default_root() -> Path:
    """Return the folder of caches: never in a dataset, which is copied, uploaded or read-only."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'vla_adapter_ros' / 'frames'


def choose_format(source: EpisodeSource, images: ImageConfig, root: Path) -> str:
    """Return `raw` if that fits into this machine's memory and on its disk, else `jpeg`."""
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    room = min(RAW_LIMIT_BYTES, memory, _free(root))
    return 'raw' if raw_bytes(source, images) <= room else 'jpeg'


def check_space(root: Path, source: EpisodeSource, images: ImageConfig, format: str) -> None:
    """Refuse a cache that the disk cannot hold before hours of decoding.

    Raises:
        DatasetError: names what raw and JPEG need, and what is free.
    """
    raw, free = raw_bytes(source, images), _free(root)
    # JPEG is smaller: it is not measured where it fits anyway.
    if raw <= free:
        return
    jpeg = jpeg_bytes(source, images)
    if format == 'raw' or jpeg > free:
        smaller = ' or the format jpeg' if format == 'raw' and jpeg <= free else ''
        raise DatasetError(
            f'{root}: the {format} cache of {source.path.name} needs {_gigabytes(raw)} raw or '
            f'about {_gigabytes(jpeg)} as JPEG, there are {_gigabytes(free)} free; choose another '
            f'folder (data.cache, --cache){smaller}'
        )


def raw_bytes(source: EpisodeSource, images: ImageConfig) -> int:
    """Return the size of a raw cache."""
    return _image_count(source) * images.size**2 * 3


def jpeg_bytes(source: EpisodeSource, images: ImageConfig) -> int:
    """Return the size of a JPEG cache, estimated from frames of the whole dataset."""
    ends = np.cumsum([episode.length for episode in source.episodes])
    count = min(SAMPLED_FRAMES, int(ends[-1]))
    sizes = []
    for row in np.linspace(0, ends[-1] - 1, count).astype(int).tolist():
        episode = int(np.searchsorted(ends, row, 'right'))
        frame = row - int(ends[episode]) + source.episodes[episode].length
        for camera in source.cameras:
            image = next(iter(source.images(episode, camera, [frame])))
            sizes.append(len(encode_jpeg(resize_for_model(image, images, rotate=0))))
    return round(_image_count(source) * float(np.mean(sizes)))


def _image_count(source: EpisodeSource) -> int:
    return sum(episode.length for episode in source.episodes) * len(source.cameras)


def _free(folder: Path) -> int:
    """Return the free bytes of the disk on which a folder is or will be."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    return shutil.disk_usage(there).free


def _gigabytes(size: int) -> str:
    return f'{size / 1e9:.2f} GB'
