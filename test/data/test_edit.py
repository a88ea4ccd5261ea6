# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Edited datasets: what is kept, what changes, undo, and edits that are refused."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.bag_samples import BagSpec, write_bag
from support.data_samples import contract, frame_of, observations, states, targets
from support.lerobot_sets import write_v21
from vla_adapter_ros.data.convert import main as convert
from vla_adapter_ros.data.edit import place
from vla_adapter_ros.data.edit.__main__ import main
from vla_adapter_ros.data.edit.opened import OpenedSet
from vla_adapter_ros.data.edit.videos import VideoFiles
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.tables import read_tasks, rows_table
from vla_adapter_ros.data.lerobot.video import VideoReader
from vla_adapter_ros.data.lerobot.writer import DatasetWriter, final_metadata
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.errors import DatasetError

LENGTHS = (12, 9, 15)
CAMERA = 'observation.images.wrist'


def write(path, seeds=(0, 1, 2), **options):
    with DatasetWriter(path, contract(), append=True, **options) as writer:
        for seed in seeds:
            facts = {'success': seed != 1, 'recording': f'recording {seed}', 'seed': seed}
            writer.add_episode(
                observations(LENGTHS[seed], seed), targets(LENGTHS[seed], seed), f'task {seed}',
                facts, key=f'episode_{seed}',
            )  # fmt: skip
    return path


@pytest.fixture(autouse=True)
def no_sync(monkeypatch):
    """What a disk keeps is tested in test_power_cut.py; here syncing only takes time."""
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    return write(tmp_path_factory.mktemp('edit') / 'set')


@pytest.fixture
def dataset(original, tmp_path):
    return shutil.copytree(original, tmp_path / 'sets/pick')


def edit(path, *words):
    return main([str(path), *map(str, words)])


def expect(path, *episodes):
    """Compare a dataset with (seed, first frame, last frame) of what was recorded."""
    source, metadata = LeRobotSource(path), list(final_metadata(path).values())
    assert [m['seed'] for m in metadata] == [seed for seed, _, _ in episodes]
    for number, (seed, first, last) in enumerate(episodes):
        episode, found = source.episodes[number], source.states_actions(number)
        assert (episode.length, episode.success) == (last - first, seed != 1)
        np.testing.assert_allclose(found.state, states(LENGTHS[seed], seed)[first:last], atol=1e-6)
        wanted = targets(LENGTHS[seed], seed)[first:last]
        np.testing.assert_allclose(found.actions, wanted, atol=1e-6)
        for camera in source.cameras:
            views = source.images(number, camera, range(last - first))
            assert [frame_of(view) for view in views] == list(range(first, last))
    return source


def whole(*seeds):
    return [(seed, 0, LENGTHS[seed]) for seed in seeds]


def test_deleted_episodes_are_gone_and_the_others_as_they_were(dataset):
    assert edit(dataset, 'delete', '1') == 0
    source = expect(dataset, *whole(0, 2))
    assert [episode.instruction for episode in source.episodes] == ['task 0', 'task 2']
    info = json.loads((dataset / layout.INFO).read_text())
    assert (info['total_episodes'], info['total_frames'], info['total_tasks']) == (2, 27, 2)
    stats = json.loads((dataset / layout.STATS).read_text())
    kept = np.concatenate([states(12, 0), states(15, 2)])
    np.testing.assert_allclose(stats[layout.STATE]['q01'], np.quantile(kept, 0.01, 0), atol=1e-6)
    assert stats['index']['max'] == [26.0]


def test_undo_brings_the_old_version_back_and_again_the_new_one(dataset, capsys):
    edit(dataset, 'delete', '0-1')
    assert edit(dataset, 'undo') == 0
    expect(dataset, *whole(0, 1, 2))
    edit(dataset, 'undo')
    expect(dataset, *whole(2))
    assert edit(dataset, 'keep') == 0
    assert edit(dataset, 'undo') == 1
    assert 'nothing to undo' in capsys.readouterr().out
    assert [path.name for path in dataset.parent.iterdir()] == ['pick']


