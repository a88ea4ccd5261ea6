# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""After a kill or a power cut at any moment the old state is there, or the new one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from support.bag_samples import TOPICS, feed
from support.data_samples import contract, frame_of, observations, states, targets
from support.power_cut import Disk
from vla_adapter_ros.data import files as folders
from vla_adapter_ros.data.bags import recorder as recorder_module
from vla_adapter_ros.data.bags.file import BagFile
from vla_adapter_ros.data.bags.recorder import EpisodeRecorder
from vla_adapter_ros.data.bags.recover import SIDECAR
from vla_adapter_ros.data.bags.unfinished import DAMAGED, recover_abandoned
from vla_adapter_ros.data.bags.writer import BagWriter
from vla_adapter_ros.data.edit import place as edit_place
from vla_adapter_ros.data.edit.__main__ import main as edit
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.prepare import CachedFrames, prepare
from vla_adapter_ros.processing.images import ImageConfig
from vla_adapter_ros.training.checkpoints.run_folder import RunFolder
from vla_adapter_ros.weights import files

LENGTH = 5


def _add(path: Path, numbers, storage: str) -> None:
    writer = DatasetWriter(path, contract(), storage=storage, append=True)
    existing = writer.keys()
    for number in numbers:
        if f'{number:06d}' not in existing:
            text = f'task {number}'
            writer.add_episode(
                observations(LENGTH, number, text), targets(LENGTH, number), key=f'{number:06d}'
            )
    writer.finalize()


def _check_dataset(path: Path, at_least: int, at_most: int) -> None:
    source = LeRobotSource(path)
    assert at_least <= len(source.episodes) <= at_most
    for number, episode in enumerate(source.episodes):
        assert episode.instruction == f'task {number}'
        found = source.states_actions(number)
        np.testing.assert_allclose(found.state, states(LENGTH, number), atol=1e-6)
        for camera in source.cameras:
            views = source.images(number, camera, range(LENGTH))
            assert [frame_of(view) for view in views] == list(range(LENGTH))


def _append(tmp_path: Path, storage: str, *, again: bool) -> int:
    path = tmp_path / 'sets/pick'
    _add(path, [0], storage)
    whole = tmp_path / 'whole'
    _add(whole, [0], storage)
    _add(whole, [1], storage)
    wanted = json.loads((whole / layout.STATS).read_text())
    disk = Disk(tmp_path / 'sets')

    def append() -> None:
        _add(path, [1], storage)
        disk.promise('finished')

    def check(folder: Path, promised) -> None:
        place = folder / 'pick'
        _check_dataset(place, 2 if promised else 1, 2)
        if again:
            _add(place, [0, 1], storage)
            _check_dataset(place, 2, 2)
            assert json.loads((place / layout.STATS).read_text()) == wanted

    return disk.watch(append, check, tmp_path / 'copy')


@pytest.mark.slow(reason='some hundred states of a dataset, each finished again')
@pytest.mark.parametrize('storage', ['image', 'video'])
def test_a_dataset_has_the_old_episodes_or_all_and_can_be_finished(tmp_path, storage):
    assert _append(tmp_path, storage, again=True) > 30


@pytest.mark.slow(reason='every state that a disk may hold is opened')
def test_an_append_whose_tables_are_not_synced_is_found_out(tmp_path, monkeypatch):
    real = files.sync
    monkeypatch.setattr(
        files, 'sync', lambda path: None if path.name.startswith('.file-') else real(path)
    )
    with pytest.raises(AssertionError, match=r'synced tree|names tree'):
        _append(tmp_path, 'image', again=False)


@pytest.mark.slow(reason='some hundred states of an edited dataset')
@pytest.mark.parametrize('exchange', [True, False])
def test_an_edited_dataset_is_the_old_one_or_the_new_one(tmp_path, monkeypatch, exchange):
    path = tmp_path / 'sets/pick'
    _add(path, [0, 1, 2], 'video')
    if not exchange:
        monkeypatch.setattr(edit_place, '_exchange', lambda one, other: False)
    disk = Disk(tmp_path / 'sets')

    def operation() -> None:
        for words in (['delete', '0'], ['crop', '1', '--from', '2f'], ['undo']):
            assert edit([str(path), *words]) == 0
            disk.promise(words[0])

    versions = [[(0, 5), (1, 5), (2, 5)], [(1, 5), (2, 5)], [(1, 5), (2, 3)], [(1, 5), (2, 5)]]

    def check(folder: Path, promised) -> None:
        opened = folder / 'pick'
        if not opened.exists():
            assert not exchange
            assert edit([str(opened), 'list']) == 0
        source = LeRobotSource(opened)
        found = [(int(episode.instruction[5:]), episode.length) for episode in source.episodes]
        assert found in versions[len(promised) : len(promised) + 2]
        for number, (seed, length) in enumerate(found):
            state = source.states_actions(number).state
            np.testing.assert_allclose(state, states(LENGTH, seed)[-length:], atol=1e-6)
            views = source.images(number, 'wrist', range(length))
            assert [frame_of(view) for view in views] == list(range(LENGTH - length, LENGTH))
        assert edit([str(opened), 'delete', '0']) == 0

    assert disk.watch(operation, check, tmp_path / 'copy') > 30


