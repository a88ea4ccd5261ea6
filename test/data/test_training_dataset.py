# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The dataset: chunks, statistics, splits, contracts; live and cached frames are equal."""

from __future__ import annotations

import numpy as np
import pytest

from support.data_samples import contract, frame_of, observations, states, targets
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.images import ImageConfig

SMALL = ImageConfig(size=32, jpeg_round_trip=False)
LENGTHS = (20, 11, 16, 9)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'pick'
    with DatasetWriter(folder, contract(), storage='image') as writer:
        for seed, length in enumerate(LENGTHS):
            writer.add_episode(observations(length, seed), targets(length, seed), f'task {seed}')
    return folder


def test_samples_are_frames_with_their_chunks(path):
    dataset = open_dataset(path, images=SMALL)
    assert len(dataset) == sum(LENGTHS)
    batch = dataset.batch([3, 25, 50])
    assert batch.images.shape == (3, 2, 32, 32, 3)
    assert [frame_of(views[0]) for views in batch.images] == [3, 5, 3]
    assert batch.instructions == ['task 0', 'task 1', 'task 3']
    np.testing.assert_array_equal(batch.actions[0], targets(20, 0)[3:11].astype(np.float32))
    np.testing.assert_array_equal(batch.proprioception[1], states(11, 1)[5].astype(np.float32))
    assert batch.is_pad.sum(axis=1).tolist() == [0, 2, 2]
    np.testing.assert_array_equal(batch.actions[1, -3:], np.tile(batch.actions[1, 5], (3, 1)))
    assert dataset.episode_of(25) == (1, 5)
    assert list(dataset.indices_of(1)) == list(range(20, 31))


def test_live_frames_equal_cached_ones(path):
    live, cached = (open_dataset(path, images=SMALL, cache=flag) for flag in (False, None))
    rows = [0, 55, 19, 20, 31]
    np.testing.assert_array_equal(live.batch(rows).images, cached.batch(rows).images)
    np.testing.assert_array_equal(live.batch(rows).actions, cached.batch(rows).actions)


def test_statistics_are_of_the_transformed_chunks(path):
    dataset = open_dataset(path, images=SMALL, action_space='joint_delta')
    seen = []
    for seed, length in enumerate(LENGTHS):
        state, target = (
            v.astype(np.float32) for v in (states(length, seed), targets(length, seed))
        )
        for frame in range(length):
            chunk = target[frame : frame + 8].copy()
            chunk[:, :6] -= state[frame, :6]
            seen.append(chunk)
    seen = np.concatenate(seen)
    statistics = dataset.statistics()
    np.testing.assert_allclose(statistics.action.q01, np.quantile(seen, 0.01, axis=0), atol=1e-6)
    np.testing.assert_allclose(statistics.action.q99, np.quantile(seen, 0.99, axis=0), atol=1e-6)
    assert statistics.action.mask.tolist() == [True] * 6 + [False]
    assert (statistics.num_transitions, statistics.num_trajectories) == (56, 4)
    assert statistics.key == 'pick'
    assert statistics.to_dict()['pick']['proprio']['max'][6] == 1.0


def test_complete_chunks_leave_out_the_ends(path):
    dataset = open_dataset(path, images=SMALL, complete_chunks=True)
    assert len(dataset) == sum(length - 7 for length in LENGTHS)
    assert not dataset.chunks(np.arange(len(dataset)))[1].any()
    assert dataset.episode_of(13) == (1, 0)
    assert not dataset.at_end.any()


def test_ends_are_marked(path):
    dataset = open_dataset(path, images=SMALL)
    padded = dataset.chunks(np.arange(len(dataset)))[1].any(axis=1)
    np.testing.assert_array_equal(dataset.at_end, padded)


def test_split_is_by_episode_and_stable(path):
    dataset = open_dataset(path, images=SMALL)
    train, held = dataset.split(0.25, seed=3)
    assert len(held.selected) == 1
    assert sorted(train.selected + held.selected) == [0, 1, 2, 3]
    assert len(train) + len(held) == len(dataset)
    assert dataset.split(0.25, seed=3)[1].selected == held.selected
    assert {dataset.split(0.25, seed=s)[1].selected[0] for s in range(20)} == {0, 1, 2, 3}
    (episode,) = held.selected
    rows = set(held.batch(range(len(held))).rows.tolist())
    assert rows.isdisjoint(train.batch(range(len(train))).rows.tolist())
    assert held.batch([0]).instructions == [f'task {episode}']
    # New episodes take the held-out place only by their own rank.
    more = dataset.with_episodes(sorted({*train.selected[:2], episode}))
    assert more.split(0.3, seed=3)[1].selected == held.selected


def test_no_validation_when_none_is_asked(path):
    dataset = open_dataset(path, images=SMALL)
    assert dataset.split(0.0) == (dataset, None)
    with pytest.raises(DatasetError, match='too few'):
        dataset.with_episodes([2]).split(0.1)
    with pytest.raises(DatasetError, match=r'got 1.5, expected \[0, 1\)'):
        dataset.split(1.5)


def test_another_contract_is_refused_but_another_action_space_is_not(path):
    with pytest.raises(
        DatasetError, match=r'recorded with another contract: cameras.third_person'
    ):
        open_dataset(path, images=SMALL, contract=contract(rotate=180))
    with pytest.raises(DatasetError, match=r'step_period: 0.2 here, 0.1 there'):
        open_dataset(path, images=SMALL, contract=contract(step_period=0.2))
    other = open_dataset(path, images=SMALL, contract=contract(action_space='joint_delta'))
    assert other.action_space == 'joint_delta'


def test_denser_recordings_are_strided(tmp_path):
    with DatasetWriter(tmp_path / 'dense', contract(), fps=30) as writer:
        writer.add_episode(observations(40), targets(40))
    dataset = open_dataset(tmp_path / 'dense', images=SMALL)
    assert dataset.stride == 3
    expected = targets(40)[[6, 9, 12, 15, 18, 21, 24, 27]].astype(np.float32)
    np.testing.assert_array_equal(dataset.chunks([4])[0][0], expected)


def test_dataset_without_a_contract_keeps_its_actions(path, tmp_path):
    import shutil

    foreign = shutil.copytree(path, tmp_path / 'foreign')
    (foreign / 'meta/vla_adapter.json').unlink()
    assert open_source(foreign).contract is None
    dataset = open_dataset(foreign, images=SMALL)
    assert dataset.action_space == 'command'
    message = 'its actions are commands and cannot be converted to joint_delta'
    with pytest.raises(DatasetError, match=message):
        open_dataset(foreign, images=SMALL, action_space='joint_delta')


def test_unknown_formats_are_reported(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DatasetError, match=r'expected LeRobot \(meta/info.json\), CALVIN'):
        open_source(tmp_path / 'empty')
