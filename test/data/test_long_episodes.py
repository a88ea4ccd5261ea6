# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Image storage: memory of writer and reader does not grow with the length of an episode."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.data_samples import contract, frame_of, image, observations, states, targets
from vla_adapter_ros.data.edit import rebuild
from vla_adapter_ros.data.edit.__main__ import main as edit
from vla_adapter_ros.data.lerobot import staging, stored_images
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.errors import DatasetError

LENGTHS = (23, 9, 30)


@pytest.fixture(scope='module')
def grouped(tmp_path_factory):
    """A dataset whose episodes lie in several groups of rows each."""
    path = tmp_path_factory.mktemp('long') / 'set'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, 'GROUP_BYTES', 3_000)
        with DatasetWriter(path, contract(), storage='image') as writer:
            for seed, length in enumerate(LENGTHS):
                writer.add_episode(observations(length, seed), targets(length, seed))
    return path


def test_images_are_written_in_groups(grouped):
    file = pq.ParquetFile(grouped / 'data/chunk-000/file-000.parquet')
    rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    assert sum(rows) == sum(LENGTHS)
    assert max(rows) < min(LENGTHS)
    table = file.read()
    assert table.column('frame_index').to_pylist() == [n for k in LENGTHS for n in range(k)]
    assert table.column('index').to_pylist() == list(range(sum(LENGTHS)))


@pytest.mark.parametrize('large', [stored_images.LARGE_GROUP_BYTES, 0])
def test_groups_are_read_in_any_order(grouped, monkeypatch, large):
    """Large groups, as other tools write them, are not read at once."""
    monkeypatch.setattr(stored_images, 'LARGE_GROUP_BYTES', large)
    monkeypatch.setattr(stored_images, 'HELD_BYTES', 6_000)
    source = LeRobotSource(grouped)
    generator = np.random.default_rng(0)
    for seed, length in enumerate(LENGTHS):
        vectors = source.states_actions(seed)
        np.testing.assert_array_equal(vectors.state, states(length, seed).astype(np.float32))
        np.testing.assert_array_equal(vectors.actions, targets(length, seed).astype(np.float32))
        order = [*range(length), *generator.permutation(length).tolist(), 4, 4]
        for frame, pixels in zip(order, source.images(seed, 'wrist', order), strict=True):
            assert frame_of(pixels) == frame
            np.testing.assert_array_equal(pixels, image(seed + 1, frame))
    held = source._stored._groups.values()
    assert sum(group.nbytes for group in held) <= 6_000
    assert bool(held) == bool(large)


def test_too_many_observations_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, 'GROUP_BYTES', 3_000)
    writer = DatasetWriter(tmp_path / 'set', contract(), storage='image')
    with pytest.raises(DatasetError, match='30 observations, 12 actions'):
        writer.add_episode(observations(30), targets(12))
    assert not writer.keys()


def test_an_index_of_another_length_is_refused(grouped, tmp_path):
    source = LeRobotSource(grouped)
    source._rows[1]['length'] = 8
    with pytest.raises(DatasetError, match='9 images of .*wrist in episode 1, the table says 8'):
        next(iter(source.images(1, 'wrist', [0])))


def test_an_edited_dataset_is_grouped_likewise(grouped, tmp_path, monkeypatch):
    monkeypatch.setattr(rebuild, 'GROUP_BYTES', 3_000)
    copy = shutil.copytree(grouped, tmp_path / 'set')
    assert edit([str(copy), 'delete', '1']) == 0
    file = pq.ParquetFile(next((copy / 'data').rglob('*.parquet')))
    rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    assert sum(rows) == LENGTHS[0] + LENGTHS[2]
    assert max(rows) <= 10
    pixels = list(LeRobotSource(copy).images(1, 'wrist', range(LENGTHS[2])))
    assert [frame_of(image) for image in pixels] == list(range(LENGTHS[2]))


PROGRAM = """
import resource, sys
import numpy as np
from support.data_samples import contract, states, targets
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.processing.observation import Observation

path, length = sys.argv[1], int(sys.argv[2])
pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
def frames():
    for state in states(length):
        yield Observation({'third_person': pixels, 'wrist': pixels}, state, 'pick', 0.0)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
robot = contract(width=320, height=240)
with DatasetWriter(path, robot, storage='image') as writer:
    writer.add_episode(frames(), targets(length))
written = peak()
source = LeRobotSource(path)
for camera in source.cameras:
    for image in source.images(0, camera, range(length)):
        assert image.shape == (240, 320, 3)
print(written, peak())
"""


@pytest.mark.slow(reason='writes and reads 700 MB of PNG images')
def test_memory_does_not_grow_with_an_episode(tmp_path):
    peaks = []
    for length in (100, 1500):
        command = [sys.executable, '-c', PROGRAM, str(tmp_path / str(length)), str(length)]
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=300,
            env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        peaks.append([int(number) for number in run.stdout.split()])
    # 1400 frames more are 650 MB of PNG; a reader may keep 256 MB of them.
    (short_write, short_read), (long_write, long_read) = peaks
    assert long_write < short_write + 100, peaks
    assert long_read < short_read + 400, peaks
