# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A dataset becomes another one: what is asked for changes, and nothing else."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.data_samples import HEIGHT, WIDTH, contract, frame_of, observations, states, targets
from support.lerobot_sets import write_v21
from vla_adapter_ros.data.convert import main
from vla_adapter_ros.data.edit.__main__ import main as edit
from vla_adapter_ros.data.episodes import StatesActions
from vla_adapter_ros.data.lerobot import layout, reencode
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.writer import DatasetWriter, final_keys, final_metadata
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.errors import DatasetError

LENGTHS = {'seed_0003': 12, 'seed_0007': 8}


def write_set(path, robot=None, lengths=None, storage='image', **settings):
    robot = robot or contract()
    conversion = {'actions': 'commands'}
    with DatasetWriter(path, robot, storage=storage, conversion=conversion, **settings) as writer:
        for number, (key, length) in enumerate((lengths or LENGTHS).items()):
            metadata = {'success': number > 0, 'operator': 'Ada', 'frames': length}
            views = observations(length, number)
            writer.add_episode(views, targets(length, number), f'task {number}', metadata, key=key)
    return path


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """A dataset that is only read."""
    return write_set(tmp_path_factory.mktemp('tiny') / 'set', lengths={'a': 2})


def run(*arguments):
    return main([*map(str, arguments), '--quiet', '--workers', '1'])


def images_of(source, episode, camera='wrist'):
    frames = range(source.episodes[episode].length)
    return np.stack(list(source.images(episode, camera, frames)))


def told(source):
    return [(e.length, e.instruction, e.success) for e in source.episodes]


