# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Builds the training cache of a data set (see `cache.py`)."""

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

from vla_adapter_ros.data.episodes import EpisodeSource, all_vectors
from vla_adapter_ros.data.files import new_folder, remove_abandoned, storage_errors, write_json
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.data.training import frame_cache as cache
from vla_adapter_ros.errors import DatasetError, VLAAdapterError
from vla_adapter_ros.processing.images import OWN_IMAGES, ImageConfig, to_model_size

# Frames decoded before they are handed on; bounds the memory of a worker.
BLOCK = 64


def prepare(
    source: EpisodeSource,
    images: ImageConfig = OWN_IMAGES,
    *,
    form: str = 'auto',
    root: str | Path | None = None,
    workers: int = 1,
    progress: bool = False,
) -> cache.CachedFrames:
    """Return the cache of `source`, built first if it is not there.

    Args:
        source: the demonstrations.
        images: size and resize of the stored images.
        form: `raw`, `jpeg` or `auto` (raw up to 50 GB).
        root: folder of caches; None: `.cache` in the data set.
        workers: processes that decode.
        progress: show a progress bar.

    Raises:
        DatasetError: a frame cannot be read, or the disk is full; nothing half-made is kept.
    """
    if form not in ('auto', *cache.FORMATS):
        raise DatasetError(f'format: got {form!r}, expected auto or one of {cache.FORMATS}')
    if form == 'auto':
        form = cache.choose_format(source, images)
    target = cache.cache_path(source, images, form, root)
    if not (target / cache.DESCRIPTION).is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target.parent)
        with storage_errors(target, 'nothing is kept of the cache'), new_folder(target) as folder:
            _build(folder, source, images, form, workers, progress)
    return cache.CachedFrames(target)


def _build(
    folder: Path,
    source: EpisodeSource,
    images: ImageConfig,
    form: str,
    workers: int,
    progress: bool,
) -> None:
    lengths = [episode.length for episode in source.episodes]
    state, actions = all_vectors(source)
    np.save(folder / 'state.npy', state)
    np.save(folder / 'actions.npy', actions)
    blocks = _blocks(source, images, form, workers)
    bar = tqdm(blocks, total=sum(-(-n // BLOCK) for n in lengths), unit='block',
               desc=f'cache {source.path.name} ({form})', disable=not progress)  # fmt: skip
    if form == 'raw':
        _write_raw(folder, bar, (sum(lengths), len(source.cameras), images.size))
    else:
        _write_jpeg(folder, bar)
    contract = source.contract
    write_json(
        folder / cache.DESCRIPTION,
        {
            'version': cache.CACHE_VERSION,
            'source': str(source.path.name),
            'format': form,
            'size': images.size,
            'cameras': list(source.cameras),
            'episodes': [[e.key, e.length, e.instruction] for e in source.episodes],
            'contract': None if contract is None else contract.to_dict(),
            'meaning': source.meaning,
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


def _blocks(source: EpisodeSource, images: ImageConfig, form: str, workers: int) -> Iterator[list]:
    """Yield lists of up to BLOCK frames, in order; a frame is (C, S, S, 3) or C JPEGs."""
    if workers <= 1:
        for index, episode in enumerate(source.episodes):
            streams = _streams(source, index, range(episode.length))
            for first in range(0, episode.length, BLOCK):
                count = min(BLOCK, episode.length - first)
                yield [_frame(streams, images, form) for _ in range(count)]
        return
    jobs = (
        (index, first, min(first + BLOCK, episode.length))
        for index, episode in enumerate(source.episodes)
        for first in range(0, episode.length, BLOCK)
    )
    # A forked process would share the decoders and locks of this one.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(workers, context, _set_source, (source, images, form)) as pool:
        pending: deque[Future[list]] = deque()
        for job in jobs:
            pending.append(pool.submit(_work, *job))
            # Finished blocks wait here: more would only fill the memory.
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        for future in pending:
            yield future.result()


_SETTINGS: tuple[EpisodeSource, ImageConfig, str]


def _set_source(source: EpisodeSource, images: ImageConfig, form: str) -> None:
    global _SETTINGS
    _SETTINGS = (source, images, form)


def _work(index: int, first: int, last: int) -> list:
    source, images, form = _SETTINGS
    streams = _streams(source, index, range(first, last))
    return [_frame(streams, images, form) for _ in range(first, last)]


def _streams(source: EpisodeSource, index: int, frames: range) -> list[Iterator[np.ndarray]]:
    return [iter(source.images(index, camera, frames)) for camera in source.cameras]


def _frame(streams: Sequence[Iterator[np.ndarray]], images: ImageConfig, form: str) -> Any:
    # Sources give upright images.
    views = [to_model_size(next(stream), images, rotate=0) for stream in streams]
    return np.stack(views) if form == 'raw' else [_encode(view) for view in views]


def _encode(image: np.ndarray) -> bytes:
    import simplejpeg

    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=cache.JPEG_QUALITY, colorsubsampling='444'
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.data.training.prepare',
        description="Build the training cache of data sets: every frame at the model's size, "
        'ready for random access. Does nothing where the cache is there already.',
    )
    parser.add_argument('dataset', nargs='+', help='LeRobot, LIBERO, RLDS, CALVIN or bag folder')
    parser.add_argument('--size', type=int, default=224, help='side of the images [px] (224)')
    parser.add_argument(
        '--format', default='auto', choices=['auto', *cache.FORMATS],
        help='raw: fastest; jpeg: a fifth of the size; auto (default): raw up to 50 GB',
    )  # fmt: skip
    parser.add_argument('--cache', help='folder of the caches (default: .cache in the data set)')
    parser.add_argument(
        '--jpeg-round-trip', action='store_true',
        help='compress before resizing, as the released LIBERO checkpoints were trained',
    )  # fmt: skip
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count() or 1, help='processes (default: all cores)'
    )
    options = parser.parse_args(arguments)
    images = ImageConfig(size=options.size, jpeg_round_trip=options.jpeg_round_trip)
    for path in options.dataset:
        try:
            done = prepare(
                open_source(path), images, form=options.format, root=options.cache,
                workers=options.workers, progress=True,
            )  # fmt: skip
        except VLAAdapterError as error:
            parser.exit(1, f'error: {error}\n')
        size = sum(file.stat().st_size for file in done.path.iterdir())
        print(f'{done.path}: {len(done)} frames, {done.format}, {size / 1e6:.1f} MB')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
