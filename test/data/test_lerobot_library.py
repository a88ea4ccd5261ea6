# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The public lerobot library opens what we write, unchanged. Runs where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from support.data_samples import contract, image, observations, states, targets
from vla_adapter_ros.data.lerobot.writer import DatasetWriter

lerobot_dataset = pytest.importorskip(
    'lerobot.datasets.lerobot_dataset', reason='lerobot is not installed'
)


@pytest.mark.parametrize('storage', ['video', 'image'])
def test_lerobot_reads_what_we_write(tmp_path, storage):
    with DatasetWriter(tmp_path / 'set', contract(), storage=storage) as writer:
        for seed in range(3):
            writer.add_episode(observations(20, seed), targets(20, seed), f'task {seed}')
    times = {'action': [i / 10 for i in range(8)]}
    dataset = lerobot_dataset.LeRobotDataset(
        'local/set', root=tmp_path / 'set', delta_timestamps=times
    )
    assert (len(dataset), dataset.num_episodes) == (60, 3)
    for row in (0, 19, 20, 41, 55):
        seed, frame = divmod(row, 20)
        sample = dataset[row]
        assert sample['task'] == f'task {seed}'
        np.testing.assert_allclose(sample['observation.state'], states(20, seed)[frame], atol=1e-6)
        rows = np.minimum(np.arange(frame, frame + 8), 19)
        np.testing.assert_allclose(sample['action'], targets(20, seed)[rows], atol=1e-6)
        pixels = sample['observation.images.wrist'].permute(1, 2, 0).numpy() * 255
        assert np.abs(pixels - image(seed + 1, frame)).mean() < 3
