# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Random access to training samples: our cache beside the public ways to store frames.

    python -m benchmarks.storage --output storage.json

Draws batches of two 224×224 views with their 8-step action chunk through the code that training
uses; only the storage differs. Each storage is written from the same images and read by random
rows; those whose library is not installed are skipped, with the reason.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import moving_images
from vla_adapter_ros.data.codecs import encode_jpeg
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.video import VideoReader, VideoWriter
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.prepare import CachedFrames, prepare
from vla_adapter_ros.data.training.dataset import Dataset, FrameStore
from vla_adapter_ros.data.training.loader import load_batches
from vla_adapter_ros.data.training.mixture import BatchOrder, Mixture
from vla_adapter_ros.processing.images import OWN_IMAGES
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import resolve_contract

EPISODE = 120  # frames
SIZE = 224  # [px]

# Frames (rows,) → (B, C, S, S, 3) uint8.
Reader = Callable[[Sequence[int]], np.ndarray]


def decode(data: bytes) -> np.ndarray:
    """Return the pixels of a JPEG."""
    import simplejpeg

    return simplejpeg.decode_jpeg(data)


def hdf5(images: np.ndarray, folder: Path) -> Reader:
    """Raw frames in HDF5, one frame a chunk."""
    import h5py

    path = folder / 'frames.h5'
    with h5py.File(path, 'w') as file:
        file.create_dataset('images', data=images, chunks=(1, *images.shape[1:]))
    opened = h5py.File(path, 'r')['images']

    def read(rows: Sequence[int]) -> np.ndarray:
        # Fancy indexing wants ascending rows and is slower than single reads.
        return np.stack([opened[row] for row in rows])

    return read


def zarr(images: np.ndarray, folder: Path) -> Reader:
    """Raw frames in Zarr 3, one frame a chunk, uncompressed."""
    import zarr

    path = str(folder / 'frames.zarr')
    array = zarr.create_array(
        path, shape=images.shape, chunks=(1, *images.shape[1:]), dtype='uint8', compressors=None
    )
    array[:] = images
    opened = zarr.open_array(path, mode='r')
    return lambda rows: np.stack([opened[int(row)] for row in rows])


def lmdb(images: np.ndarray, folder: Path) -> Reader:
    """JPEGs in LMDB."""
    import lmdb

    environment = lmdb.open(str(folder / 'frames.lmdb'), map_size=8 * images.nbytes)
    with environment.begin(write=True) as transaction:
        for row, views in enumerate(images):
            for camera, view in enumerate(views):
                transaction.put(f'{row}/{camera}'.encode(), encode_jpeg(view))
    cameras = images.shape[1]

    def read(rows: Sequence[int]) -> np.ndarray:
        with environment.begin(buffers=True) as transaction:
            return np.stack([
                np.stack([decode(transaction.get(f'{r}/{c}'.encode())) for c in range(cameras)])
                for r in rows
            ])  # fmt: skip

    return read


def hugging_face(images: np.ndarray, folder: Path) -> Reader:
    """JPEG bytes in a table of the `datasets` library, decoded by simplejpeg."""
    import datasets

    columns = {
        f'camera{c}': [encode_jpeg(views[c]) for views in images] for c in range(images.shape[1])
    }
    features = datasets.Features({name: datasets.Value('binary') for name in columns})
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(folder / 'table'))
    table = datasets.load_from_disk(str(folder / 'table'))

    def read(rows: Sequence[int]) -> np.ndarray:
        found = table[[int(row) for row in rows]]
        views = [[decode(data) for data in found[name]] for name in columns]
        return np.stack([np.stack(column) for column in views], axis=1)

    return read


def parquet(images: np.ndarray, folder: Path) -> Reader:
    """JPEG bytes in Parquet, row groups of 16 (as LeRobot's image storage)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        f'camera{c}': [encode_jpeg(views[c]) for views in images] for c in range(images.shape[1])
    }
    pq.write_table(pa.table(columns), folder / 'frames.parquet', row_group_size=16)
    file = pq.ParquetFile(folder / 'frames.parquet', memory_map=True)

    def read(rows: Sequence[int]) -> np.ndarray:
        batch = []
        for row in rows:
            group = file.read_row_group(int(row) // 16)
            place = int(row) % 16
            batch.append(np.stack([decode(group[n][place].as_py()) for n in columns]))
        return np.stack(batch)

    return read


def web_dataset(images: np.ndarray, folder: Path) -> Reader:
    """JPEGs in a tar file, read in order through a shuffle buffer (it has no random access)."""
    import tarfile

    import webdataset

    path = folder / 'frames.tar'
    with tarfile.open(path, 'w') as tar:
        for row, views in enumerate(images):
            for camera, view in enumerate(views):
                data = encode_jpeg(view)
                entry = tarfile.TarInfo(f'{row:08d}.{camera}.jpg')
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    names = [f'{camera}.jpg' for camera in range(images.shape[1])]
    stream = iter(webdataset.WebDataset(str(path), shardshuffle=False).shuffle(100).repeat())

    def read(rows: Sequence[int]) -> np.ndarray:
        return np.stack([
            np.stack([decode(sample[name]) for name in names])
            for sample, _ in zip(stream, rows, strict=False)
        ])  # fmt: skip

    return read


def mp4(images: np.ndarray, folder: Path) -> Reader:
    """H.264 with a key frame every second frame, file kept open: LeRobot v3 without a cache."""
    readers = []
    for camera in range(images.shape[1]):
        path = folder / f'camera{camera}.mp4'
        with VideoWriter(path, 10) as writer:
            for view in images[:, camera]:
                writer.write(view)
        readers.append(VideoReader(path, 10))
    return lambda rows: np.stack([np.stack([r.frame(int(row)) for r in readers]) for row in rows])


ALTERNATIVES: dict[str, Callable[[np.ndarray, Path], Reader]] = {
    'HDF5, raw': hdf5,
    'Zarr 3, raw': zarr,
    'LMDB, JPEG': lmdb,
    'HF datasets, JPEG': hugging_face,
    'Parquet, JPEG': parquet,
    'WebDataset, JPEG (in order)': web_dataset,
    'MP4 H.264 (LeRobot v3)': mp4,
}


@dataclass(frozen=True)
class AccessFigures:
    """Random access of one storage.

    Attributes:
        name: of the storage.
        ours: whether it is one of our caches.
        samples: per second, wall time, by number of loader threads.
        per_core: per second of processor time (other work on the machine does not count).
        bytes_per_frame: on disk, one view.
    """

    name: str
    ours: bool
    samples: dict[int, float]
    per_core: float
    bytes_per_frame: float


class _Store:
    """Another storage's frames with our states and actions, so that only the storage differs."""

    def __init__(self, like: CachedFrames, read: Reader) -> None:
        self.episodes, self.cameras = like.episodes, like.cameras
        self.state, self.actions = like.state, like.actions
        self.images = read