def test_an_edited_dataset_can_be_appended_to_and_edited_again(dataset):
    edit(dataset, 'delete', '0')
    write(dataset, seeds=(0,))
    expect(dataset, *whole(1, 2, 0))
    edit(dataset, 'delete', '0')
    expect(dataset, *whole(2, 0))


def test_a_swap_that_was_interrupted_is_ended_by_the_next_edit(dataset, monkeypatch, capsys):
    edit(dataset, 'delete', '0')
    monkeypatch.setattr(place, '_exchange', lambda one, other: False)
    assert edit(dataset, 'undo') == 0
    expect(dataset, *whole(0, 1, 2))
    # Killed between the first two renames: the dataset has no name.
    dataset.replace(place._aside(dataset))
    with pytest.raises(DatasetError, match=r'data.edit .* list` brings it back'):
        open_source(dataset)
    assert edit(dataset, 'list') == 0
    expect(dataset, *whole(0, 1, 2))
    # Killed between the last two.
    place.undo_folder(dataset).replace(place._aside(dataset))
    assert edit(dataset, 'undo') == 0
    expect(dataset, *whole(1, 2))


def test_two_edits_at_once_and_changes_meanwhile_are_refused(dataset, capsys):
    with place.edited(dataset):
        assert edit(dataset, 'delete', '0') == 1
    assert 'another edit is at work' in capsys.readouterr().out

    def build(folder):
        write(dataset, seeds=(2,))

    shutil.rmtree(dataset)
    write(dataset, seeds=(0, 1))
    with pytest.raises(DatasetError, match='was changed while it was edited'):
        place.replace(dataset, build)
    expect(dataset, *whole(0, 1, 2))


def test_what_others_keep_track_of_is_edited_elsewhere(dataset, tmp_path, capsys):
    (dataset / '.git').mkdir()
    assert edit(dataset, 'delete', '0') == 1
    assert 'is a Git clone; use --output' in capsys.readouterr().out
    assert edit(dataset, 'delete', '0', '--output', tmp_path / 'new') == 0
    expect(tmp_path / 'new', *whole(1, 2))
    (tmp_path / 'hub/blobs').mkdir(parents=True)
    cached = tmp_path / 'hub/snapshots/0123'
    shutil.copytree(tmp_path / 'new', cached)
    assert edit(cached, 'delete', '0') == 1
    assert 'is in the cache of the Hub; use --output' in capsys.readouterr().out


@pytest.mark.slow(reason='converts three times')
def test_deleted_recordings_are_not_converted_again(tmp_path, capsys):
    bags, path = tmp_path / 'bags', tmp_path / 'set'
    words = [str(bags), str(path), '--quiet', '--storage', 'image']
    for number in range(2):
        write_bag(bags / f'episode_{number}', BagSpec(duration=0.6, offset=0.01 * number))
    assert convert(words) == 0
    assert edit(path, 'delete', '1') == 0
    write_bag(bags / 'episode_2', BagSpec(duration=0.6, offset=0.02))
    capsys.readouterr()
    assert convert([*words, '--append']) == 0
    assert 'left out, data.edit took them out: episode_1\n' in capsys.readouterr().out
    assert list(final_metadata(path)) == ['episode_0', 'episode_2']
    assert edit(path, 'delete', '0') == 0
    assert convert([*words, '--append']) == 0
    assert 'took them out: episode_0, episode_1\n' in capsys.readouterr().out


def test_recordings_that_were_taken_out_are_named_for_conversion(dataset):
    edit(dataset, 'delete', '1')
    edit(dataset, 'delete', '0')
    taken = DatasetWriter(dataset, contract(), append=True).taken_out()
    assert taken == {f'episode_{n}': {'recording': f'recording {n}'} for n in (0, 1)}


