# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The training cache: every frame at the model's size, ready for random access.

Built once per dataset by `python -m vla_adapter_ros.data.prepare`:

    cache.json     key, episodes, cameras, format
    state.npy      (N, P) float32       actions.npy   (N, A) float32
    images.npy     (N, C, S, S, 3) uint8, or for `jpeg`:
    images.bin     all JPEGs one after the other      offsets.npy   (N · C + 1,) int64

Frame n of the dataset is row n; the cameras of a frame lie side by side, so that one sample is
one read. `raw` is 20 times as fast as JPEG and 6 times as large (figures:
`python -m benchmarks.data`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vla_adapter_ros.data.cache_room import check_space, choose_format, default_root
from vla_adapter_ros.data.codecs import JPEG_QUALITY, encode_jpeg
from vla_adapter_ros.data.episodes import Episode, EpisodeSource, all_states_actions
from vla_adapter_ros.data.files import new_folder, read_json, remove_abandoned, storage_errors
from vla_adapter_ros.data.lerobot.columns import add_column_options, columns_of
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.errors import DatasetError, VLAAdapterError, readable
from vla_adapter_ros.processing.images import OWN_IMAGES, ImageConfig, resize_for_model
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.weights.files import json_fingerprint, make_folder, write_json

CACHE_VERSION = 1
DESCRIPTION = 'cache.json'
FORMATS = ('raw', 'jpeg')
# Frames decoded before they are handed on; bounds the memory of a worker.
BLOCK = 64  # [frames]
# Tells programs that make backups to leave the folder out (bford.info/cachedir).
CACHE_TAG = 'Signature: 8a477f597d28d172789f06886806bc55\n'


def cache_key(source: EpisodeSource, images: ImageConfig, format: str) -> str:
    """Return the name of the cache: content of the source, image size and format."""
    parts = {
        'version': CACHE_VERSION,
        'source': source.fingerprint(),
        'cameras': list(source.cameras),
        'size': images.size,
        'resize': images.resize,
        'jpeg_round_trip': images.jpeg_round_trip,
        'format': format,
        'quality': JPEG_QUALITY if format == 'jpeg' else None,
    }
    return json_fingerprint(parts)


class CachedFrames:
    """A finished cache.

    Attributes:
        episodes: as in the source.
        cameras: in the order of the images.
        state, actions: (N, P) and (N, A) float32, in memory.
        size: side of the images [px].

    Raises:
        DatasetError: no cache, one of another version, or a damaged one.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with readable(self.path, DatasetError, 'prepare it again'):
            self._open()

    def _open(self) -> None:
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


def prepare(
    source: EpisodeSource,
    images: ImageConfig = OWN_IMAGES,
    *,
    format: str = 'auto',
    root: str | Path | None = None,
    workers: int = 1,
    progress: bool = False,
) -> CachedFrames:
    """Return the cache of `source`, built first if it does not exist.

    Args:
        source: the demonstrations.
        images: size and resize of the stored images.
        format: `raw`, `jpeg` or `auto` (raw if it fits, up to 50 GB).
        root: folder of caches; None: see `default_root`.
        workers: processes that decode.
        progress: show a progress bar.

    Raises:
        DatasetError: a frame cannot be read, or the disk is too small; nothing incomplete is kept.
    """
    if format not in ('auto', *FORMATS):
        raise DatasetError(f'format: got {format!r}, expected auto or one of {FORMATS}')
    root = default_root() if root is None else Path(root)
    if format == 'auto':
        format = _existing_format(source, images, root) or choose_format(source, images, root)
    target = root / cache_key(source, images, format)
    if not (target / DESCRIPTION).is_file():
        _check_writable(root)
        remove_abandoned(root)
        check_space(root, source, images, format)
        try:
            with storage_errors(target, 'nothing is kept of the cache'):
                with new_folder(target) as folder:
                    _build(folder, source, images, format, workers, progress)
        except OSError:
            # Another run has built the same cache meanwhile.
            if not (target / DESCRIPTION).is_file():
                raise
    return CachedFrames(target)


def _existing_format(source: EpisodeSource, images: ImageConfig, root: Path) -> str | None:
    there = (f for f in FORMATS if (root / cache_key(source, images, f) / DESCRIPTION).is_file())
    return next(there, None)


def _check_writable(root: Path) -> None:
    try:
        make_folder(root)
        reason = '' if os.access(root, os.W_OK | os.X_OK) else 'permission denied'
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise DatasetError(
            f'{root}: the training cache cannot be written there: {reason}; choose another folder '
            '(data.cache, --cache)'
        )


def _build(
    folder: Path,
    source: EpisodeSource,
    images: ImageConfig,
    format: str,
    workers: int,
    progress: bool,
) -> None:
    lengths = [episode.length for episode in source.episodes]
    state, actions = all_states_actions(source)
    (folder / 'CACHEDIR.TAG').write_text(CACHE_TAG)
    np.save(folder / 'state.npy', state)
    np.save(folder / 'actions.npy', actions)
    blocks = _blocks(source, images, format, workers)
    bar = tqdm(blocks, total=sum(-(-n // BLOCK) for n in lengths), unit='block',
               desc=f'cache {source.path.name} ({format})', disable=not progress)  # fmt: skip
    if format == 'raw':
        _write_raw(folder, bar, (sum(lengths), len(source.cameras), images.size))
    else:
        _write_jpeg(folder, bar)
    contract = source.contract
    write_json(
        folder / DESCRIPTION,
        {
            'version': CACHE_VERSION,
            'source': str(source.path.name),
            'format': format,
            'size': images.size,
            'cameras': list(source.cameras),
            'episodes': [
                [e.key, e.length, e.instruction, e.success, e.image_every] for e in source.episodes
            ],
            'contract': None if contract is None else contract.to_dict(),
            'action_kind': source.action_kind,
            'names': list(source.names),
            'fps': source.fps,
        },
    )


def _write_raw(folder: Path, blocks: Iterable[list], shape: tuple[int, int, int]) -> None:
    frames, cameras, size = shape
    header = np.lib.format.open_memmap(
        folder / 'images.npy', 'w+', np.uint8, (frames, cameras, size, size, 3)
    )
    start = header.offset
    header.flush()
    del header
    # Plain writes: a full disk gives an error, where a mapped page would kill the process.
    with (folder / 'images.npy').open('r+b') as file:
        file.seek(start)
        for block in blocks:
            file.write(np.stack(block).tobytes())


def _write_jpeg(folder: Path, blocks: Iterable[list]) -> None:
    offsets = [0]
    with (folder / 'images.bin').open('wb') as file:
        for block in blocks:
            for data in (data for frame in block for data in frame):
                file.write(data)
                offsets.append(offsets[-1] + len(data))
    np.save(folder / 'offsets.npy', np.array(offsets, np.int64))


def _blocks(
    source: EpisodeSource, images: ImageConfig, format: str, workers: int
) -> Iterator[list]:
    """Yield lists of up to BLOCK frames, in order; a frame is (C, S, S, 3) or C JPEGs."""
    if workers <= 1:
        for index, episode in enumerate(source.episodes):
            streams = _streams(source, index, range(episode.length))
            for first in range(0, episode.length, BLOCK):
                count = min(BLOCK, episode.length - first)
                yield [_frame(streams, images, format) for _ in range(count)]
        return
    jobs = (
        (index, first, min(first + BLOCK, episode.length))
        for index, episode in enumerate(source.episodes)
        for first in range(0, episode.length, BLOCK)
    )
    # A forked process would share the decoders and locks of this one.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(workers, context, _set_source, (source, images, format)) as pool:
        pending: deque[Future[list]] = deque()
        for job in jobs:
            pending.append(pool.submit(_work, *job))
            # Finished blocks wait here: more would only fill the memory.
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        for future in pending:
            yield future.result()


_SETTINGS: tuple[EpisodeSource, ImageConfig, str]


def _set_source(source: EpisodeSource, images: ImageConfig, format: str) -> None:
    global _SETTINGS
    _SETTINGS = (source, images, format)


def _work(index: int, first: int, last: int) -> list:
    source, images, format = _SETTINGS
    streams = _streams(source, index, range(first, last))
    return [_frame(streams, images, format) for _ in range(first, last)]


def _streams(source: EpisodeSource, index: int, frames: range) -> list[Iterator[np.ndarray]]:
    return [iter(source.images(index, camera, frames)) for camera in source.cameras]


def _frame(streams: Sequence[Iterator[np.ndarray]], images: ImageConfig, format: str) -> Any:
    # Sources give upright images.
    views = [resize_for_model(next(stream), images, rotate=0) for stream in streams]
    return np.stack(views) if format == 'raw' else [encode_jpeg(view) for view in views]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.data.prepare',
        description="Build the training cache of datasets: every frame at the model's size, "
        'ready for random access. Skips caches that already exist.',
    )
    parser.add_argument(
        'dataset', nargs='+',
        help='LeRobot, LIBERO, RLDS, CALVIN or bag folder, or hub:org/name@revision',
    )  # fmt: skip
    parser.add_argument('--size', type=int, default=224, help='side of the images [px] (224)')
    parser.add_argument(
        '--format', default='auto', choices=['auto', *FORMATS],
        help='raw: fastest; jpeg: a fifth of the size; auto (default): raw if that fits',
    )  # fmt: skip
    parser.add_argument('--cache', help='folder of the caches (~/.cache/vla_adapter_ros/frames)')
    parser.add_argument(
        '--jpeg-round-trip', action='store_true',
        help='compress before resizing, as the released LIBERO checkpoints were trained',
    )  # fmt: skip
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count() or 1, help='processes (default: all cores)'
    )
    add_column_options(parser)
    options = parser.parse_args(arguments)
    images = ImageConfig(size=options.size, jpeg_round_trip=options.jpeg_round_trip)
    for path in options.dataset:
        try:
            done = prepare(
                open_source(path, columns_of(options)), images, format=options.format,
                root=options.cache, workers=options.workers, progress=True,
            )  # fmt: skip
        except VLAAdapterError as error:
            parser.exit(1, f'error: {error}\n')
        size = sum(file.stat().st_size for file in done.path.iterdir())
        print(f'{done.path}: {len(done)} frames, {done.format}, {size / 1e6:.1f} MB')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
