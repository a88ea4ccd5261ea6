# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The LeRobot writer: what is read back, appending, crashes, several processes, bad input."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
from itertools import chain

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.bag_samples import write_endlessly, write_episodes
from support.data_samples import contract, frame_of, image, observations, states, targets
from vla_adapter_ros.data.lerobot.assembly import _groups
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.video import (
    VideoWriter,
    check_joined,
    codec_settings,
    join_videos,
)
from vla_adapter_ros.data.lerobot.writer import DatasetWriter, frame_rate
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract


def write(path, lengths=(12, 9, 15), **options):
    with DatasetWriter(path, contract(), **options) as writer:
        for seed, length in enumerate(lengths):
            writer.add_episode(observations(length, seed), targets(length, seed))
    return LeRobotSource(path)


@pytest.mark.parametrize('storage', ['video', 'image'])
def test_episodes_are_read_back(tmp_path, storage):
    source = write(tmp_path / 'set', storage=storage)
    assert [episode.length for episode in source.episodes] == [12, 9, 15]
    assert {episode.instruction for episode in source.episodes} == {'pick up the cube'}
    for seed, length in enumerate((12, 9, 15)):
        vectors = source.states_actions(seed)
        np.testing.assert_array_equal(vectors.state, states(length, seed).astype(np.float32))
        np.testing.assert_array_equal(vectors.actions, targets(length, seed).astype(np.float32))
        for camera, shift in (('third_person', 0), ('wrist', 1)):
            for frame, pixels in enumerate(source.images(seed, camera, range(length))):
                assert frame_of(pixels) == frame
                error = np.abs(pixels.astype(int) - image(seed + shift, frame))
                assert error.max() == 0 if storage == 'image' else error.mean() < 3.5


def test_random_frames_of_joined_videos(tmp_path):
    source = write(tmp_path / 'set', lengths=(20, 30))
    order = np.random.default_rng(0).permutation(30).tolist()
    shown = [frame_of(pixels) for pixels in source.images(1, 'wrist', order)]
    assert shown == order
    assert [frame_of(p) for p in source.images(0, 'wrist', [19, 0, 7, 7, 8])] == [19, 0, 7, 7, 8]


def test_frames_after_the_end_are_refused(tmp_path):
    source = write(tmp_path / 'set', lengths=(5,))
    with pytest.raises(DatasetError, match='has no frame 7'):
        list(source.images(0, 'wrist', [7]))


def test_contract_travels_unchanged(tmp_path):
    source = write(tmp_path / 'set', lengths=(3,))
    assert source.contract == contract()
    assert source.names == contract().names
    assert source.cameras == ('third_person', 'wrist')


def test_quantiles_are_of_all_frames(tmp_path):
    write(tmp_path / 'set')
    stats = json.loads((tmp_path / 'set/meta/stats.json').read_text())
    everything = np.concatenate([states(n, s) for s, n in enumerate((12, 9, 15))])
    expected = np.quantile(everything.astype(np.float32).astype(float), [0.01, 0.99], axis=0)
    np.testing.assert_allclose(stats['observation.state']['q01'], expected[0])
    np.testing.assert_allclose(stats['observation.state']['q99'], expected[1])
    assert stats['observation.state']['count'] == [36]
    assert np.shape(stats['observation.images.wrist']['mean']) == (3, 1, 1)
    # 'index' is 0..35: an average of the episodes' quantiles would be far from its ends.
    assert stats['index']['q01'][0] == pytest.approx(0.35)


def test_columns_follow_the_format(tmp_path):
    write(tmp_path / 'set')
    table = pq.read_table(tmp_path / 'set/data/chunk-000/file-000.parquet')
    assert table.column('index').to_pylist() == list(range(36))
    expected = list(chain(range(12), range(9), range(15)))
    assert table.column('frame_index').to_pylist() == expected
    np.testing.assert_allclose(table.column('timestamp'), np.array(expected) / 10, rtol=1e-6)
    rows = pq.read_table(tmp_path / 'set/meta/episodes/chunk-000/file-000.parquet').to_pylist()
    assert [row['dataset_from_index'] for row in rows] == [0, 12, 21]
    starts = [row['videos/observation.images.wrist/from_timestamp'] for row in rows]
    np.testing.assert_allclose(starts, [0, 1.2, 2.1])


