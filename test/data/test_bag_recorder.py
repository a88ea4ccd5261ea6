# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The recorder's core: complete bags, kill −9, full disk, slow disk, gaps, discard."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import yaml

from support.bag_samples import (
    TOPICS,
    TYPES,
    feed,
    joint_state,
    raw_image,
    record_forever,
    serialise,
    time_of,
    write_bag,
)
from support.data_samples import contract, image
from vla_adapter_ros.data.bags.episode import BagEpisode
from vla_adapter_ros.data.bags.file import BagFile
from vla_adapter_ros.data.bags.recorder import (
    COMPRESSED_TYPE,
    EpisodeRecorder,
    RecordedTopic,
    compress_image,
    next_episode_name,
)
from vla_adapter_ros.data.bags.recover import recover
from vla_adapter_ros.data.bags.unfinished import RECORDING, recover_abandoned
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.robot.camera_spec import BYTES_PER_PIXEL, ENCODINGS, PLANAR_ENCODINGS
from vla_adapter_ros.robot.camera_view import policy_image


def test_finished_episode_is_a_bag_that_converts(tmp_path):
    recorder = EpisodeRecorder(tmp_path, 'a', TOPICS, contract(), 'push')
    feed(recorder, 40)
    assert not (tmp_path / 'a').exists()
    report = recorder.finish({'success': 'true'})
    assert report.problems == []
    assert report.topics['/joint_states'].count == 80
    assert report.topics['/cam/front'].rate == pytest.approx(30, rel=0.01)
    assert report.duration == pytest.approx(39 / 30 + 1 / 60, abs=1e-6)
    assert not (tmp_path / RECORDING).exists()
    episode = BagEpisode(tmp_path / 'a')
    assert (episode.instruction, episode.action_source) == ('push the cube', 'next_state')
    assert len(episode) == 14
    np.testing.assert_array_equal(next(episode.images('wrist', [2])), image(1, 6))
    with BagFile(tmp_path / 'a') as bag:
        assert bag.contract == contract()
        assert bag.custom['success'] == 'true'
        assert 'rosbags' in json.loads(bag.custom['versions'])


def test_metadata_is_what_every_distribution_reads(tmp_path):
    recorder = EpisodeRecorder(tmp_path, 'a', TOPICS, contract())
    feed(recorder, 3)
    recorder.finish()
    found = yaml.safe_load((tmp_path / 'a/metadata.yaml').read_text())
    found = found['rosbag2_bagfile_information']
    # Humble reads version 8 (and below); there the quality of service is text, not a list.
    assert (found['version'], found['storage_identifier']) == (8, 'mcap')
    assert found['relative_file_paths'] == ['a.mcap']
    assert found['message_count'] == 13
    topics = {t['topic_metadata']['name']: t for t in found['topics_with_message_count']}
    assert topics['/cam/hand']['message_count'] == 3
    assert 'durability: 1' in topics['/task']['topic_metadata']['offered_qos_profiles']


def test_gaps_and_missing_topics_are_reported(tmp_path):
    recorder = EpisodeRecorder(tmp_path, 'a', TOPICS[:3], contract())
    recorder.write('/joint_states', time_of(0), serialise(joint_state(['x'], [0.0], time_of(0))))
    for frame in [*range(30), *range(45, 60)]:
        data = serialise(raw_image(image(0, frame), time_of(frame / 30)))
        recorder.write('/cam/front', time_of(frame / 30), data)
    report = recorder.finish()
    assert report.problems == [
        '/cam/front: 0.53 s without a message after 0.97 s',
        '/cam/hand: no messages',
    ]
    assert any('problem: /cam/hand' in line for line in report.lines())


def test_discarded_episodes_leave_nothing(tmp_path):
    recorder = EpisodeRecorder(tmp_path, 'a', TOPICS, contract())
    feed(recorder, 5)
    recorder.discard()
    assert list(tmp_path.iterdir()) == []