@pytest.mark.slow(reason='a new dataset in some hundred states')
def test_episodes_that_were_added_are_there_after_a_power_cut(tmp_path):
    (tmp_path / 'home').mkdir()
    disk = Disk(tmp_path / 'home')
    path = tmp_path / 'home/sets/pick'

    def operation() -> None:
        writer = DatasetWriter(path, contract(), storage='image')
        for number in (0, 1):
            text = f'task {number}'
            writer.add_episode(observations(LENGTH, number, text), targets(LENGTH, number))
            disk.promise(number)
        writer.finalize()

    def check(folder: Path, promised) -> None:
        place = folder / 'sets/pick'
        if not layout.is_dataset(place):
            if not promised:
                return
            keys = DatasetWriter(place, contract(), storage='image').keys()
            assert {f'{number:06d}' for number in promised} <= keys
        _add(place, [0, 1], 'image')
        _check_dataset(place, 2, 2)

    assert disk.watch(operation, check, tmp_path / 'copy') > 20


def _messages(bag: Path) -> int:
    with BagFile(bag) as opened:
        assert opened.custom['contract']
        assert opened.custom['instruction'] == 'push'
        return sum(1 for topic in opened.types for _ in opened.messages(topic))


def _record(tmp_path: Path, monkeypatch) -> int:
    (tmp_path / 'home').mkdir()
    disk = Disk(tmp_path / 'home')
    monkeypatch.setattr(recorder_module, 'FLUSH_PERIOD_S', 0.0)
    flush, written = BagWriter.flush, [0]

    def counting(self) -> None:
        written[0] += 1
        flush(self)
        disk.promise(written[0])

    monkeypatch.setattr(BagWriter, 'flush', counting)

    def operation() -> None:
        recorder = EpisodeRecorder(tmp_path / 'home/bags', 'a', TOPICS, contract(), 'push')
        feed(recorder, 2)
        recorder.finish()
        disk.promise('finished')

    def check(folder: Path, promised) -> None:
        bags = folder / 'bags'
        if not promised and not bags.is_dir():
            return
        list(recover_abandoned(bags))
        list(recover_abandoned(bags))
        assert not (bags / DAMAGED).exists()
        found = [path for path in bags.iterdir() if not path.name.startswith('.')]
        assert len(found) == 1 or not promised
        numbers = [n for n in promised if isinstance(n, int)]
        for bag in found:
            assert _messages(bag) >= max(numbers, default=0)
            assert 'finished' not in promised or bag.name == 'a'

    return disk.watch(operation, check, tmp_path / 'copy')


@pytest.mark.slow(reason='every state that a disk may hold is recovered')
def test_a_recording_is_there_or_can_be_recovered(tmp_path, monkeypatch):
    assert _record(tmp_path, monkeypatch) > 20


def test_a_recording_whose_messages_are_not_synced_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr('os.fdatasync', lambda descriptor: None)
    monkeypatch.setattr(Disk, '_syncing', _only_fsync(Disk._syncing))
    with pytest.raises(AssertionError, match='tree'):
        _record(tmp_path, monkeypatch)


def _only_fsync(real):
    """Take the watching of `os.fdatasync` away: it then does nothing."""
    return lambda self, call: call if call.__name__ == '<lambda>' else real(self, call)


def _recover(tmp_path: Path, monkeypatch) -> int:
    """A power cut while what another power cut left is recovered."""
    first = EpisodeRecorder(tmp_path / 'bags', 'a', TOPICS, contract(), 'push')
    feed(first, 3)
    first._join()
    first._writer.flush()
    shutil.copytree(tmp_path / 'bags', tmp_path / 'home/bags')
    first.discard()
    disk = Disk(tmp_path / 'home')

    def operation() -> None:
        list(recover_abandoned(tmp_path / 'home/bags'))

    def check(folder: Path, promised) -> None:
        bags = folder / 'bags'
        list(recover_abandoned(bags))
        found = sorted(p for p in bags.iterdir() if not p.name.startswith('.'))
        assert [path.name for path in found] == ['a']
        assert _messages(found[0]) == 19 - 6

    return disk.watch(operation, check, tmp_path / 'copy')


@pytest.mark.slow(reason='every state that a disk may hold is recovered')
def test_a_recovery_is_not_lost_and_not_made_twice(tmp_path, monkeypatch):
    assert _recover(tmp_path, monkeypatch) > 10


