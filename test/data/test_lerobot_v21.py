# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reading LeRobot v2.1: one parquet and one video file per episode, tasks in JSON lines."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.data_samples import frame_of, image, states, targets
from vla_adapter_ros.data.codecs import encode_png
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.video import VideoWriter
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.images import ImageConfig

LENGTHS = (7, 5)


def write(path, storage='video', **changes):
    """As lerobot 0.3 lays it out; its parquet files have lists of variable length."""
    key = 'observation.images.front'
    (path / 'meta').mkdir(parents=True)
    vector = {'dtype': 'float32', 'shape': [7], 'names': {'motors': [f'm{i}' for i in range(7)]}}
    info = {
        'codebase_version': 'v2.1', 'fps': 10, 'total_episodes': 2, 'chunks_size': 1,
        'data_path': 'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet',
        'video_path':
            'videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4',
        'features': {
            'action': vector, 'observation.state': vector,
            key: {'dtype': storage, 'shape': [48, 64, 3], 'names': None},
        },
    }  # fmt: skip
    (path / 'meta/info.json').write_text(json.dumps(info | changes))
    tasks = [{'task_index': 1, 'task': 'push'}, {'task_index': 0, 'task': 'pick'}]
    (path / 'meta/tasks.jsonl').write_text('\n'.join(map(json.dumps, tasks)))
    rows = [
        {'episode_index': n, 'tasks': [('pick', 'push')[n]], 'length': length}
        for n, length in enumerate(LENGTHS)
    ]
    (path / 'meta/episodes.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    for number, length in enumerate(LENGTHS):
        data = path / f'data/chunk-{number:03d}/episode_{number:06d}.parquet'
        data.parent.mkdir(parents=True)
        table = {
            'observation.state': states(length, number).astype(np.float32).tolist(),
            'action': targets(length, number).astype(np.float32).tolist(),
            'episode_index': [number] * length,
        }
        if storage == 'image':
            table[key] = [
                {'bytes': encode_png(image(number, f)), 'path': None} for f in range(length)
            ]
        pq.write_table(pa.table(table), data)
        if storage == 'video':
            video = path / f'videos/chunk-{number:03d}/{key}/episode_{number:06d}.mp4'
            video.parent.mkdir(parents=True)
            with VideoWriter(video, 10) as writer:
                for frame in range(length):
                    writer.write(image(number, frame))
    return path


@pytest.mark.parametrize('storage', ['video', 'image'])
def test_episodes_are_read(tmp_path, storage):
    source = LeRobotSource(write(tmp_path / 'old', storage))
    assert [(e.length, e.instruction) for e in source.episodes] == [(7, 'pick'), (5, 'push')]
    assert source.cameras == ('front',)
    assert source.names == tuple(f'm{i}' for i in range(7))
    expected = targets(5, 1).astype(np.float32)
    np.testing.assert_array_equal(source.states_actions(1).actions, expected)
    shown = [frame_of(pixels) for pixels in source.images(1, 'front', [4, 0, 2])]
    assert shown == [4, 0, 2]


def test_dataset_over_the_old_version(tmp_path):
    small = ImageConfig(size=16, jpeg_round_trip=False)
    dataset = open_dataset(write(tmp_path / 'old'), images=small)
    assert dataset.action_space == 'command'
    assert frame_of(dataset.batch([9]).images[0, 0]) == 2


def test_other_versions_are_refused(tmp_path):
    write(tmp_path / 'old', codebase_version='v1.6')
    with pytest.raises(DatasetError, match=r"LeRobot version 'v1.6', expected one of"):
        LeRobotSource(tmp_path / 'old')


def test_missing_pieces_are_reported(tmp_path):
    path = write(tmp_path / 'old', total_episodes=3)
    with pytest.raises(DatasetError, match='counts 3 episodes, the table has 2'):
        LeRobotSource(path)
    with pytest.raises(DatasetError, match=r"no feature 'state'; it has \['action', 'obs"):
        LeRobotSource(path, state='state')
    other = write(tmp_path / 'other')
    (other / 'videos/chunk-001/observation.images.front/episode_000001.mp4').unlink()
    with pytest.raises(DatasetError, match=r'episode_000001.mp4: cannot be opened'):
        list(LeRobotSource(other).images(1, 'front', [0]))
    (other / 'data/chunk-000/episode_000000.parquet').unlink()
    with pytest.raises(DatasetError, match='episode_000000: 0 frames of data, the table says 7'):
        LeRobotSource(other).states_actions(0)
