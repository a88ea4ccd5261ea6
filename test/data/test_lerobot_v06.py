# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Datasets as lerobot 0.6 writes them open and train."""

from __future__ import annotations

import numpy as np
import pytest

from support.data_samples import contract, frame_of, image, observations, states, targets
from support.lerobot_v06 import LENGTHS, TASKS, V06_FIELDS, write_v06
from support.training_samples import config
from vla_adapter_ros.data.lerobot.columns import Columns
from vla_adapter_ros.data.lerobot.metadata import read_info
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.processing.images import ImageConfig
from vla_adapter_ros.training import train

COLUMNS = Columns(actions='joint_target')


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return write_v06(tmp_path_factory.mktemp('v06') / 'set')


def robot():
    data = contract().to_dict()
    return contract(cameras={'front': data['cameras']['third_person']})


def test_episodes_tasks_and_frames_are_read(dataset):
    source = LeRobotSource(dataset)
    assert [episode.length for episode in source.episodes] == list(LENGTHS)
    assert [episode.instruction for episode in source.episodes] == [*TASKS, TASKS[0]]
    # The depth stream is no camera of the policy.
    assert source.cameras == ('front',)
    for number, length in enumerate(LENGTHS):
        vectors = source.states_actions(number)
        np.testing.assert_array_equal(vectors.state, states(length, number).astype(np.float32))
        np.testing.assert_array_equal(vectors.actions, targets(length, number).astype(np.float32))
        order = [length - 1, *range(length)]
        for frame, pixels in zip(order, source.images(number, 'front', order), strict=True):
            assert frame_of(pixels) == frame
            assert np.abs(pixels.astype(int) - image(number, frame)).mean() < 8


def test_it_gives_batches_for_a_robot(dataset):
    images = ImageConfig(size=16, jpeg_round_trip=False)
    made = open_dataset(dataset, columns=COLUMNS, contract=robot(), images=images)
    assert len(made) == sum(LENGTHS)
    batch = made.batch([0, 10, 25])
    assert batch.images.shape == (3, 1, 16, 16, 3)
    assert batch.instructions == [TASKS[0], TASKS[1], TASKS[0]]
    np.testing.assert_allclose(batch.actions[0], targets(8, 0), atol=1e-6)


def test_our_description_has_the_fields_that_lerobot_knows(tmp_path):
    """It warns of others, and needs the first three."""
    with DatasetWriter(tmp_path / 'set', contract()) as writer:
        writer.add_episode(observations(3), targets(3))
    info = read_info(tmp_path / 'set')
    assert {'codebase_version', 'fps', 'features'} <= set(info) <= V06_FIELDS
    assert isinstance(info['fps'], int)


@pytest.mark.slow(reason='a training run')
def test_it_trains(dataset, tmp_path):
    made = config(
        dataset, tmp_path / 'run', 'data.actions=per_step', 'steps=2', 'save.validate_every=0'
    )
    assert (train.run(made) / 'model.safetensors').is_file()