def test_images_are_stored_upright_and_resized(tmp_path):
    turned = contract(rotate=90)
    with DatasetWriter(tmp_path / 'set', turned, storage='image') as writer:
        writer.add_episode(observations(2), targets(2))
    pixels = next(iter(LeRobotSource(tmp_path / 'set').images(0, 'wrist', [1])))
    np.testing.assert_array_equal(pixels, np.rot90(image(1, 1), -1))
    with DatasetWriter(tmp_path / 'small', turned, storage='image', image_size=32) as writer:
        writer.add_episode(observations(2), targets(2))
    assert next(iter(LeRobotSource(tmp_path / 'small').images(0, 'wrist', [1]))).shape == (
        32,
        32,
        3,
    )


def test_appending_keeps_what_is_there(tmp_path):
    fingerprint = write(tmp_path / 'set', lengths=(8,)).fingerprint()
    before = (tmp_path / 'set/data/chunk-000/file-000.parquet').read_bytes()
    with pytest.raises(DatasetError, match='already holds a dataset'):
        DatasetWriter(tmp_path / 'set', contract())
    with DatasetWriter(tmp_path / 'set', contract(), append=True) as writer:
        writer.add_episode(observations(6, 3), targets(6, 3), 'push the button')
    source = LeRobotSource(tmp_path / 'set')
    assert (tmp_path / 'set/data/chunk-000/file-000.parquet').read_bytes() == before
    assert [e.instruction for e in source.episodes] == ['pick up the cube', 'push the button']
    assert [frame_of(p) for p in source.images(1, 'wrist', range(6))] == list(range(6))
    assert source.fingerprint() != fingerprint


def test_another_contract_is_refused(tmp_path):
    write(tmp_path / 'set', lengths=(3,))
    with pytest.raises(DatasetError, match=r'cameras.wrist.width: 32 here, 64 there'):
        DatasetWriter(tmp_path / 'set', contract(width=32), append=True)
    with pytest.raises(DatasetError, match="storage is 'video' there, 'image' here"):
        DatasetWriter(tmp_path / 'set', contract(), append=True, storage='image')


def _with(index, **changes):
    for number, item in enumerate(observations(5)):
        yield Observation(**(vars(item) | changes)) if number == index else item


@pytest.mark.parametrize(
    ('items', 'actions', 'text', 'message'),
    [
        (lambda: observations(5), targets(4), 'x', '5 observations, 4 actions'),
        (lambda: observations(5), targets(5)[:, :6], 'x', r'shape \(5, 6\), expected'),
        (lambda: observations(5), targets(5) * np.nan, 'x', 'frame 0, Joint1 is nan'),
        (lambda: observations(5), targets(5), '  ', 'the instruction is empty'),
        (lambda: observations(0), targets(0), 'x', r'shape \(0, 7\), expected'),
        (lambda: _with(3, proprioception=np.full(7, np.inf)), targets(5), 'x', 'observation 3'),
        (lambda: _with(2, images={}), targets(5), 'x', "2: no image of camera 'third_person'"),
        (
            lambda: _with(4, images={'third_person': image(0, 1, 32), 'wrist': image(0, 1)}),
            targets(5), 'x', 'observation 4: third_person is 32x48, the images before are 64x48',
        ),
    ],
)  # fmt: skip
def test_bad_episodes_are_refused_and_leave_nothing(tmp_path, items, actions, text, message):
    writer = DatasetWriter(tmp_path / 'set', contract())
    writer.add_episode(observations(4), targets(4))
    with pytest.raises(DatasetError, match=message):
        writer.add_episode(items(), actions, text)
    assert writer.keys() == {'000000'}
    writer.finalize()
    assert len(LeRobotSource(tmp_path / 'set').episodes) == 1


def test_empty_dataset_is_refused(tmp_path):
    with pytest.raises(DatasetError, match='no episodes'):
        DatasetWriter(tmp_path / 'set', contract()).finalize()


@pytest.mark.parametrize('fps', [7, 25, 0])
def test_rates_that_do_not_divide_are_refused(tmp_path, fps):
    with pytest.raises(DatasetError, match='integer multiple of the contract rate 10 Hz'):
        DatasetWriter(tmp_path / 'set', contract(), fps=fps)


