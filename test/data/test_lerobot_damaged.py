# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Damaged or unusual files of LeRobot datasets: one line that names the place, or read right."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.data_samples import frame_of, targets
from support.lerobot_sets import LENGTHS, write_v21
from vla_adapter_ros.data.episodes import all_states_actions
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.show.__main__ import main
from vla_adapter_ros.errors import DatasetError

POINTER = b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'
TABLE = 'data/chunk-000/episode_000000.parquet'
INFO, EPISODES = 'meta/info.json', 'meta/episodes.jsonl'


def info(**changes):
    def change(path):
        data = json.loads((path / INFO).read_text()) | changes
        kept = {key: value for key, value in data.items() if value != 'remove'}
        (path / INFO).write_text(json.dumps(kept))

    return change


def content(name, data):
    return lambda path: (path / name).write_bytes(data)


def truncated(path):
    (path / TABLE).write_bytes((path / TABLE).read_bytes()[:-100])


def column(name, change):
    def edit(path):
        table = pq.read_table(path / TABLE).to_pydict()
        table[name] = change(table[name])
        pq.write_table(pa.table({k: v for k, v in table.items() if v is not None}), path / TABLE)

    return edit


def tasks(value):
    def change(path):
        rows = [json.loads(line) for line in (path / EPISODES).read_text().splitlines()]
        rows[0]['tasks'] = value
        (path / EPISODES).write_text('\n'.join(map(json.dumps, rows)))

    return change


DAMAGED = {
    'no fps': (info(fps='remove'), r'info.json: fps is None, expected frames per second above 0'),
    'fps 0': (info(fps=0), r'info.json: fps is 0, expected'),
    'no features': (info(features='remove'), r'info.json: no mapping "features"'),
    'no shape': (info(features={'action': {'dtype': 'float32'}}), 'features: action: no shape'),
    'shape is a number': (
        info(features={'action': {'dtype': 'float32', 'shape': 10**30}}),
        "features: action: shape is '10+', expected a list of integers"),
    'shape of a petabyte': (
        info(features={'action': {'dtype': 'float32', 'shape': [2**50]}}),
        'features: action: shape is .*, expected at most 100000 values in a frame'),
    'info is a list': (content(INFO, b'[]'), 'info.json: expected a JSON object, got list'),
    'info is a pointer': (content(INFO, POINTER), 'run `git lfs pull`'),
    'no episodes': (info(total_episodes=0), 'has no episodes'),
    'table is a pointer': (content(TABLE, POINTER), 'episode_000000.parquet: .* `git lfs pull`'),
    'episodes are a pointer': (content(EPISODES, POINTER), 'episodes.jsonl: line 1 .* `git lfs'),
    'table is cut off': (truncated, 'episode_000000.parquet: no readable Parquet file: '),
    'table is empty': (content(TABLE, b''), 'episode_000000.parquet: no readable Parquet file: '),
    'no column': (column('action', lambda rows: None), "no column 'action'; it has"),
    'null row': (column('action', lambda rows: [*rows[:3], None, *rows[4:]]),
                 r'row 3 \(episode 0\): action has nothing, other rows have 7 values'),
    'short and long row': (
        column('action', lambda rows: [rows[0][:6], rows[1] + [0.0], *rows[2:]]),
        r'row 0 \(episode 0\): action has 6 values, other rows have 7'),
    'text': (column('action', lambda rows: [['a'] * 7] * len(rows)), 'action holds string, exp'),
    'no image': (column('observation.images.front', lambda rows: [None, *rows[1:]]),
                 'episode_000000: frame 0: no image in observation.images.front'),
    'empty task': (tasks(['']), 'episode 0: its task text is empty'),
}  # fmt: skip


@pytest.mark.parametrize('what', DAMAGED)
def test_damage_is_named_in_one_line(tmp_path, capsys, what):
    damage, sentence = DAMAGED[what]
    path = write_v21(tmp_path / 'set', 'image')
    damage(path)
    assert main([str(path)]) == 1
    (line,) = capsys.readouterr().out.splitlines()[-1:]
    assert line.startswith('error: ')
    with pytest.raises(DatasetError, match=sentence):
        raise DatasetError(line)


def test_tables_with_more_rows_than_any_recording_are_not_read(tmp_path, monkeypatch):
    path = write_v21(tmp_path / 'set', 'image')
    monkeypatch.setattr('vla_adapter_ros.data.lerobot.tables.MOST_ROWS', 6)
    with pytest.raises(DatasetError, match='episode_000000.parquet: 7 rows, expected at most 6'):
        LeRobotSource(path).states_actions(0)


def test_missing_numbers_are_named(tmp_path):
    path = write_v21(tmp_path / 'set', 'image')
    column('action', lambda rows: [[None] * 7, *rows[1:]])(path)
    with pytest.raises(DatasetError, match=r'episode_000000: frame 0: actions\[0\] is nan'):
        all_states_actions(LeRobotSource(path))


def test_fields_that_follow_from_the_version_may_be_missing(tmp_path):
    path = write_v21(tmp_path / 'set', 'image', chunks_size=1)
    gone = dict.fromkeys(('total_episodes', 'data_path', 'video_path'), 'remove')
    info(**gone)(path)
    assert len(LeRobotSource(path).episodes) == 2


def test_files_that_macos_leaves_are_not_data(tmp_path):
    path = write_v21(tmp_path / 'set', 'image')
    (path / 'data/chunk-000/._episode_000000.parquet').write_bytes(b'\0\5\x16\7')
    assert len(LeRobotSource(path).states_actions(0).actions) == 7


def test_a_task_may_be_a_string(tmp_path):
    path = write_v21(tmp_path / 'set', 'image')
    tasks('pick it up')(path)
    assert LeRobotSource(path).episodes[0].instruction == 'pick it up'


@pytest.mark.parametrize(
    'kind',
    [pa.large_list(pa.float64()), pa.list_(pa.float32(), 7), pa.list_(pa.float16())],
    ids=['large list', 'fixed size', 'half'],
)
def test_columns_of_other_writers_are_read(tmp_path, kind):
    path = write_v21(tmp_path / 'set', 'image')
    table = pq.read_table(path / TABLE)
    place = table.column_names.index('action')
    values = [pa.array(part, kind) for part in (
        [np.asarray(row, np.float16) for row in table.column('action').to_pylist()[:4]],
        [np.asarray(row, np.float16) for row in table.column('action').to_pylist()[4:]],
    )] if kind.value_type == pa.float16() else [
        pa.array(table.column('action').to_pylist()[:4], kind),
        pa.array(table.column('action').to_pylist()[4:], kind),
    ]  # fmt: skip
    column = pa.chunked_array(values)
    pq.write_table(table.set_column(place, 'action', column), path / TABLE)
    read = LeRobotSource(path).states_actions(0).actions
    np.testing.assert_allclose(read, targets(LENGTHS[0], 0), atol=2e-3)


def test_boolean_actions_are_read_as_numbers(tmp_path):
    path = write_v21(tmp_path / 'set', 'image')
    for number, length in enumerate(LENGTHS):
        file = path / f'data/chunk-{number:03d}/episode_{number:06d}.parquet'
        table = pq.read_table(file).to_pydict() | {'action': [[True, False]] * length}
        pq.write_table(pa.table(table), file)
    np.testing.assert_array_equal(LeRobotSource(path).states_actions(1).actions, [[1, 0]] * 5)
    assert [frame_of(pixels) for pixels in LeRobotSource(path).images(1, 'front', [2])] == [2]
