# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The public lerobot library opens what we write, unchanged. Runs where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from support.data_samples import contract, image, observations, states, targets
from vla_adapter_ros.data.edit.__main__ import main as edit
from vla_adapter_ros.data.lerobot.columns import Columns
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
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
        assert np.abs(pixels - image(seed + 1, frame)).mean() < 3.5


def _check(path, episodes):
    """Compare every row with (seed, first frame, last frame, task) of what was recorded."""
    dataset = lerobot_dataset.LeRobotDataset('local/set', root=path)
    wanted = [(s, frame, t) for s, first, last, t in episodes for frame in range(first, last)]
    assert (len(dataset), dataset.num_episodes) == (len(wanted), len(episodes))
    for row, (seed, frame, task) in enumerate(wanted):
        sample = dataset[row]
        assert (sample['task'], sample['index']) == (task, row)
        np.testing.assert_allclose(sample['observation.state'], states(20, seed)[frame], atol=1e-6)
        pixels = sample['observation.images.wrist'].permute(1, 2, 0).numpy() * 255
        assert np.abs(pixels - image(seed + 1, frame)).mean() < 5
        assert abs(pixels[..., 0].mean() - 4 * frame) < 3


EPISODES = [(0, 0, 20, 'task 0'), (2, 3, 15, 'new')]
EDITS = (
    ['delete', '1'],
    ['crop', '1', '--from', '3f', '--to', '1.5'],
    ['relabel', 'new', '--episodes', '1'],
)


@pytest.mark.parametrize('storage', ['video', 'image'])
def test_lerobot_reads_what_we_edited(tmp_path, storage):
    path = tmp_path / 'set'
    with DatasetWriter(path, contract(), storage=storage) as writer:
        for seed in range(3):
            writer.add_episode(observations(20, seed), targets(20, seed), f'task {seed}')
    for words in EDITS:
        assert edit([str(path), *words]) == 0
    _check(path, EPISODES)


@pytest.mark.parametrize('storage', ['video', 'image'])
def test_what_lerobot_writes_can_be_edited(tmp_path, storage):
    path, key = tmp_path / 'set', 'observation.images.wrist'
    names = list(contract().names)
    features = {
        'observation.state': {'dtype': 'float32', 'shape': (7,), 'names': names},
        'action': {'dtype': 'float32', 'shape': (7,), 'names': names},
        key: {'dtype': storage, 'shape': (48, 64, 3), 'names': ['height', 'width', 'channels']},
    }
    theirs = lerobot_dataset.LeRobotDataset.create('local/set', 10, features, root=path)
    for seed in range(3):
        for frame in range(20):
            theirs.add_frame(
                {
                    'observation.state': states(20, seed)[frame].astype(np.float32),
                    'action': targets(20, seed)[frame].astype(np.float32),
                    key: image(seed + 1, frame), 'task': f'task {seed}',
                }
            )  # fmt: skip
        theirs.save_episode()
    theirs.finalize()
    for words in EDITS:
        assert edit([str(path), *words]) == 0
    _check(path, EPISODES)
    source = LeRobotSource(path, Columns(actions='joint_target'))
    assert [(e.length, e.instruction) for e in source.episodes] == [(20, 'task 0'), (12, 'new')]