def test_documents_and_metadata_of_others_survive(dataset):
    (dataset / 'README.md').write_text('card')
    (dataset / 'meta/subtasks.parquet').write_bytes(b'theirs')
    (dataset / '.cache').mkdir()
    edit(dataset, 'delete', '0')
    assert (dataset / 'README.md').read_text() == 'card'
    assert (dataset / 'meta/subtasks.parquet').read_bytes() == b'theirs'
    assert not (dataset / '.cache').exists()


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['delete', '3'], 'no episode 3; it has 0 to 2'),
        (['delete', 'x'], "'x': expected an episode"),
        (['delete', '0-2'], 'no episode would be left'),
        (['relabel', ' '], 'the new instruction is empty'),
        (['relabel', 'new', '--old', 'nobody'], "no such episode has 'nobody'; its tasks are"),
        (['crop', '1', '--from', '9f'], 'episode 1 has 9 frames (0.9 s); none would be left'),
        (['crop', '1', '--from', 'soon'], "'soon': expected seconds (1.5) or frames (45f)"),
        (['crop', '1'], 'lie within that time already'),
        (['split', 'a=0.5', 'b=0.6'], 'the fractions add up to 1.1'),
        (['split', 'a=0', 'b=0-1'], 'episode 0 is in a and in b'),
        (['split', 'a=0'], 'name two parts'),
        (['merge', 'nowhere'], 'no LeRobot dataset'),
        (['keep'], 'no older version'),
    ],
)
def test_edits_that_make_no_sense_are_refused_in_a_sentence(original, capsys, words, sentence):
    assert edit(original, *words) == 1
    assert sentence in capsys.readouterr().out
    assert [path.name for path in original.parent.iterdir()] == ['set']


@pytest.fixture
def encoded(monkeypatch):
    """What is encoded again: (feature, first frame in the file, length)."""
    calls, real = [], VideoFiles.encode

    def encode(self, source, first, length):
        calls.append((self._key, first, length))
        return real(self, source, first, length)

    monkeypatch.setattr(VideoFiles, 'encode', encode)
    return calls


def test_relabelled_episodes_have_the_new_instruction_and_the_same_videos(dataset):
    before = {p.name: p.stat().st_ino for p in dataset.glob('videos/*/*/*')}
    assert edit(dataset, 'relabel', 'new', '--episodes', '0', '2') == 0
    source = expect(dataset, *whole(0, 1, 2))
    assert [episode.instruction for episode in source.episodes] == ['new', 'task 1', 'new']
    assert {p.name: p.stat().st_ino for p in dataset.glob('videos/*/*/*')} == before
    assert edit(dataset, 'relabel', 'task 1', '--old', 'new') == 0
    assert {e.instruction for e in LeRobotSource(dataset).episodes} == {'task 1'}


def test_an_edit_is_seen_by_the_training_cache(dataset):
    before = LeRobotSource(dataset).fingerprint()
    edit(dataset, 'relabel', 'task 3', '--old', 'task 1')
    assert LeRobotSource(dataset).fingerprint() != before
    edit(dataset, 'undo')
    assert LeRobotSource(dataset).fingerprint() == before


def test_cropped_episodes_lose_what_lies_outside(dataset, encoded):
    # The episodes begin at 0, 12 and 21 of the file; there every second frame is a key frame.
    assert edit(dataset, 'crop', '0', '2', '--from', '0.4', '--to', '10f') == 0
    source = expect(dataset, (0, 4, 10), (1, 0, 9), (2, 4, 10))
    assert encoded == []
    before = [view[..., 0].mean() for view in source.images(1, 'wrist', range(3, 9))]
    assert edit(dataset, 'crop', '1', '--from', '3f') == 0
    source = LeRobotSource(dataset)
    assert [episode.length for episode in source.episodes] == [6, 6, 6]
    np.testing.assert_allclose(source.states_actions(1).state, states(9, 1)[3:], atol=1e-6)
    # From frame to frame the level changes by 4.
    views = source.images(1, 'wrist', range(6))
    np.testing.assert_allclose([view[..., 0].mean() for view in views], before, atol=2.0)
    assert {key for key, *_ in encoded} == set(map(layout.image_key, source.cameras))
    row = OpenedSet(dataset).rows[1]
    np.testing.assert_allclose(row['stats/action/min'], targets(9, 1)[3:].min(0), atol=1e-6)
    assert row[f'stats/{CAMERA}/mean'][0][0][0] == pytest.approx(12 / 255, abs=0.01)