def test_storage_changes_and_nothing_else(tmp_path, capsys):
    path, output = write_set(tmp_path / 'set', contract(rotate=90)), tmp_path / 'new'
    assert run(path, output, '--storage', 'video', '--quality', '5') == 0
    assert '2 converted' in capsys.readouterr().out
    old, new = LeRobotSource(path), LeRobotSource(output)
    assert told(new) == told(old) == [(12, 'task 0', False), (8, 'task 1', True)]
    assert final_keys(output) == list(LENGTHS)
    assert all(data['operator'] == 'Ada' for data in final_metadata(output).values())
    assert new.contract == old.contract
    for episode in range(2):
        for found, expected in zip(
            new.states_actions(episode), old.states_actions(episode), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
        shown = images_of(new, episode)
        # Upright as before: the contract's rotation is not applied a second time.
        assert shown.shape[1:] == (WIDTH, HEIGHT, 3)
        assert np.abs(shown.astype(int) - images_of(old, episode)).mean() < 4
    extra = json.loads((output / layout.EXTRA).read_text())
    assert (extra['storage'], extra['quality'], extra['conversion']) == (
        'video', 5, {'actions': 'commands'},
    )  # fmt: skip


def test_what_is_not_named_stays_bit_for_bit(tmp_path):
    path, output = write_set(tmp_path / 'set', image_size=32), tmp_path / 'new'
    assert run(path, output, '--only-successes') == 0
    old, new = LeRobotSource(path), LeRobotSource(output)
    assert told(new) == [(8, 'task 1', True)]
    np.testing.assert_array_equal(images_of(new, 0), images_of(old, 1))
    extra = json.loads((output / layout.EXTRA).read_text())
    assert (extra['storage'], extra['image_size']) == ('image', 32)


def test_a_lower_rate_keeps_the_targets_of_the_new_period(tmp_path):
    path, output = write_set(tmp_path / 'set', contract(), {'a': 23}, fps=30), tmp_path / 'new'
    assert run(path, output, '--fps', 10, '--image-size', 32) == 0
    old, new = LeRobotSource(path), LeRobotSource(output)
    assert (new.fps, told(new)) == (10.0, [(8, 'task 0', False)])
    assert final_metadata(output)['a']['frames'] == 8
    state, actions = new.states_actions(0)
    before, commanded = old.states_actions(0)
    np.testing.assert_array_equal(state, before[::3])
    # What was due three old frames later; beyond the end the last target is held.
    np.testing.assert_array_equal(actions[:7], commanded[2:23:3])
    np.testing.assert_array_equal(actions[7], commanded[22])
    assert [frame_of(pixels) for pixels in images_of(new, 0)] == list(range(0, 23, 3))
    # What training draws at that rate is what it drew before.
    drawn = [
        open_dataset(folder, chunk_size=2, cache=False).batch([0]).actions
        for folder in (path, output)
    ]
    np.testing.assert_array_equal(*drawn)


def test_a_rate_that_does_not_divide_sees_the_newest_frame():
    vectors = StatesActions(states(31)[:, :7].astype(np.float32), targets(31).astype(np.float32))
    frames, (state, actions) = reencode.resampled(vectors, 30.0, 20)
    assert frames.tolist() == [int(1.5 * k) for k in range(21)]
    np.testing.assert_array_equal(state, vectors.state[frames])
    # What is seen is 0 or half an old period old, usually 0.
    times = 1.5 * np.arange(21) + 1.5
    expected = np.interp(times, np.arange(1, 32), vectors.actions[:, 0])
    np.testing.assert_allclose(actions[:, 0], expected, atol=1e-6)


def test_conversion_of_a_dataset_is_resumed_and_appended_to(tmp_path, capsys, monkeypatch):
    path, output = write_set(tmp_path / 'set'), tmp_path / 'new'
    original = DatasetWriter.add_episode

    def interrupted(writer, *arguments, key, **more):
        if key == 'seed_0007':
            raise KeyboardInterrupt
        return original(writer, *arguments, key=key, **more)

    with monkeypatch.context() as patch:
        patch.setattr(DatasetWriter, 'add_episode', interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(path, output, '--image-size', 32)
    assert run(path, output, '--image-size', 32) == 0
    assert '1 converted, 1 already converted' in capsys.readouterr().out
    # A copy adds nothing; another dataset's episodes of the same names are added.
    shutil.copytree(path, tmp_path / 'copy')
    lengths = {'seed_0003': 5}
    other = write_set(tmp_path / 'other', lengths=lengths)
    again = (tmp_path / 'copy', other, output, '--image-size', 32, '--append')
    assert run(*again) == 0
    assert '1 converted, 2 already converted' in capsys.readouterr().out
    assert final_keys(output) == ['seed_0003', 'seed_0007', 'other.seed_0003']
    assert run(other, output, '--append') == 1
    assert 'image_size is 32 there, None here' in capsys.readouterr().out
    assert [e.length for e in LeRobotSource(output).episodes] == [12, 8, 5]
    # What was taken out on purpose does not come back.
    assert edit([str(output), 'delete', '0']) == 0
    assert run(*again) == 0
    assert 'data.edit took them out: seed_0003' in capsys.readouterr().out
    assert final_keys(output) == ['seed_0007', 'other.seed_0003']


def test_an_episode_that_was_changed_is_not_taken_for_the_old_one(tmp_path, capsys):
    path = write_set(tmp_path / 'set')
    assert run(path, tmp_path / 'new') == 0
    shutil.rmtree(path)
    write_set(path, lengths={'seed_0003': 9})
    assert run(path, tmp_path / 'new', '--append') == 1
    assert 'has this episode as it was before it was changed' in capsys.readouterr().out


def foreign(tmp_path, storage):
    """A set of another tool, and the options that say what it is."""
    robot = contract().to_dict()
    robot['cameras'] = {'third_person': robot['cameras']['third_person']}
    file = tmp_path / 'robot.yaml'
    file.write_text(json.dumps(robot))
    columns = ['--actions', 'joint_target', '--camera', 'third_person=observation.images.front']
    return write_v21(tmp_path / 'foreign', storage=storage), ['--contract', file], columns


def test_a_dataset_of_another_tool_gets_our_contract(tmp_path, capsys):
    path, robot, columns = foreign(tmp_path, 'image')
    output = tmp_path / 'new'
    assert run(path, output) == 1
    assert 'carries no robot contract; give one with --contract' in capsys.readouterr().out
    assert run(path, output, *robot) == 1
    assert 'data.actions (--actions) to one of joint_target' in capsys.readouterr().out
    assert not output.exists()
    assert run(path, output, *robot, *columns) == 0
    new = LeRobotSource(output)
    assert told(new) == [(7, 'pick', None), (5, 'push', None)]
    np.testing.assert_allclose(new.states_actions(1).actions, targets(5, 1), atol=1e-6)
    assert final_keys(output) == ['episode_000000', 'episode_000001']
    assert open_dataset(output, cache=False).batch([0]).images.shape[1] == 1


def test_a_damaged_episode_costs_itself(tmp_path, capsys):
    path, robot, columns = foreign(tmp_path, 'video')
    (video,) = path.glob('videos/chunk-000/*/*')
    video.write_bytes(video.read_bytes()[:-100])
    assert run(path, tmp_path / 'new', *robot, *columns) == 1
    assert 'skipped episode_000000: video' in capsys.readouterr().out
    assert told(LeRobotSource(tmp_path / 'new')) == [(5, 'push', None)]


def cut_table(path):
    table = path / 'data/chunk-000/episode_000000.parquet'
    table.write_bytes(table.read_bytes()[:-100])


def null_row(path):
    table = path / 'data/chunk-000/episode_000000.parquet'
    rows = pq.read_table(table).to_pydict()
    rows['action'][3] = None
    pq.write_table(pa.table(rows), table)


def empty_task(path):
    lines = path / 'meta/episodes.jsonl'
    lines.write_text(lines.read_text().replace('"pick"', '" "'))


@pytest.mark.parametrize(
    ('spoil', 'reason'),
    [
        (cut_table, '0 frames of data, the table says 7; .*no readable Parquet file'),
        (null_row, r'row 3 \(episode 0\): action has nothing'),
        (empty_task, 'episode 0: its task text is empty'),
    ],
)
def test_a_damaged_table_or_instruction_costs_its_episode(tmp_path, capsys, spoil, reason):
    path, robot, columns = foreign(tmp_path, 'video')
    spoil(path)
    assert run(path, tmp_path / 'new', *robot, *columns) == 1
    assert re.search(f'skipped episode_000000: .*{reason}', capsys.readouterr().out)
    assert told(LeRobotSource(tmp_path / 'new')) == [(5, 'push', None)]
    # Nothing is trained on less than the user thinks.
    with pytest.raises(DatasetError):
        open_dataset(path, cache=False)


def test_a_damaged_row_group_costs_its_episode(tmp_path, capsys):
    path = write_set(tmp_path / 'set')
    (table,) = path.glob('data/*/*.parquet')
    place = pq.ParquetFile(table).metadata.row_group(0)
    columns = [place.column(i) for i in range(place.num_columns)]
    states = next(c for c in columns if c.path_in_schema.startswith('observation.state'))
    data = bytearray(table.read_bytes())
    start = states.dictionary_page_offset or states.data_page_offset
    data[start : start + states.total_compressed_size] = bytes(states.total_compressed_size)
    table.write_bytes(data)
    assert run(path, tmp_path / 'new') == 1
    assert 'skipped seed_0003: ' in capsys.readouterr().out
    assert final_keys(tmp_path / 'new') == ['seed_0007']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--no-op-filter', 'all'], '--no-op-filter is for bags; '),
        (['--topic', 'wrist=/w'], '--topic is for bags; '),
        (['--split-on-gaps', '1'], '--split-on-gaps is for bags; '),
        (['--actions', 'next_state'], '--actions next_state is for bags; '),
        (['--fps', '20'], 'fps: got 20, it has 10; frames that were not recorded'),
        (['--fps', '4'], 'expected an integer multiple of the contract rate'),
        (['--contract', 'alicia_d'], 'another contract: camera'),
    ],
)
def test_options_that_make_no_sense_for_a_dataset_are_refused(
    tiny, tmp_path, capsys, options, message
):
    assert run(tiny, tmp_path / 'new', *options) == 1
    assert message in capsys.readouterr().out
    assert not (tmp_path / 'new').exists()


def test_bags_and_datasets_are_not_mixed(tiny, tmp_path, capsys):
    (tmp_path / 'bags').mkdir()
    assert run(tiny, tmp_path / 'bags', tmp_path / 'new') == 1
    assert 'one kind at a time' in capsys.readouterr().out
    assert run(tiny, tiny, '--append') == 1
    assert 'is the dataset that is read' in capsys.readouterr().out
    assert run(tmp_path / 'bags', tmp_path / 'new', '--state', 'x') == 1
    assert '--state is for datasets' in capsys.readouterr().out