def measure(
    store: FrameStore, batch: int, seconds: float, workers: Sequence[int]
) -> tuple[dict[int, float], float]:
    """Return samples per second by number of loader threads, and per second of processor time."""
    dataset = Dataset('benchmark', store, None, 'joint_position')
    mixture = Mixture([dataset])
    speeds, per_core = {}, 0.0
    for count in workers:
        batches = load_batches(mixture, BatchOrder(mixture, batch), workers=count)
        next(batches)
        begin, used, done = time.perf_counter(), time.process_time(), 0
        while (elapsed := time.perf_counter() - begin) < seconds:
            done += len(next(batches).rows)
        per_core = max(per_core, done / (time.process_time() - used))
        batches.close()
        speeds[count] = done / elapsed
    return speeds, per_core


def random_access(
    folder: Path, frames: int, batch: int, seconds: float, workers: Sequence[int]
) -> tuple[list[AccessFigures], dict[str, str]]:
    """Measure our caches and every alternative that is installed.

    Returns:
        figures, and why the others were skipped.
    """
    source = _make_dataset(folder / 'set', frames)
    found = []
    for format in ('raw', 'jpeg'):
        store = prepare(source, OWN_IMAGES, format=format)
        size = sum(f.stat().st_size for f in store.path.glob('images.*'))
        speeds, per_core = measure(store, batch, seconds, workers)
        found.append(AccessFigures(f'ours, {format}', True, speeds, per_core, size / frames / 2))
    raw = prepare(source, OWN_IMAGES, format='raw')
    images = raw.images(np.arange(frames))
    missing = {}
    for name, make in ALTERNATIVES.items():
        place = folder / make.__name__
        place.mkdir()
        try:
            read = make(images, place)
        except ImportError as error:
            missing[name] = str(error)
            continue
        # Their libraries are not all safe in threads; users run one reader a process.
        speeds, per_core = measure(_Store(raw, read), batch, seconds, [0])
        size = sum(f.stat().st_size for f in place.rglob('*') if f.is_file())
        found.append(AccessFigures(name, False, speeds, per_core, size / frames / 2))
    return found, missing


def _make_dataset(path: Path, frames: int) -> LeRobotSource:
    robot = resolve_contract('alicia_d')
    views = {c: moving_images(frames, SIZE, SIZE, seed) for seed, c in enumerate(robot.cameras)}
    generator = np.random.default_rng(0)
    with DatasetWriter(path, robot, image_size=SIZE, storage='image') as writer:
        for first in range(0, frames, EPISODE):
            rows = range(first, min(first + EPISODE, frames))
            items = [
                Observation({c: v[i] for c, v in views.items()}, np.zeros(7), 'benchmark', i / 10)
                for i in rows
            ]
            writer.add_episode(items, generator.normal(size=(len(items), 7)))
    return LeRobotSource(path)


def access_table(figures: Sequence[AccessFigures]) -> str:
    """Return random access as text, with the ratio to the best alternative."""
    best = max((f.per_core for f in figures if not f.ours), default=0.0)
    counts = sorted({n for f in figures for n in f.samples})
    head = f'{"samples/s (2 views, 8 actions)":32}{"per core":>10}'
    head += ''.join(f'{n} threads'.rjust(12) for n in counts)
    lines = [head + 'kB/frame'.rjust(10) + 'vs best other'.rjust(15)]
    for f in figures:
        cells = ''.join(f'{f.samples[n]:12.0f}' if n in f.samples else ' ' * 12 for n in counts)
        ratio = f'{f.per_core / best:14.1f}x' if f.ours and best else ''
        lines.append(f'{f.name:32}{f.per_core:10.0f}{cells}{f.bytes_per_frame / 1e3:10.1f}{ratio}')
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.storage',
        description='Measure random access to training samples: our cache beside the public '
        'alternatives that are installed.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--frames', type=int, default=1200, help='frames in the dataset')
    parser.add_argument('--batch', type=int, default=32, help='samples in a batch')
    parser.add_argument('--seconds', type=float, default=3.0, help='of each measurement')
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 2], help='loader threads')
    parser.add_argument('--output', type=Path, help='write all figures as JSON')
    parser.add_argument('--folder', help='where to put temporary files')
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        figures, missing = random_access(
            Path(place), options.frames, options.batch, options.seconds, options.workers
        )
    print(access_table(figures))
    for name, reason in missing.items():
        print(f'{name}: skipped: {reason}')
    if options.output is not None:
        results = {'random_access': [asdict(f) for f in figures], 'skipped': missing}
        options.output.write_text(json.dumps(results, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
