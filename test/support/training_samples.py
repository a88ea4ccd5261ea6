# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Datasets and networks so small that a training run takes a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from support import data_samples
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.training.config import TrainConfig, load_config
from vla_adapter_ros.training.experiments.grounding.scenes import GroundingScenes

TEXTS = ('pick up the red cube', 'reach the ball', 'move left', 'put it down')
TOWER = '{width: 16, depth: 2, heads: 2, mlp_hidden: 32, patch: 8, image_size: 32}'
LANGUAGE = '{hidden: 32, layers: 2, heads: 2, kv_heads: 1, mlp_hidden: 64}'


def make_dataset(
    path: Path, episodes: int = 4, length: int = 20, texts: Sequence[str] = TEXTS, **contract
) -> Path:
    """Write demonstrations as images, so that nothing is lost."""
    writer = DatasetWriter(path, data_samples.contract(**contract), storage='image')
    for number in range(episodes):
        text = texts[number % len(texts)]
        writer.add_episode(
            list(data_samples.observations(length, number, text)),
            data_samples.targets(length, number),
        )
    writer.finalize()
    return path


def settings(dataset: Path, output: Path, *more: str) -> list[str]:
    """Return the settings of a run of six steps."""
    return [
        f'output_dir={output}', f'data.datasets=[{dataset}]', 'steps=6', 'batch_size=4',
        f'model={{preset: tiny, vision: {TOWER}, language: {LANGUAGE}, num_queries: 4}}',
        'adaptation.mode=full', 'compute.precision=fp32', 'compute.device=cpu',
        'compute.threads=1',
        'data.validation_fraction=0.25', 'data.workers=0', 'data.augment=true', 'log.every=2',
        'log.tensorboard=false', 'save.every=2', 'save.validate_every=0', 'save.plots=0',
        'optimizer.lr=1e-3', 'start.kind=random', *more,
    ]  # fmt: skip


def config(dataset: Path, output: Path, *more: str) -> TrainConfig:
    """Return the configuration of `settings`."""
    return load_config(None, settings(dataset, output, *more))


def weights(checkpoint: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a checkpoint."""
    from safetensors.numpy import load_file

    return load_file(checkpoint / 'model.safetensors')


SMALL = (
    'model={preset: tiny, use_film: true, film_segment_tokens: 6, num_queries: 2, '
    'vision: {width: 16, depth: 2, heads: 2, mlp_hidden: 16, patch: 8, stem: conv, '
    'keypoints: 4, local_keypoints: 2, pool: 2, '
    'image_size: 32}, language: {hidden: 32, layers: 1, heads: 2, kv_heads: 1, mlp_hidden: 32, '
    'embedding_scale: 0.7}}',
    'compute.threads=1',
)
COLOURS = {'red': (220, 20, 20), 'green': (20, 180, 40), 'blue': (20, 40, 220)}


def squares(count: int) -> GroundingScenes:
    """Return images of three coloured squares, each asked for by its colour."""
    rng = np.random.default_rng(1)
    images = np.full((count, 1, 32, 32, 3), 128, np.uint8)
    points = np.zeros((count, 3, 1, 2, 3), np.float32)
    for n in range(count):
        cells = rng.permutation(16)[:3]
        for i, colour in enumerate(COLOURS.values()):
            row, column = 8 * (cells[i] // 4) + 4, 8 * (cells[i] % 4) + 4
            images[n, 0, row : row + 4, column : column + 4] = colour
            points[n, i, 0, 0] = ((column + 2) / 32, (row + 2) / 32, 1.0)
    return GroundingScenes(images, points, [[f'reach the {c} block' for c in COLOURS]] * count)
