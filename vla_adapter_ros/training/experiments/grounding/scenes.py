# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Files of images with instructions and the image positions of the named objects.

One folder per shard, which appears only once it is complete:

    shard-00000/images.npy   points.npy   instructions.json

`render_scenes.py` makes them, `pretrain.py` learns from them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_adapter_ros.data.files import new_folder, read_json
from vla_adapter_ros.errors import DatasetError, readable


@dataclass(frozen=True)
class GroundingScenes:
    """Images, and the positions to find in them.

    Attributes:
        images: (N, C, S, S, 3) uint8 RGB at the model's size.
        points: (N, G, C, P, 3) float32: for each instruction and camera P points, the object to
            act on and its destination first: fraction of width, fraction of height, 1 if visible.
        instructions: N lists of G texts.
    """

    images: np.ndarray
    points: np.ndarray
    instructions: Sequence[Sequence[str]]


def shard_path(output: Path, shard: int) -> Path:
    """Return the folder of a shard."""
    return output / f'shard-{shard:05d}'


def save_shard(output: Path, shard: int, scenes: GroundingScenes) -> None:
    """Write one shard."""
    with new_folder(shard_path(output, shard)) as folder:
        np.save(folder / 'images.npy', scenes.images)
        np.save(folder / 'points.npy', scenes.points)
        (folder / 'instructions.json').write_text(json.dumps(scenes.instructions))


def shards_of(path: str | Path) -> list[Path]:
    """Return the shards of a folder. Raises DatasetError if there are none."""
    shards = sorted(Path(path).glob('shard-*'))
    if not shards:
        raise DatasetError(f'{path}: no images; make them with grounding.render_scenes')
    return shards


def load_scenes(*paths: str | Path) -> GroundingScenes:
    """Read all images of folders into memory.

    Raises:
        DatasetError: there are none, a file is damaged, or the folders do not match.
    """
    folders = [shard for path in paths for shard in shards_of(path)]
    with readable(', '.join(map(str, paths)), DatasetError):
        images = np.concatenate([np.load(folder / 'images.npy') for folder in folders])
        points = np.concatenate([np.load(folder / 'points.npy') for folder in folders])
        texts = [list(text) for f in folders for text in read_json(f / 'instructions.json')]
        whole = images.ndim == 5 and images.dtype == np.uint8 and points.dtype == np.float32
        shape = (len(images), points.shape[1], images.shape[1], *points.shape[3:4], 3)
        counts = {len(group) for group in texts}
        if not whole or points.shape != shape or len(texts) != shape[0] or counts != {shape[1]}:
            raise DatasetError('images, points and instructions are not of the same scenes')
        if not all(isinstance(text, str) for group in texts for text in group):
            raise DatasetError('an instruction is not text')
    return GroundingScenes(images, points, texts)
