# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Images with points (`scenes.py`) out of the demonstrations that `evaluation.libero` makes.

    python -m vla_adapter_ros.training.experiments.grounding.libero_scenes datasets/libero_object \
        datasets/libero_object_scenes

Each image has its own instruction and those of three other objects in the scene. The command adds
a shard for each file that has none yet.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vla_adapter_ros.data.public.libero import LiberoSource
from vla_adapter_ros.errors import DatasetError, VLAAdapterError, readable
from vla_adapter_ros.processing.images import OWN_IMAGES, ImageConfig, resize_for_model
from vla_adapter_ros.training.experiments.grounding.scenes import (
    GroundingScenes,
    save_shard,
    shard_path,
)
from vla_adapter_ros.weights.files import make_folder

INSTRUCTIONS = 4  # of each image


def file_scenes(path: Path, size: int) -> GroundingScenes:
    """Return the images of a file of demonstrations, (C, size, size, 3) each, and their points.

    Raises:
        DatasetError: no points are in it, or fewer objects than instructions.
    """
    import h5py

    source = LiberoSource(path)
    config = ImageConfig(size=size, resize=OWN_IMAGES.resize, jpeg_round_trip=False)
    with readable(path, DatasetError), h5py.File(path, 'r') as file:
        data = file['data']
        if 'names' not in data.attrs:
            raise DatasetError(f'{path}: no points; evaluation.libero.demonstrations writes them')
        names = json.loads(data.attrs['names'])
        places = [demo['points'][:] for demo in (data[e.key.split('/')[1]] for e in
                                                 source.episodes)]  # fmt: skip
    objects = names[:-1]  # the last one is the container
    if len(objects) < INSTRUCTIONS:
        raise DatasetError(f'{path}: {len(objects)} objects, expected at least {INSTRUCTIONS}')
    text = source.episodes[0].instruction
    own = next((n for n, name in enumerate(objects) if f'the {name} ' in text), None)
    if own is None:
        raise DatasetError(f'{path}: none of {objects} is in {text!r}')
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    images, points, texts = [], [], []
    for number, episode in enumerate(source.episodes):
        frames = range(0, episode.length, episode.image_every)
        views = [source.images(number, camera, frames) for camera in source.cameras]
        for place, *seen in zip(places[number], *views, strict=True):
            others = rng.permutation([n for n in range(len(objects)) if n != own])
            chosen = [own, *others[: INSTRUCTIONS - 1].tolist()]
            images.append(np.stack([resize_for_model(view, config, rotate=0) for view in seen]))
            # (C, N, 3) → (G, C, 2, 3): the object, and where it has to go.
            points.append(np.stack([place[:, [n, len(objects)]] for n in chosen]))
            texts.append([text.replace(objects[own], objects[n]) for n in chosen])
    return GroundingScenes(np.stack(images), np.stack(points).astype(np.float32), texts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    from tqdm import tqdm

    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.training.experiments.grounding.libero_scenes',
        description=__doc__.splitlines()[0],
    )
    parser.add_argument('demonstrations', type=Path, help='folder of the HDF5 files')
    parser.add_argument('output', type=Path, help='folder of the images')
    parser.add_argument('--image-size', type=int, default=96, help='side [px] (96)')
    options = parser.parse_args(arguments)
    try:
        files = sorted(options.demonstrations.glob('*.hdf5'))
        if not files:
            raise DatasetError(f'{options.demonstrations}: no HDF5 files')
        make_folder(options.output)
        for path in tqdm(files, desc='scenes'):
            # The name of a file decides its shard: files that come later take no other's place.
            shard = zlib.crc32(path.name.encode())
            if not shard_path(options.output, shard).is_dir():
                save_shard(options.output, shard, file_scenes(path, options.image_size))
    except VLAAdapterError as error:
        print(f'libero_scenes: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