def test_images_in_tables_are_edited_too(tmp_path):
    path = write(tmp_path / 'set', storage='image')
    assert edit(path, 'crop', '1', '--from', '3f') == 0
    assert edit(path, 'delete', '0') == 0
    expect(path, (1, 3, 9), (2, 0, 15))


def test_merged_datasets_have_the_episodes_of_all(dataset, tmp_path):
    other = write(tmp_path / 'other', seeds=(2, 0))
    edit(dataset, 'delete', '0', '2')
    assert edit(dataset, 'merge', other, '--output', tmp_path / 'all') == 0
    source = expect(tmp_path / 'all', *whole(1, 0, 2))
    assert [e.instruction for e in source.episodes] == ['task 1', 'task 0', 'task 2']
    expect(dataset, *whole(1))
    # Names that both have are made different: marks are found by them.
    write(tmp_path / 'more', seeds=(0, 1), conversion={})
    lines = (tmp_path / 'more' / layout.EXTRA_EPISODES).read_text()
    (tmp_path / 'more' / layout.EXTRA_EPISODES).write_text(lines.replace('recording', 'other'))
    assert edit(dataset, 'merge', tmp_path / 'more') == 0
    expect(dataset, *whole(1, 0, 1))
    assert list(final_metadata(dataset)) == ['episode_1', 'episode_0', 'episode_1+2']


def test_datasets_that_do_not_agree_are_not_merged(dataset, tmp_path, capsys):
    assert edit(dataset, 'merge', dataset) == 1
    assert 'named twice' in capsys.readouterr().out
    assert edit(dataset, 'merge', shutil.copytree(dataset, tmp_path / 'copy')) == 1
    assert 'are the same recording; delete one' in capsys.readouterr().out
    assert edit(dataset, 'merge', write(tmp_path / 'other', quality=30)) == 1
    assert 'quality is 30' in capsys.readouterr().out
    extra = json.loads((tmp_path / 'copy' / layout.EXTRA).read_text())
    extra['contract']['step_period'] *= 2
    (tmp_path / 'copy' / layout.EXTRA).write_text(json.dumps(extra))
    assert edit(dataset, 'merge', tmp_path / 'copy') == 1
    assert 'another contract: step_period' in capsys.readouterr().out
    expect(dataset, *whole(0, 1, 2))


def test_a_dataset_is_split_by_fractions_or_episodes(dataset, tmp_path, capsys):
    one, two = tmp_path / 'one', tmp_path / 'two'
    assert edit(dataset, 'split', f'{one}=0.67', f'{two}=0.33') == 0
    expect(one, *whole(0, 1))
    expect(two, *whole(2))
    assert edit(dataset, 'split', f'{one}=0', f'{tmp_path / "three"}=1') == 1
    assert 'exists already' in capsys.readouterr().out
    assert not (tmp_path / 'three').exists()
    assert edit(dataset, 'split', f'{tmp_path / "four"}=2,0', f'{tmp_path / "five"}=1') == 0
    expect(tmp_path / 'four', *whole(2, 0))
    expect(dataset, *whole(0, 1, 2))


