# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A dataset and a network so small that a training run takes a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support import data_samples
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.training.config import TrainConfig, load_config

TEXTS = ('pick up the red cube', 'reach the ball', 'move left', 'put it down')
TOWER = '{width: 16, depth: 2, heads: 2, mlp_hidden: 32, patch: 8, image_size: 32}'
LANGUAGE = '{hidden: 32, layers: 2, heads: 2, kv_heads: 1, mlp_hidden: 64}'


def make_dataset(path: Path, episodes: int = 4, length: int = 20, **contract) -> Path:
    """Write demonstrations as images, so that nothing is lost."""
    writer = DatasetWriter(path, data_samples.contract(**contract), storage='image')
    for number in range(episodes):
        text = TEXTS[number % len(TEXTS)]
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
