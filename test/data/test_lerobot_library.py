# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""We and the public lerobot library read each other's datasets. Runs where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from support.data_samples import contract, frame_of, image, observations, states, targets
from vla_adapter_ros.data.attach import attach
from vla_adapter_ros.data.lerobot.columns import Columns
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.processing.images import ImageConfig

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


def recorded(path, video, fps):
    """Two episodes as lerobot-record writes them; the task of the second changes."""
    vector = {'dtype': 'float32', 'shape': (7,), 'names': [f'{n}.pos' for n in contract().names]}
    view = {
        'dtype': 'video' if video else 'image', 'shape': (48, 64, 3),
        'names': ['height', 'width', 'channels'],
    }  # fmt: skip
    features = {'observation.state': vector, 'action': vector, 'observation.images.top': view}
    dataset = lerobot_dataset.LeRobotDataset.create(
        'local/theirs', fps, features, root=path, use_videos=video
    )
    for seed, length in enumerate((12, 10)):
        for frame in range(length):
            dataset.add_frame({
                'observation.state': states(length, seed)[frame].astype(np.float32),
                'action': targets(length, seed)[frame].astype(np.float32),
                'observation.images.top': image(seed, frame),
                'task': 'push' if seed and frame >= 4 else 'pick',
            })  # fmt: skip
        dataset.save_episode()
    dataset.finalize()
    return path


@pytest.mark.parametrize(('video', 'fps'), [(True, 15), (True, 30), (False, 10)])
def test_we_read_what_lerobot_records(tmp_path, video, fps):
    path = recorded(tmp_path / 'theirs', video, fps)
    source = LeRobotSource(path)
    assert [(e.length, e.instruction) for e in source.episodes] == [
        (12, 'pick'), (4, 'pick'), (6, 'push')
    ]  # fmt: skip
    assert [frame_of(pixels) for pixels in source.images(2, 'top', [5, 0, 3])] == [9, 4, 7]
    data = contract().to_dict()
    robot = contract(cameras={'top': data['cameras']['third_person']}, step_period=1 / fps)
    dataset = open_dataset(
        path, images=ImageConfig(size=16), contract=robot, cache=False,
        columns=Columns(actions='joint_target'),
    )  # fmt: skip
    np.testing.assert_allclose(dataset.batch([12]).actions[0, 0], targets(10, 1)[0], atol=1e-6)


@pytest.mark.parametrize('storage', ['video', 'image'])
def test_our_datasets_survive_editing_with_lerobot(tmp_path, storage):
    with DatasetWriter(tmp_path / 'set', contract(), storage=storage) as writer:
        for seed in range(3):
            writer.add_episode(observations(20, seed), targets(20, seed), f'task {seed}')
    tools = pytest.importorskip('lerobot.datasets.dataset_tools')
    ours = lerobot_dataset.LeRobotDataset('local/set', root=tmp_path / 'set')
    kept = tools.delete_episodes(ours, [1], tmp_path / 'kept', 'local/kept')
    other = tools.delete_episodes(ours, [0], tmp_path / 'other', 'local/other')
    tools.merge_datasets([kept, other], 'local/merged', tmp_path / 'merged')
    for name, seeds in (('kept', (0, 2)), ('merged', (0, 2, 1, 2))):
        path = tmp_path / name
        assert LeRobotSource(path).contract is None
        attach(path, contract())
        source = LeRobotSource(path)
        assert not source.contract.differences(contract())
        assert [e.instruction for e in source.episodes] == [f'task {seed}' for seed in seeds]
        for number, seed in enumerate(seeds):
            actions = source.states_actions(number).actions
            np.testing.assert_allclose(actions, targets(20, seed), atol=1e-6)
            shown = [frame_of(p) for p in source.images(number, 'wrist', [19, 0, 7])]
            assert shown == [19, 0, 7]
