# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reading LeRobot v2.1: one parquet and one video file per episode, tasks in JSON lines."""

from __future__ import annotations

import av
import numpy as np
import pytest

from support.data_samples import frame_of, image, targets
from support.lerobot_sets import write_v21
from vla_adapter_ros.data.lerobot.columns import Columns
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.video import VideoReader
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.images import ImageConfig


@pytest.mark.parametrize('storage', ['video', 'image'])
def test_episodes_are_read(tmp_path, storage):
    source = LeRobotSource(write_v21(tmp_path / 'old', storage))
    assert [(e.length, e.instruction) for e in source.episodes] == [(7, 'pick'), (5, 'push')]
    assert source.cameras == ('front',)
    assert source.names == tuple(f'm{i}' for i in range(7))
    expected = targets(5, 1).astype(np.float32)
    np.testing.assert_array_equal(source.states_actions(1).actions, expected)
    shown = [frame_of(pixels) for pixels in source.images(1, 'front', [4, 0, 2])]
    assert shown == [4, 0, 2]


def test_dataset_over_the_old_version(tmp_path):
    small = ImageConfig(size=16, jpeg_round_trip=False)
    dataset = open_dataset(write_v21(tmp_path / 'old'), images=small, chunk_size=2)
    assert dataset.action_space == 'command'
    assert frame_of(dataset.batch([8]).images[0, 0]) == 2


def test_other_versions_are_refused(tmp_path):
    write_v21(tmp_path / 'old', codebase_version='v1.6')
    with pytest.raises(DatasetError, match=r"LeRobot version 'v1.6', expected one of"):
        LeRobotSource(tmp_path / 'old')


def test_missing_pieces_are_reported(tmp_path):
    path = write_v21(tmp_path / 'old', total_episodes=3)
    with pytest.raises(DatasetError, match='counts 3 episodes, the table has 2'):
        LeRobotSource(path)
    with pytest.raises(DatasetError, match=r"no feature 'state': name it with data.state .* obs"):
        LeRobotSource(write_v21(tmp_path / 'whole'), Columns(state='state'))
    other = write_v21(tmp_path / 'other')
    (other / 'videos/chunk-001/observation.images.front/episode_000001.mp4').unlink()
    with pytest.raises(DatasetError, match=r'episode_000001.mp4: cannot be opened'):
        list(LeRobotSource(other).images(1, 'front', [0]))
    (other / 'data/chunk-000/episode_000000.parquet').unlink()
    with pytest.raises(DatasetError, match='episode_000000: 0 frames of data, the table says 7'):
        LeRobotSource(other).states_actions(0)


@pytest.mark.skipif('libx265' not in av.codecs_available, reason='PyAV has no HEVC encoder')
def test_random_frames_of_hevc_videos(tmp_path):
    file = tmp_path / 'hevc.mp4'
    with av.open(str(file), 'w') as output:
        stream = output.add_stream('libx265', rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        stream.options = {'g': '2', 'x265-params': 'log-level=none'}
        for number in range(24):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image(0, number))))
        output.mux(stream.encode())
    reader = VideoReader(file, 10)
    order = np.random.default_rng(0).permutation(24).tolist()
    assert [frame_of(reader.frame(number)) for number in order] == order
    with pytest.raises(DatasetError, match='has no frame 24'):
        reader.frame(24)
