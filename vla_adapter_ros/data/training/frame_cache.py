# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The training cache: every frame at the model's size, ready for random access.

Built once per data set by `python -m vla_adapter_ros.data.training.prepare`:

    cache.json     key, episodes, cameras, format
    state.npy      (N, P) float32       actions.npy   (N, A) float32
    images.npy     (N, C, S, S, 3) uint8, or for `jpeg`:
    images.bin     all JPEGs one after the other      offsets.npy   (N · C + 1,) int64

Frame n of the whole set lies at row n; the cameras of a frame lie side by side, so that one
sample is one read. `raw` is 20 times as fast as JPEG and 6 times as large (figures:
`python -m benchmarks.data`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.data.episodes import Episode, EpisodeSource
from vla_adapter_ros.data.files import read_json
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.images import ImageConfig
from vla_adapter_ros.robot.contract import RobotContract

CACHE_VERSION = 1
DESCRIPTION = 'cache.json'
FORMATS = ('raw', 'jpeg')
JPEG_QUALITY = 95
# Up to this size `auto` chooses raw: it then stays in the memory of a training machine.
RAW_LIMIT_BYTES = 50_000_000_000


def cache_key(source: EpisodeSource, images: ImageConfig, form: str) -> str:
    """Return the name of the cache: content of the source, image size and format."""
    parts = {
        'version': CACHE_VERSION,
        'source': source.fingerprint(),
        'cameras': list(source.cameras),
        'size': images.size,
        'resize': images.resize,
        'jpeg_round_trip': images.jpeg_round_trip,
        'format': form,
        'quality': JPEG_QUALITY if form == 'jpeg' else None,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def choose_format(source: EpisodeSource, images: ImageConfig) -> str:
    """Return `raw` if the whole set is small enough, else `jpeg`."""
    frames = sum(episode.length for episode in source.episodes)
    size = frames * len(source.cameras) * images.size**2 * 3
    return 'raw' if size <= RAW_LIMIT_BYTES else 'jpeg'


def cache_path(
    source: EpisodeSource, images: ImageConfig, form: str, root: str | Path | None = None
) -> Path:
    """Return the folder of a source's cache, by default inside the data set."""
    if root is None:
        folder = source.path if source.path.is_dir() else source.path.parent
        root = folder / '.cache'
    return Path(root) / cache_key(source, images, form)


class CachedFrames:
    """A finished cache.

    Attributes:
        episodes: as in the source.
        cameras: in the order of the images.
        state, actions: (N, P) and (N, A) float32, in memory.
        size: side of the images [px].

    Raises:
        DatasetError: no cache there, of another version, or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        description = read_json(self.path / DESCRIPTION)
        if description.get('version') != CACHE_VERSION:
            raise DatasetError(
                f'{self.path}: cache version {description.get("version")!r}, this release reads '
                f'{CACHE_VERSION}; prepare it again'
            )
        self.description: dict[str, Any] = description
        self.episodes = [Episode(*entry) for entry in description['episodes']]
        self.cameras = tuple(description['cameras'])
        self.size = int(description['size'])
        self.state = self._load('state.npy', None)
        self.actions = self._load('actions.npy', None)
        self.format = str(description['format'])
        self._open_images()
        if len(self.state) != len(self) or len(self.actions) != len(self):
            raise DatasetError(
                f'{self.path}: damaged: {len(self.state)} states, {len(self)} frames'
            )

    def _load(self, name: str, mode: Any) -> np.ndarray:
        try:
            return np.load(self.path / name, mmap_mode=mode)
        except (OSError, ValueError) as error:
            raise DatasetError(f'{self.path / name}: cannot be read: {error}') from error

    def _open_images(self) -> None:
        if self.format == 'raw':
            self._images = self._load('images.npy', 'r')
            return
        self._offsets = self._load('offsets.npy', None)
        self._images = np.memmap(self.path / 'images.bin', np.uint8, 'r')
        if len(self._images) != self._offsets[-1]:
            raise DatasetError(f'{self.path}: damaged: images.bin has {len(self._images)} bytes')

    def __len__(self) -> int:
        return sum(episode.length for episode in self.episodes)

    @property
    def contract(self) -> RobotContract | None:
        """The contract of the source, if it had one."""
        data = self.description['contract']
        return None if data is None else RobotContract.from_dict(data, str(self.path))

    def images(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return (B, C, S, S, 3) uint8 RGB of the frames at `rows`."""
        rows = np.asarray(rows, np.int64)
        shape = (len(rows), len(self.cameras), self.size, self.size, 3)
        batch = np.empty(shape, np.uint8)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f'rows {rows.min()} to {rows.max()} of {len(self)}')
        if self.format == 'raw':
            # One call, which frees the interpreter lock once; `clip` writes without a buffer.
            flat = self._images.reshape(len(self._images), -1)
            np.take(flat, rows, axis=0, out=batch.reshape(len(rows), -1), mode='clip')
            return batch
        for place, row in zip(batch, rows, strict=True):
            self._decode(int(row), place)
        return batch

    def _decode(self, row: int, place: np.ndarray) -> None:
        import simplejpeg

        for camera in range(len(self.cameras)):
            index = row * len(self.cameras) + camera
            data = self._images[self._offsets[index] : self._offsets[index + 1]]
            simplejpeg.decode_jpeg(data, buffer=place[camera])