def test_names_are_not_reused(tmp_path):
    assert next_episode_name(tmp_path) == 'episode_000000'
    first = EpisodeRecorder(tmp_path, 'episode_000000', TOPICS, contract())
    assert next_episode_name(tmp_path) == 'episode_000001'
    with pytest.raises(DatasetError, match='already exists'):
        EpisodeRecorder(tmp_path, 'episode_000000', TOPICS, contract())
    feed(first, 1)
    first.finish()
    assert next_episode_name(tmp_path) == 'episode_000001'
    with pytest.raises(DatasetError, match='already exists'):
        EpisodeRecorder(tmp_path, 'episode_000000', TOPICS, contract())


def test_unknown_types_need_a_definition(tmp_path):
    other = RecordedTopic('chunk', '/chunk', 'my_msgs/msg/Chunk')
    with pytest.raises(DatasetError, match='/chunk: unknown type my_msgs/msg/Chunk'):
        EpisodeRecorder(tmp_path, 'a', [other], contract())
    known = RecordedTopic('chunk', '/chunk', 'my_msgs/msg/Chunk', definition='float64[] actions\n')
    recorder = EpisodeRecorder(tmp_path, 'b', [known], contract())
    recorder.write('/chunk', 5, b'\x00\x01\x00\x00' + bytes(4))
    recorder.finish()
    with BagFile(tmp_path / 'b') as bag:
        assert bag.types == {'/chunk': 'my_msgs/msg/Chunk'}


@pytest.mark.slow(reason='three seconds of recording; the node is always killed')
def test_killed_recording_is_recovered(tmp_path):
    context = multiprocessing.get_context('spawn')
    ready = context.Event()
    process = context.Process(target=record_forever, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    # A recorder at work is left alone.
    assert list(recover_abandoned(tmp_path)) == []
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (saved,) = recover_abandoned(tmp_path)
    # 300 frames were taken in 2.5 s or more; at most the last second may be missing.
    assert (saved.name, saved.path, saved.kept) == ('a', tmp_path / 'a', None)
    assert saved.count > 400
    episode = BagEpisode(tmp_path / 'a')
    assert episode.instruction == 'push the cube'
    shown = next(episode.images('third_person', [10]))
    np.testing.assert_array_equal(shown, image(0, 30))
    with BagFile(tmp_path / 'a') as bag:
        assert bag.custom['recovered']
        assert bag.contract == contract()
    assert not (tmp_path / RECORDING).exists()


def test_full_disk_is_reported_and_what_was_written_is_kept(tmp_path):
    recorder = EpisodeRecorder(tmp_path, 'a', TOPICS, contract())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, limits[1]))
    try:
        for _ in range(20):
            feed(recorder, 30)
            time.sleep(0.02)
        with pytest.raises(DatasetError, match='too big; what was recorded before stays in'):
            recorder.finish()
        assert recorder.failure
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (partial,) = (tmp_path / RECORDING).glob('*/a')
    assert recover(partial, tmp_path / 'saved').count > 100


