# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The recorder's core: complete bags, kill −9, full disk, slow disk, gaps, discard."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import threading
import time

import numpy as np
import pytest
import yaml

from support.bag_samples import (
    TOPICS,
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
    RECORDING,
    EpisodeRecorder,
    RecordedTopic,
    next_episode_name,
    recover_abandoned,
)
from vla_adapter_ros.data.bags.recover import recover
from vla_adapter_ros.errors import DatasetError


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


def test_killed_recording_is_recovered(tmp_path):
    context = multiprocessing.get_context('spawn')
    ready = context.Event()
    process = context.Process(target=record_forever, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    # A recorder at work is left alone.
    assert recover_abandoned(tmp_path) == {}
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    saved = recover_abandoned(tmp_path)
    # 300 frames were taken in 2.5 s or more; at most the last second may be missing.
    assert saved['a'] > 400
    episode = BagEpisode(tmp_path / 'a')
    assert episode.instruction == 'push the cube'
    shown = next(episode.images('third_person', [10]))
    np.testing.assert_array_equal(shown, image(0, 30))
    with BagFile(tmp_path / 'a') as bag:
        assert bag.custom['recovered'] == 'true'
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
    assert recover(partial, tmp_path / 'saved') > 100


def _chunks(data):
    """Places of the chunk records in the bytes of an MCAP file."""
    place, found = 8, []
    while data[place] != 0x0F:
        if data[place] == 0x06:
            found.append(place)
        place += 9 + int.from_bytes(data[place + 1 : place + 9], 'little')
    return found


def test_recovery_saves_what_precedes_a_damaged_length(tmp_path):
    file = write_bag(tmp_path / 'a') / 'a.mcap'
    data = bytearray(file.read_bytes())
    everything = recover(tmp_path / 'a', tmp_path / 'all')
    first, second, *_ = _chunks(data)
    for length in ((1 << 62) + 5, len(data) + 1):
        data[second + 1 : second + 9] = length.to_bytes(8, 'little')
        file.write_bytes(data)
        assert 0 < recover(tmp_path / 'a', tmp_path / f'saved {length}') < everything
    # The first of all its records is not readable: nothing is left.
    file.write_bytes(data[: first + 100])
    with pytest.raises(DatasetError, match='no complete message in it'):
        recover(tmp_path / 'a', tmp_path / 'nothing')


def test_recovery_names_what_cannot_be_read(tmp_path):
    file = write_bag(tmp_path / 'a') / 'a.mcap'
    data = bytearray(file.read_bytes())
    # The second chunk's first message becomes a schema.
    place = _chunks(data)[1] + 9 + 28 + 4 + 8
    data[place] = 0x03
    file.write_bytes(data)
    with pytest.raises(DatasetError, match='a.mcap: damaged chunk'):
        recover(tmp_path / 'a', tmp_path / 'saved')
    file.write_bytes(b'no MCAP file')
    with pytest.raises(DatasetError, match='a.mcap: not an MCAP file'):
        recover(tmp_path / 'a', tmp_path / 'saved')
    assert not (tmp_path / 'saved').exists()


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
