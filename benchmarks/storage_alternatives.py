# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Public ways to store frames for training, read the same way as our cache, to compare with.

Each is written once from the same images and read by random rows; those whose library is not
installed are left out, with the reason.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

# Frames (rows,) → (B, C, S, S, 3) uint8.
Reader = Callable[[Sequence[int]], np.ndarray]


def encode(image: np.ndarray) -> bytes:
    """Return an image as JPEG of quality 95, colour at full resolution."""
    import simplejpeg

    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=95, colorsubsampling='444')


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
                transaction.put(f'{row}/{camera}'.encode(), encode(view))
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
        f'camera{c}': [encode(views[c]) for views in images] for c in range(images.shape[1])
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
        f'camera{c}': [encode(views[c]) for views in images] for c in range(images.shape[1])
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
                data = encode(view)
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
    from vla_adapter_ros.data.lerobot.video import VideoReader, VideoWriter

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