def _discard(tmp_path: Path) -> int:
    recorder = EpisodeRecorder(tmp_path / 'home', 'a', TOPICS, contract(), 'push')
    feed(recorder, 1)
    recorder._join()
    recorder._writer.flush()
    disk = Disk(tmp_path / 'home')

    def check(folder: Path, promised) -> None:
        list(recover_abandoned(folder))
        assert not (folder / DAMAGED).exists()
        for bag in folder.glob('[!.]*'):
            _messages(bag)

    return disk.watch(recorder.discard, check, tmp_path / 'copy')


def test_a_discarded_recording_does_not_come_back_in_parts(tmp_path):
    assert _discard(tmp_path) > 4


def test_a_recording_that_is_removed_in_parts_is_found_out(tmp_path, monkeypatch):
    def in_parts(folder: Path) -> None:  # in an order that a file system may have
        (folder / SIDECAR).unlink()
        shutil.rmtree(folder)

    monkeypatch.setattr(recorder_module, 'remove_folder', in_parts)
    with pytest.raises(AssertionError, match='kill tree|names tree'):
        _discard(tmp_path)


def _checkpoints(tmp_path: Path) -> int:
    run = RunFolder(tmp_path / 'run', keep_last=1)

    def writer(step: int):
        def write(folder: Path) -> None:
            (folder / 'weights').write_text(f'weights {step}')
            (folder / 'tokenizer').mkdir()
            (folder / 'tokenizer/words').write_text(f'words {step}')

        return write

    run.mark_best(run.save(1, writer(1)), 0.5)
    disk = Disk(tmp_path / 'run')

    def operation() -> None:
        for step, score in ((2, 0.4), (3, 0.9), (3, 0.3)):
            run.mark_best(run.save(step, writer(step)), score)
            disk.promise(step)

    def check(folder: Path, promised) -> None:
        found = RunFolder(folder, keep_last=1)
        assert found.best_score() in (0.5, 0.4, 0.3)
        last = found.last()
        assert last is not None and max(found.steps()) >= max(promised, default=1)
        places = [*found.steps().items(), (None, (folder / 'checkpoints/best').resolve())]
        for step, place in places:
            step = step or int(place.name[5:])
            assert (place / 'weights').read_text() == f'weights {step}'
            assert (place / 'tokenizer/words').read_text() == f'words {step}'
        found.save(4, writer(4))
        assert 4 in found.steps()

    return disk.watch(operation, check, tmp_path / 'copy')


def test_the_newest_and_the_best_checkpoint_are_complete(tmp_path):
    assert _checkpoints(tmp_path) > 30


@pytest.mark.parametrize('name', ['sync_folder', 'remove_folder'])
def test_a_checkpoint_that_is_not_synced_or_removed_in_parts_is_found_out(
    tmp_path, monkeypatch, name
):
    wrong = {'sync_folder': lambda folder: None, 'remove_folder': shutil.rmtree}
    monkeypatch.setattr(f'vla_adapter_ros.training.checkpoints.run_folder.{name}', wrong[name])
    with pytest.raises(AssertionError, match='tree'):
        _checkpoints(tmp_path)


def _prepare(tmp_path: Path) -> int:
    _add(tmp_path / 'set', [0], 'image')
    images = ImageConfig(size=16, jpeg_round_trip=False)
    source = LeRobotSource(tmp_path / 'set')
    want = prepare(source, images, root=tmp_path / 'whole')
    (tmp_path / 'caches').mkdir()
    disk = Disk(tmp_path / 'caches')

    def operation() -> None:
        prepare(source, images, root=tmp_path / 'caches')

    def check(folder: Path, promised) -> None:
        for place in folder.iterdir():
            if not place.name.startswith('.'):
                CachedFrames(place)
        found = prepare(source, images, root=folder)
        rows = np.arange(LENGTH)
        np.testing.assert_array_equal(found.images(rows), want.images(rows))
        np.testing.assert_array_equal(found.state, want.state)

    return disk.watch(operation, check, tmp_path / 'copy')


def test_a_training_cache_is_complete_or_not_there(tmp_path):
    assert _prepare(tmp_path) > 5


def test_a_cache_that_is_not_synced_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, 'sync_folder', lambda folder: None)
    with pytest.raises(AssertionError, match='tree'):
        _prepare(tmp_path)


@pytest.mark.parametrize('wrong', [False, True])
def test_a_replaced_file_is_the_old_one_or_the_new_one(tmp_path, monkeypatch, wrong):
    place = tmp_path / 'home/a.json'
    place.parent.mkdir()
    files.write_json(place, {'number': 1})
    disk = Disk(place.parent)
    if wrong:
        monkeypatch.setattr(files, 'sync', lambda path: None)

    def operation() -> None:
        files.write_json(place, {'number': 2})
        disk.promise(2)

    def check(folder: Path, promised) -> None:
        assert files.read_json(folder / 'a.json')['number'] in (promised or (1, 2))

    if wrong:
        with pytest.raises(AssertionError, match='tree'):
            disk.watch(operation, check, tmp_path / 'copy')
    else:
        assert disk.watch(operation, check, tmp_path / 'copy') > 4
