# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reading bags through their index: the same messages, no rescans, and damage is still found."""

from __future__ import annotations

import hashlib
import json
import os
import pickle

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from support.bag_samples import BagSpec, write_bag
from vla_adapter_ros.data.bags import mcap_index
from vla_adapter_ros.data.bags.episode import BagEpisode
from vla_adapter_ros.data.bags.file import BagFile, message_types
from vla_adapter_ros.data.bags.mcap_index import IndexedMcap
from vla_adapter_ros.data.bags.source import BagSource
from vla_adapter_ros.errors import DatasetError

STORAGES = ('indexed', 'compressed chunks', 'compressed messages', 'sqlite')


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    """One recording in all storages, by name."""
    folder = tmp_path_factory.mktemp('bags')
    found = {'indexed': write_bag(folder / 'indexed', BagSpec(duration=2.0), (64, 48))}
    for name in STORAGES[1:]:
        found[name] = _rewritten(found['indexed'], folder / name.replace(' ', '_'), name)
    return found


def _rewritten(source, target, storage):
    plugin = StoragePlugin.SQLITE3 if storage == 'sqlite' else StoragePlugin.MCAP
    writer = Writer(target, version=8, storage_plugin=plugin)
    modes = {
        'compressed chunks': CompressionMode.STORAGE,
        'compressed messages': CompressionMode.MESSAGE,
    }
    if storage in modes:
        writer.set_compression(modes[storage], CompressionFormat.ZSTD)
    with BagFile(source) as bag:
        for key, value in bag.custom.items():
            writer.set_custom_data(key, value)
        with writer:
            connections = {
                topic: writer.add_connection(topic, kind, typestore=message_types())
                for topic, kind in bag.types.items()
            }
            everything = sorted(
                (message.time, topic, message.data)
                for topic in bag.types
                for message in bag.messages(topic)
            )
            for time, topic, data in everything:
                writer.write(connections[topic], time, data)
    return target


@pytest.mark.parametrize('storage', STORAGES)
def test_all_storages_hold_the_same(bags, storage):
    with BagFile(bags[storage]) as bag:
        assert (bag._index is not None) == (storage == 'indexed')
        for topic in bag.types:
            messages = list(bag.messages(topic))
            assert messages == list(bag._read_on(topic))
            short = list(bag.messages(topic, 16))
            assert [m.data[:16] for m in short] == [m.data[:16] for m in messages]
            times = np.array([message.time for message in messages])
            chosen = sorted({n for n in (0, 3, 7, len(messages) - 1) if n < len(messages)})
            expected = [(number, messages[number]) for number in chosen]
            assert list(bag.numbered(topic, chosen, times)) == expected
            assert list(bag.numbered(topic, [], times)) == []
            # A clock that went back: numbers still count as the bag does.
            assert next(bag.numbered(topic, chosen, times[::-1]))[0] == chosen[0]
    usual, here = BagEpisode(bags['indexed']), BagEpisode(bags[storage])
    np.testing.assert_array_equal(usual.actions, here.actions)
    for mine, theirs in zip(usual.observations(), here.observations(), strict=True):
        np.testing.assert_array_equal(mine.images['wrist'], theirs.images['wrist'])


def test_opening_and_one_frame_read_little(bags, monkeypatch):
    """A frame costs its image and its chunk's checksum, not the topic from its start."""
    read = []
    pread, preadv = os.pread, os.preadv

    def counted(file, size, place):
        read.append(size)
        return pread(file, size, place)

    def counted_into(file, buffers, place):
        read.append(preadv(file, buffers, place))
        return read[-1]

    monkeypatch.setattr(mcap_index.os, 'pread', counted)
    monkeypatch.setattr(mcap_index.os, 'preadv', counted_into)
    source = BagSource(bags['indexed'])
    size = (bags['indexed'] / 'indexed.mcap').stat().st_size
    assert sum(read) < 1.5 * size
    next(iter(source.images(0, 'wrist', [15])))
    read.clear()
    for frame in (0, 15, 3):
        next(iter(source.images(0, 'wrist', [frame])))
    assert sum(read) < 3 * (64 * 48 * 3 * 1.1 + 1024)


@pytest.mark.parametrize('storage', ['compressed chunks', 'sqlite'])
def test_frames_of_other_storages_do_not_start_from_the_beginning(bags, monkeypatch, storage):
    source, seen = BagSource(bags[storage]), []
    original = BagFile._read_on

    def counted(self, topic, start=None, stop=None):
        for message in original(self, topic, start, stop):
            seen.append(message.time)
            yield message

    monkeypatch.setattr(BagFile, '_read_on', counted)
    assert len(list(source.images(0, 'wrist', [15, 16]))) == 2
    assert len(seen) < 8


def test_an_episode_travels_to_another_process(bags):
    episode = BagEpisode(bags['indexed'])
    first = next(episode.images('wrist', [2]))
    copy = pickle.loads(pickle.dumps(episode))
    np.testing.assert_array_equal(next(copy.images('wrist', [2])), first)


def _damage(path, place):
    file = next(path.glob('*.mcap'))
    content = bytearray(file.read_bytes())
    content[place] ^= 0xFF
    file.write_bytes(content)


def test_damaged_bytes_are_found(tmp_path):
    path = write_bag(tmp_path / 'a', BagSpec(duration=1.0))
    with BagFile(path) as bag:
        place = int(bag._index.topics['/wrist/image'].places[20])
    _damage(path, place + 500)
    with pytest.raises(DatasetError, match=r'bag .*a: truncated or damaged: a.mcap: checksum mi'):
        list(BagEpisode(path).observations())


def test_a_record_that_is_not_what_the_index_says_is_refused(tmp_path):
    path = write_bag(tmp_path / 'a', BagSpec(duration=1.0))
    index = IndexedMcap([path / 'a.mcap'])
    index._good.update(range(len(index._chunks)))
    _damage(path, int(index.topics['/wrist/image'].places[4]))
    with pytest.raises(DatasetError, match='a.mcap: unexpected record at byte'):
        index.read('/wrist/image', 4)
    with pytest.raises(DatasetError, match='the file ends early at byte'):
        index._read(0, (path / 'a.mcap').stat().st_size - 3, 10)
    index.close()


def test_an_incomplete_index_is_not_used(bags, monkeypatch):
    monkeypatch.setattr(IndexedMcap, '_chunk_entries', lambda *_: [])
    with BagFile(bags['indexed']) as bag:
        assert bag._index is None
        assert len(list(bag.messages('/wrist/image'))) == 60


@pytest.mark.parametrize('storage', STORAGES)
def test_the_library_tells_the_same_of_a_bag(bags, storage):
    """Datasets know recordings by an identity that was made of what the library says."""
    with BagFile(bags[storage]) as bag:
        reader = bag._library()
        topics = sorted((c.topic, c.msgtype, c.msgcount) for c in reader.connections)
        facts = [reader.start_time, reader.end_time, reader.message_count, topics]
        assert bag.identity == hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        assert bag.types == {topic: kind for topic, kind, count in topics if count}