def _chunks(data):
    """Places of the chunk records in the bytes of an MCAP file."""
    place, found = 8, []
    while data[place] != 0x0F:
        if data[place] == 0x06:
            found.append(place)
        place += 9 + int.from_bytes(data[place + 1 : place + 9], 'little')
    return found


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A bag of several chunks."""
    return write_bag(tmp_path_factory.mktemp('whole') / 'a', size=(256, 192))


@pytest.fixture(scope='module')
def everything(tmp_path_factory, whole):
    """How many messages are recovered of the bag as it is."""
    return recover(whole, tmp_path_factory.mktemp('recovered') / 'a').count


@pytest.fixture
def damaged(tmp_path, whole):
    """Makes a copy of the bag whose bytes were changed, given them and the places of chunks."""

    def make(change):
        shutil.copytree(whole, tmp_path / 'a')
        data = bytearray((whole / 'a.mcap').read_bytes())
        change(data, _chunks(data))
        (tmp_path / 'a/a.mcap').write_bytes(data)
        return tmp_path / 'a'

    return make


def test_a_complete_bag_is_recovered_completely(tmp_path):
    saved = recover(write_bag(tmp_path / 'a'), tmp_path / 'saved')
    with BagFile(tmp_path / 'a') as bag:
        assert saved.count == sum(1 for topic in bag.types for _ in bag.messages(topic))
    assert saved.lost == ()


def set_length(length):
    def change(data, chunks):
        value = length or len(data) + 1
        data[chunks[1] + 1 : chunks[1] + 9] = value.to_bytes(8, 'little')

    return change


def put(offset, value):
    def change(data, chunks):
        place = chunks[1] + offset
        data[place : place + len(value)] = value

    return change


@pytest.mark.parametrize(
    'change',
    [
        pytest.param(put(0, bytes(4096)), id='chunk head'),
        pytest.param(put(200_000, bytes(4096)), id='image'),
        pytest.param(set_length((1 << 62) + 5), id='absurd length'),
        pytest.param(set_length(0), id='length beyond the file'),
        pytest.param(put(9 + 28, b'abcd'), id='compression'),
        pytest.param(put(9 + 28 + 4 + 8, b'\x03'), id='record in the chunk'),
    ],
)
def test_only_the_damaged_chunk_is_lost_and_it_is_named(tmp_path, everything, damaged, change):
    saved = recover(damaged(change), tmp_path / 'saved')
    # A chunk holds 1 MB: seven of these images, and the joint states between them.
    assert everything - 20 < saved.count < everything
    assert len(saved.lost) == 1
    assert 'a.mcap' in saved.lost[0]
    assert ' at byte ' in saved.lost[0]


def test_the_beginning_may_be_gone(tmp_path, damaged):
    # A closed bag repeats its definitions at the end.
    def erase_a_page(data, chunks):
        data[:4096] = bytes(4096)

    saved = recover(damaged(erase_a_page), tmp_path / 'saved')
    assert saved.count > 20


def test_a_recording_without_its_beginning_is_saved_by_the_table_of_its_channels(tmp_path):
    recorder = EpisodeRecorder(tmp_path, 'a', TOPICS, contract(), 'push')
    feed(recorder, 150)
    recorder._join()
    recorder._writer.flush()
    (partial,) = (tmp_path / RECORDING).glob('*/a')
    with (partial / 'a.mcap').open('r+b') as file:
        file.write(bytes(4096))
    saved = recover(partial, tmp_path / 'saved')
    assert saved.count > 50
    assert saved.lost
    assert BagEpisode(tmp_path / 'saved').instruction == 'push'
    recorder.discard()


def test_topics_that_are_not_cdr_and_empty_files_do_not_hinder_the_others(tmp_path):
    from mcap.writer import Writer

    bag = write_bag(tmp_path / 'a')
    (bag / 'a_1.mcap').write_bytes(b'')
    with (bag / 'a_2.mcap').open('wb') as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema('note', 'jsonschema', b'{"type": "object"}')
        channel = writer.register_channel('/notes', 'json', schema)
        writer.add_message(channel, 5, b'{}', 5)
        writer.finish()
    saved = recover(bag, tmp_path / 'saved')
    assert saved.count > 100
    assert saved.lost == ('a_2.mcap: 1 messages on /notes, encoded as json',)


def test_what_is_no_mcap_file_is_named(tmp_path):
    file = write_bag(tmp_path / 'a') / 'a.mcap'
    file.write_bytes(b'no MCAP file')
    with pytest.raises(DatasetError, match='a.mcap: not an MCAP file'):
        recover(tmp_path / 'a', tmp_path / 'saved')
    assert not (tmp_path / 'saved').exists()


def abandoned(tmp_path, name='a'):
    """A recording whose process is gone, in the place of its owner."""
    recorder = EpisodeRecorder(tmp_path, name, TOPICS, contract(), 'push')
    feed(recorder, 150)
    recorder._join()
    recorder._writer.flush()
    recorder._ownership._lock.close()
    (partial,) = (tmp_path / RECORDING).glob(f'*/{name}')
    return partial


def test_an_episode_of_the_same_name_is_kept_beside_the_recovered_one(tmp_path):
    abandoned(tmp_path)
    write_bag(tmp_path / 'a')
    (saved,) = recover_abandoned(tmp_path)
    assert saved.path == tmp_path / 'a_2'
    assert saved.count
    assert BagEpisode(tmp_path / 'a')


def test_a_damaged_recording_is_saved_and_kept(tmp_path):
    partial = abandoned(tmp_path)
    with (partial / 'a.mcap').open('r+b') as file:
        file.seek(1_300_000)
        file.write(bytes(4096))
    (saved,) = recover_abandoned(tmp_path)
    assert saved.count
    assert (saved.kept / 'a.mcap').is_file()
    assert 'kept in' in str(saved)


def test_a_recording_of_which_nothing_can_be_read_is_kept(tmp_path):
    partial = abandoned(tmp_path)
    (partial / 'a.mcap').write_bytes(b'x' * 100_000)
    (saved,) = recover_abandoned(tmp_path)
    assert (saved.count, saved.path) == (0, None)
    assert (saved.kept / 'a.mcap').stat().st_size == 100_000


def test_a_reused_process_number_and_stray_files_do_not_hinder_recovery(tmp_path):
    partial = abandoned(tmp_path)
    old = tmp_path / RECORDING / str(os.getpid())
    partial.parent.rename(old)
    (old / 'notes.txt').write_text('mine')
    (tmp_path / RECORDING / 'stray').write_text('')
    (saved,) = recover_abandoned(tmp_path)
    assert saved.path == tmp_path / 'a'
    assert (old / 'notes.txt').read_text() == 'mine'


def test_a_recording_of_another_machine_is_left_alone_until_it_is_silent(tmp_path, monkeypatch):
    partial = abandoned(tmp_path)
    (partial.parent / 'lock').write_text('{"host": "other", "boot": "other"}')
    assert list(recover_abandoned(tmp_path)) == []
    monkeypatch.setattr('vla_adapter_ros.data.bags.unfinished._SILENT_S', -1.0)
    assert len(list(recover_abandoned(tmp_path))) == 1


def test_a_message_that_cannot_be_written_ends_the_recording_and_is_named(tmp_path):
    recorder = EpisodeRecorder(
        tmp_path, 'a', TOPICS, contract(), 'push', encode={'/cam/front', '/cam/hand'}
    )
    feed(recorder, 5)
    recorder.write('/cam/front', time_of(1.0), b'\x00\x01\x00\x00cut')
    feed(recorder, 5)
    with pytest.raises(DatasetError, match='stays in'):
        recorder.finish()
    assert 'Error' in recorder.failure
    # What is reported is what was written.
    assert recorder.counts()['/cam/front/compressed'] == 5
    (saved,) = recover_abandoned(tmp_path)
    assert saved.path == tmp_path / 'a'


def test_slow_disk_loses_counted_messages_only(tmp_path, monkeypatch):
    recorder = EpisodeRecorder(tmp_path, 'a', TOPICS, contract(), queue_bytes=100_000)
    gate = threading.Event()
    write = recorder._writer.write

    def slow(*arguments):
        gate.wait(30)
        write(*arguments)

    monkeypatch.setattr(recorder._writer, 'write', slow)
    feed(recorder, 30)
    gate.set()
    report = recorder.finish()
    images = report.topics['/cam/front']
    assert images.lost > 0
    assert images.count + images.lost == 30
    assert any('the disk is too slow' in problem for problem in report.problems)
    with BagFile(tmp_path / 'a') as bag:
        assert len(list(bag.messages('/cam/front'))) == images.count


@pytest.mark.parametrize('encoding', [e for e in ENCODINGS if e != 'any'])
def test_jpeg_recordings_fit_contracts_that_name_the_camera_s_encoding(encoding):
    depth = BYTES_PER_PIXEL.get(encoding, 1)
    rows = 48 * 3 // 2 if encoding in PLANAR_ENCODINGS else 48
    raw = raw_image(np.full((48, 64, 3), 100, np.uint8), time_of(0))
    data = np.full(rows * 64 * depth, 100, np.uint8)
    raw = replace(raw, encoding=encoding, step=64 * depth, data=data)
    compressed = TYPES.deserialize_cdr(compress_image(serialise(raw)), COMPRESSED_TYPE)
    camera = replace(contract().cameras['wrist'], encoding=encoding)
    seen, shown = policy_image(compressed, camera), policy_image(raw, camera)
    assert np.abs(seen.astype(int) - shown).max() <= 3