def test_a_version_that_is_read_back_differently_does_not_take_the_place(
    dataset, monkeypatch, capsys
):
    real = VideoFiles.copy
    monkeypatch.setattr(
        VideoFiles, 'copy', lambda self, source, first, n: real(self, source, first - 2, n)
    )
    assert edit(dataset, 'delete', '0', '2') == 1
    assert 'differs from that of episode_1' in capsys.readouterr().out
    expect(dataset, *whole(0, 1, 2))
    assert [path.name for path in dataset.parent.iterdir()] == ['pick']


def _encode(path, codec, frames, **options):
    """Frames with the picture of their number, as other tools encode them."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, 'yuv420p'
        for number in range(frames):
            picture = np.full((64, 64, 3), 20 + 5 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
        container.mux(stream.encode(None))


CODECS = {
    'libx264': {'g': '10', 'bf': '2', 'x264-params': 'open-gop=0:scenecut=0:log-level=none'},
    'libx265': {'x265-params': 'keyint=10:bframes=3:open-gop=0:scenecut=0:log-level=none'},
    'libsvtav1': {'g': '10', 'preset': '12'},
}


@pytest.mark.parametrize('codec', CODECS)
def test_videos_of_other_codecs_are_copied_where_key_frames_allow_it(tmp_path, codec, capfd):
    video = tmp_path / 'theirs.mp4'
    _encode(video, codec, 40, **CODECS[codec])
    files = VideoFiles(tmp_path, 'camera', 10.0, 20)
    assert files.copy(video, 20, 10) == (0, 0)
    assert files.copy(video, 0, 10) == (0, 10)
    assert files.copy(video, 3, 5) is None
    files.encode(video, 3, 5)
    assert files.copy(video, 30, 10) is not None
    files.close()
    order = [*range(20, 30), *range(10), *range(3, 8), *range(30, 40)]
    shown = []
    for file in sorted(tmp_path.glob('videos/camera/*/*.mp4')):
        reader = VideoReader(file, 10.0)
        shown += [round((reader.frame(i).mean() - 20) / 5) for i in range(reader.length)]
        reader.close()
    assert shown == order


def test_episodes_with_several_tasks_keep_them(dataset):
    """Other tools write the task of each frame."""
    tasks = ['task 0', 'task 1', 'task 2']
    opened = OpenedSet(dataset)
    index = np.array([0] * 12 + [1] * 4 + [2] * 5 + [2] * 15)
    file = opened.data_file(0)
    table = pq.read_table(file)
    place = table.schema.get_field_index('task_index')
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array(index)), file)
    rows = [row | {'unknown': number} for number, row in enumerate(opened.rows)]
    rows[1]['tasks'] = tasks[1:]
    pq.write_table(rows_table(rows), next(dataset.glob('meta/episodes/*/*')))
    assert edit(dataset, 'crop', '1', '--from', '2f') == 0
    assert edit(dataset, 'relabel', 'new', '--old', 'task 1') == 0
    assert edit(dataset, 'delete', '0') == 0
    found = LeRobotSource(dataset)
    assert [(e.length, e.instruction) for e in found.episodes] == [
        (2, 'new'), (5, 'task 2'), (15, 'task 2')
    ]  # fmt: skip
    assert [row['unknown'] for row in OpenedSet(dataset).rows] == [1, 2]
    assert read_tasks(dataset / layout.TASKS) == ['task 2', 'new']


def test_tables_that_contradict_each_other_are_named_and_can_be_relabelled(dataset, capsys):
    rows = OpenedSet(dataset).rows
    rows[1]['tasks'] = ['something else']
    pq.write_table(rows_table(rows), next(dataset.glob('meta/episodes/*/*')))
    assert edit(dataset, 'delete', '0') == 1
    printed = capsys.readouterr().out
    assert "says ['something else'], task_index of its frames ['task 1']" in printed
    assert edit(dataset, 'relabel', 'task 1', '--episodes', '1') == 0
    assert edit(dataset, 'delete', '0') == 0


def test_an_old_dataset_is_refused_with_the_way_out(tmp_path, capsys):
    assert edit(write_v21(tmp_path / 'old'), 'list') == 1
    assert 'LeRobot version v2.1; edits need v3.0' in capsys.readouterr().out


def test_an_edit_that_cannot_be_written_leaves_everything(dataset, monkeypatch, capsys):
    for number, sentence in ((errno.ENOSPC, 'disk full; the dataset'), (errno.EACCES, 'denied')):

        def full(*arguments, number=number, **options):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(pq.ParquetWriter, 'write_table', full)
        assert edit(dataset, 'delete', '0') == 1
        assert sentence in capsys.readouterr().out
        assert [path.name for path in dataset.parent.iterdir()] == ['pick']
    expect(dataset, *whole(0, 1, 2))


def test_videos_with_sound_are_refused(dataset, capsys):
    info = json.loads((dataset / layout.INFO).read_text())
    info['features'][CAMERA]['info']['has_audio'] = True
    (dataset / layout.INFO).write_text(json.dumps(info))
    assert edit(dataset, 'delete', '0') == 1
    assert f'{CAMERA} has sound' in capsys.readouterr().out


def _random_edit(rng, episodes, other):
    """Return the words of an edit, and the episodes after it: seed, first, last, text."""
    number = rng.randrange(len(episodes))
    seed, first, last, text = episodes[number]
    before, after = episodes[:number], episodes[number + 1 :]
    kind = rng.choice(['delete', 'relabel', 'crop', 'crop', 'merge'])
    if kind == 'delete' and len(episodes) > 1:
        return ['delete', number], before + after
    if kind == 'crop' and last - first > 4:
        start, end = sorted(rng.sample(range(last - first + 1), 2))
        if end - start < last - first:
            cropped = (seed, first + start, first + end, text)
            words = ['crop', number, '--from', f'{start}f', '--to', f'{end}f']
            return words, [*before, cropped, *after]
    if kind == 'merge' and len(episodes) < 6:
        return ['merge', other], [*episodes, (0, 0, LENGTHS[0], 'task 0')]
    new = f'text {rng.randrange(4)}'
    changed = [e if e[3] != text else (*e[:3], new) for e in episodes]
    return ['relabel', new, '--old', text], changed


@pytest.mark.slow(reason='two hundred edits, each read back frame by frame')
@pytest.mark.parametrize('seed', range(10))
def test_any_sequence_of_edits_gives_what_a_list_of_episodes_would(tmp_path, seed):
    rng = random.Random(seed)
    storage = ('video', 'image')[seed % 2]
    path = write(tmp_path / 'set', storage=storage)
    episodes = [(n, 0, LENGTHS[n], f'task {n}') for n in range(3)]
    for step in range(20):
        other = tmp_path / f'other_{step}'
        write(other, seeds=(0,), storage=storage)
        lines = (other / layout.EXTRA_EPISODES).read_text()
        (other / layout.EXTRA_EPISODES).write_text(lines.replace('recording 0', f'other {step}'))
        words, after = _random_edit(rng, episodes, other)
        assert edit(path, *words) == 0, words
        if rng.random() < 0.3:
            assert edit(path, 'undo') == 0
            after = episodes
        episodes = after
        source, numbers = LeRobotSource(path), list(final_metadata(path).values())
        assert [m['seed'] for m in numbers] == [seed for seed, *_ in episodes]
        for number, (seed_, first, last, text) in enumerate(episodes):
            found = source.states_actions(number)
            assert (source.episodes[number].length, source.episodes[number].instruction) == (
                last - first, text
            )  # fmt: skip
            wanted = states(LENGTHS[seed_], seed_)[first:last]
            np.testing.assert_allclose(found.state, wanted, atol=1e-6)
            views = source.images(number, 'wrist', range(last - first))
            levels = [view[..., 0].mean() for view in views]
            # Of videos that were encoded several times; the next frame's level is 4 away.
            np.testing.assert_allclose(levels, 4 * np.arange(first, last), atol=3.9)