def test_several_processes_write_one_dataset(tmp_path):
    context = multiprocessing.get_context('spawn')
    folder = tmp_path / 'set'
    workers = [context.Process(target=write_episodes, args=(folder, i, 3)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    writer = DatasetWriter(tmp_path / 'set', contract(), image_size=32)
    assert len(writer.keys()) == 6
    writer.finalize()
    source = LeRobotSource(tmp_path / 'set')
    for index, seed in enumerate((0, 1, 2, 10, 11, 12)):
        np.testing.assert_array_equal(
            source.states_actions(index).state, states(5, seed).astype(np.float32)
        )


def test_killed_process_loses_only_its_episode(tmp_path):
    context = multiprocessing.get_context('spawn')
    started = context.Event()
    process = context.Process(target=write_endlessly, args=(tmp_path / 'set', started))
    process.start()
    assert started.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert list((tmp_path / 'set/.staging').glob('.*.partial'))
    writer = DatasetWriter(tmp_path / 'set', contract())
    assert not list((tmp_path / 'set/.staging').glob('.*.partial'))
    writer.add_episode(observations(7), targets(7))
    writer.finalize()
    assert [e.length for e in LeRobotSource(tmp_path / 'set').episodes] == [5, 7]
    assert not (tmp_path / 'set/.staging').exists()


def test_interrupted_finalize_is_repeated(tmp_path, monkeypatch):
    from vla_adapter_ros.data.lerobot import assembly as lerobot_assembly

    writer = DatasetWriter(tmp_path / 'set', contract())
    for seed in range(2):
        writer.add_episode(observations(5, seed), targets(5, seed))
    stray = tmp_path / 'set/data/chunk-000/file-007.parquet'
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b'half a file')

    def power_cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lerobot_assembly, 'write_tasks', power_cut)
        with pytest.raises(KeyboardInterrupt):
            writer.finalize()
    with pytest.raises(DatasetError, match='interrupted before it was finalised'):
        from vla_adapter_ros.data.sources import open_source

        open_source(tmp_path / 'set')
    DatasetWriter(tmp_path / 'set', contract()).finalize()
    source = LeRobotSource(tmp_path / 'set')
    assert [e.length for e in source.episodes] == [5, 5]
    assert [frame_of(p) for p in source.images(1, 'wrist', range(5))] == list(range(5))
    assert not stray.exists()


def test_full_disk_keeps_what_is_staged(tmp_path):
    writer = DatasetWriter(tmp_path / 'set', contract(), storage='image')
    writer.add_episode(observations(3), targets(3))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A real write error: files may not grow beyond 8 kB.
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, limits[1]))
    try:
        with pytest.raises(DatasetError, match="too big; episode '000001' is not kept, the 1 "):
            writer.add_episode(observations(60), targets(60))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    writer.finalize()
    assert [e.length for e in LeRobotSource(tmp_path / 'set').episodes] == [3]


def test_contract_can_be_read_without_the_package(tmp_path):
    write(tmp_path / 'set', lengths=(3,))
    extra = json.loads((tmp_path / 'set/meta/vla_adapter.json').read_text())
    assert RobotContract.from_dict(extra['contract']) == contract()
    assert extra['versions']['vla_adapter_ros']


def test_videos_of_another_encoder_setting_are_not_joined_into_one_stream(tmp_path):
    """H.264 keeps its rate factor in the header, of which a joined file has one."""
    parts = []
    for number, quality in enumerate((18, 18, 34)):
        with VideoWriter(tmp_path / f'{number}.mp4', 10, quality) as video:
            for frame in range(4):
                video.write(image(number, frame))
        parts.append(tmp_path / f'{number}.mp4')
    same, other = codec_settings(parts[1]), codec_settings(parts[2])
    assert codec_settings(parts[0]) == same != other
    join_videos(parts[:2], tmp_path / 'good.mp4', 10)
    check_joined(tmp_path / 'good.mp4', parts[:2], 10)
    join_videos(parts, tmp_path / 'bad.mp4', 10)
    with pytest.raises(DatasetError, match=r'2.mp4 reads differently in it than alone'):
        check_joined(tmp_path / 'bad.mp4', parts, 10)
    assert [list(g) for g in _groups([1, 1, 1], 100, [same, same, other])] == [[0, 1], [2]]


@pytest.mark.parametrize(
    ('period', 'fps', 'rate'),
    [
        (0.0333, None, 30), (0.033333, None, 30), (1 / 29.97, None, 30), (0.0667, None, 15),
        (0.0333, 60, 60), (0.1, 30, 30),
    ],
)  # fmt: skip
def test_periods_of_few_digits_are_whole_rates(period, fps, rate):
    assert frame_rate(contract(step_period=period), fps) == rate


@pytest.mark.parametrize(('period', 'fps'), [(0.034, None), (0.08, None), (0.0333, 25)])
def test_rates_that_are_not_whole_are_refused(period, fps):
    with pytest.raises(DatasetError, match='expected an integer multiple of the contract rate'):
        frame_rate(contract(step_period=period), fps)
