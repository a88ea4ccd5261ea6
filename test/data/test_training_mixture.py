# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The order of training: complete epochs, shares, ranks, exact resume, threads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from support.data_samples import contract, observations, targets
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.training.dataset import Dataset, open_dataset
from vla_adapter_ros.data.training.loader import load_batches, validation_batches
from vla_adapter_ros.data.training.mixture import BLOCK, BatchOrder, Mixture
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.images import ImageConfig

SMALL = ImageConfig(size=16, jpeg_round_trip=False)


@pytest.fixture(scope='module')
def datasets(tmp_path_factory):
    found = []
    for name, lengths in (('pick', (30, 21)), ('push', (17,))):
        path = tmp_path_factory.mktemp('data') / name
        with DatasetWriter(path, contract(), storage='image') as writer:
            for seed, length in enumerate(lengths):
                writer.add_episode(observations(length, seed), targets(length, seed), name)
        found.append(open_dataset(path, images=SMALL))
    return found


def draws(order, start, stop):
    return [tuple(pair) for s in range(start, stop) for pair in zip(*order.batch(s), strict=True)]


def test_every_sample_comes_once_an_epoch(datasets):
    order = BatchOrder(Mixture(datasets[:1]), 17, seed=4)
    assert order.steps_per_epoch == 3
    first, second = (draws(order, 3 * e, 3 * e + 3) for e in range(2))
    assert sorted(i for _, i in first) == list(range(51))
    assert sorted(i for _, i in second) == list(range(51))
    assert first != second
    assert first != draws(BatchOrder(Mixture(datasets[:1]), 17, seed=5), 0, 3)


def test_order_can_start_anywhere(datasets):
    mixture = Mixture(datasets, [1, 3])
    complete = BatchOrder(mixture, 8)
    straight = [draws(complete, s, s + 1) for s in range(1100)]
    for step in (0, 1, 511, 512, 513, 1099, 3):
        assert draws(BatchOrder(mixture, 8), step, step + 1) == straight[step]


def test_ranks_share_out_the_batches_of_one_process(datasets):
    mixture = Mixture(datasets)
    one = draws(BatchOrder(mixture, 12), 0, 600)
    parts = [BatchOrder(mixture, 4, rank=rank, world=3) for rank in range(3)]
    together = [d for step in range(600) for part in parts for d in draws(part, step, step + 1)]
    assert together == one


def test_shares_are_exact_over_a_block(datasets):
    order = BatchOrder(Mixture(datasets, [1, 4]), 64)
    counts = Counter(which for which, _ in draws(order, 0, BLOCK // 64))
    assert counts == {0: 819, 1: 3277}
    by_size = BatchOrder(Mixture(datasets), 64)
    counts = Counter(which for which, _ in draws(by_size, 0, BLOCK // 64))
    assert counts[0] / BLOCK == pytest.approx(51 / 68, abs=1e-3)


def test_samples_of_a_mixture_are_drawn_evenly(datasets):
    order = BatchOrder(Mixture(datasets, [1, 1]), 64)
    counts = Counter(draws(order, 0, BLOCK // 64))
    pick = [n for (which, _), n in counts.items() if which == 0]
    assert len(pick) == 51
    assert max(pick) - min(pick) <= 1


def test_ends_can_be_drawn_less_often(datasets):
    order = BatchOrder(Mixture(datasets[:1]), 41, end_weight=0.25)
    ends = datasets[0].at_end
    counts = Counter(i for _, i in draws(order, 0, 400))
    total = 400 * 41
    expected = 0.25 * ends.sum() / (0.25 * ends.sum() + (~ends).sum())
    fraction = sum(n for i, n in counts.items() if ends[i]) / total
    assert fraction == pytest.approx(expected, rel=0.03)
    assert all(counts[i] for i in np.flatnonzero(ends))


def test_mixed_batches_keep_their_order(datasets):
    mixture = Mixture(datasets)
    which, indices = np.array([1, 0, 1, 0]), np.array([16, 40, 2, 3])
    batch = mixture.batch(which, indices)
    assert batch.instructions == ['push', 'pick', 'push', 'pick']
    assert batch.datasets.tolist() == [1, 0, 1, 0]
    for place in range(4):
        single = datasets[which[place]].batch([indices[place]])
        np.testing.assert_array_equal(batch.images[place], single.images[0])
        np.testing.assert_array_equal(batch.actions[place], single.actions[0])
        assert batch.rows[place] == single.rows[0]


@pytest.mark.parametrize('workers', [1, 3])
def test_threads_give_the_same_batches(datasets, workers):
    mixture = Mixture(datasets)
    order = BatchOrder(mixture, 5)
    alone = list(load_batches(mixture, order, start=7, stop=27, workers=0))
    threaded = list(load_batches(mixture, order, start=7, stop=27, workers=workers, ahead=2))
    assert len(threaded) == 20
    for a, b in zip(alone, threaded, strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.rows, b.rows)
        assert a.instructions == b.instructions


def test_endless_loading_stops_with_the_caller(datasets):
    mixture = Mixture(datasets)
    batches = load_batches(mixture, BatchOrder(mixture, 4), workers=2)
    assert next(batches).images.shape == (4, 2, 16, 16, 3)
    batches.close()


def test_errors_of_workers_are_raised(datasets, monkeypatch):
    mixture = Mixture(datasets)

    def broken(rows):
        raise DatasetError('disk gone')

    monkeypatch.setattr(datasets[0].store, 'images', broken)
    with pytest.raises(DatasetError, match='disk gone'):
        list(load_batches(mixture, BatchOrder(mixture, 4), stop=3))


def test_validation_is_the_same_every_time(datasets):
    first, second = (
        [b.rows.tolist() for b in validation_batches(datasets[0], 4, 5)] for _ in range(2)
    )
    assert first == second
    assert len(first) == 5
    everything = [r for b in validation_batches(datasets[0], 4, 100) for r in b.rows]
    assert everything == list(range(51))


def test_statistics_per_dataset_and_together(datasets):
    mixture = Mixture(datasets)
    assert set(mixture.statistics()) == {'pick', 'push'}
    joint = mixture.joint_statistics('both')
    assert joint.num_trajectories == 3
    highest = np.maximum(*(d.statistics().action.max for d in datasets))
    np.testing.assert_array_equal(joint.action.max, highest)


def test_joint_statistics_of_very_many_chunks_take_evenly_spaced_ones(datasets, monkeypatch):
    mixture, taken = Mixture(datasets), []
    chunks = Dataset.chunks
    monkeypatch.setattr('vla_adapter_ros.data.training.mixture.STATISTICS_CHUNKS', 20)
    monkeypatch.setattr(
        Dataset, 'chunks', lambda self, rows: (taken.append(len(rows)), chunks(self, rows))[1]
    )
    joint = mixture.joint_statistics('both')
    assert 15 <= sum(taken) <= 21 < len(mixture)
    assert joint.num_transitions == len(mixture)


def test_unfit_mixtures_are_refused(datasets, tmp_path):
    with pytest.raises(DatasetError, match=r'got weights \[1.0\], expected 2'):
        Mixture(datasets, [1.0])
    with pytest.raises(DatasetError, match='names must be unique'):
        Mixture([datasets[0], datasets[0]])
    path = tmp_path / 'push'
    with DatasetWriter(path, contract(), storage='image') as writer:
        writer.add_episode(observations(9, 0), targets(9, 0), 'push')
    other = open_dataset(path, images=SMALL, action_space='joint_delta', name='other')
    with pytest.raises(DatasetError, match="action_space is 'joint_position' in 'pick'"):
        Mixture([datasets[0], other])
