# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""LeRobot datasets of other tools: the user says what their features are."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.data_samples import contract, frame_of, states, targets
from support.lerobot_sets import LENGTHS, write_v21
from vla_adapter_ros.data.lerobot.columns import Columns
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.images import ImageConfig

SMALL = ImageConfig(size=16, jpeg_round_trip=False)
TOP = {'top': 'observation.images.front'}


def robot(**changes):
    """The test arm with one camera, `top`."""
    data = contract().to_dict()
    cameras = {'top': data['cameras']['third_person']}
    return contract(cameras=cameras, **changes)


def edit_info(path, change):
    file = path / 'meta/info.json'
    info = json.loads(file.read_text())
    change(info)
    file.write_text(json.dumps(info))


def edit_table(path, change, episode=0):
    file = path / f'data/chunk-{episode:03d}/episode_{episode:06d}.parquet'
    table = pq.read_table(file).to_pydict()
    pq.write_table(pa.table(change(table)), file)


def opened(path, columns, **options):
    settings = {'images': SMALL, 'cache': False, 'contract': robot()} | options
    return open_dataset(path, columns=columns, **settings)


def test_targets_of_another_tool_train_a_robot(tmp_path):
    columns = Columns(cameras=TOP, actions='joint_target')
    dataset = opened(write_v21(tmp_path / 'set', 'image'), columns, action_space='joint_delta')
    assert (dataset.cameras, dataset.action_space) == (('top',), 'joint_delta')
    first = dataset.batch([7]).actions[0, 0]
    expected = targets(5, 1)[0] - [*states(5, 1)[0, :6], 0]
    np.testing.assert_allclose(first, expected, atol=1e-6)


def test_offsets_per_step_become_targets(tmp_path):
    columns = Columns(cameras=TOP, actions='joint_delta')
    path = write_v21(tmp_path / 'set', 'image')
    source = LeRobotSource(path, columns)
    assert source.action_kind == 'joint_target'
    expected = targets(7, 0) + states(7, 0) * [1, 1, 1, 1, 1, 1, 0]
    np.testing.assert_allclose(source.states_actions(0).actions, expected, atol=1e-6)


def test_tool_motions_are_summed_over_the_chunk(tmp_path):
    def motions(table):
        step = [0.01, 0.0, 0.0, 0.0, 0.0, 0.1, 1.0]
        return table | {'action': [step] * len(table['action'])}

    path = write_v21(tmp_path / 'set', 'image')
    for episode in (0, 1):
        edit_table(path, motions, episode)
    columns = Columns(cameras=TOP, actions='ee_delta')
    dataset = opened(path, columns, chunk_size=4)
    # Motions have no value to hold: only whole chunks.
    assert (len(dataset), dataset.action_space) == (sum(LENGTHS) - 2 * 3, 'ee_delta')
    chunk = dataset.batch([0]).actions[0]
    np.testing.assert_allclose(chunk[:, 0], [0.01, 0.02, 0.03, 0.04], atol=1e-6)
    np.testing.assert_allclose(chunk[:, 5], [0.1, 0.2, 0.3, 0.4], atol=1e-6)
    assert (chunk[:, 6] == 1).all()
    with pytest.raises(DatasetError, match='are ee_delta and cannot be converted to joint_delta'):
        opened(path, columns, action_space='joint_delta')


@pytest.mark.parametrize(
    ('columns', 'options', 'sentence'),
    [
        (Columns(cameras=TOP), {}, r'set data.actions .* joint_target .* features action \(7\), '
         r'observation.state \(7\) and the cameras observation.images.front'),
        (Columns(cameras=TOP, actions='per_step'), {}, r'set data.actions .* to one of'),
        (Columns(actions='joint_target'), {}, r"has the cameras \['front'\], .* \['top'\]: set "
         r'data.cameras to {top: FEATURE'),
        (Columns(cameras={'top': 'image'}), {}, r"cameras: top: no camera 'image'; it has "
         r"\['observation.images.front'\]"),
        (Columns(cameras=TOP, actions='joint_target'), {'contract': robot(step_period=0.15)},
         'set step_period of the contract to 0.1 s'),
    ],
)  # fmt: skip
def test_what_is_not_said_is_asked_for(tmp_path, columns, options, sentence):
    with pytest.raises(DatasetError, match=sentence):
        opened(write_v21(tmp_path / 'set', 'image'), columns, **options)


def test_another_order_of_joints_is_refused(tmp_path):
    names = [f'{name}.pos' for name in reversed(robot().names)]
    path = write_v21(tmp_path / 'set', 'image')
    edit_info(path, lambda info: info['features']['action'].update(names=names))
    with pytest.raises(DatasetError, match=r'action has the order \[.*reorder the joints'):
        opened(path, Columns(cameras=TOP, actions='joint_target'))


def test_degrees_are_refused(tmp_path):
    path = write_v21(tmp_path / 'set', 'image')
    degrees = np.degrees(states(7) + 1).tolist()
    edit_table(path, lambda table: table | {'observation.state': degrees})
    with pytest.raises(DatasetError, match='frame 0: observation.state of .*must be in radians'):
        opened(path, Columns(cameras=TOP, actions='joint_target'))


def test_a_rate_of_television_is_a_whole_rate(tmp_path):
    path = write_v21(tmp_path / 'set', 'image', fps=29.97)
    columns = Columns(cameras=TOP, actions='joint_target')
    assert opened(path, columns, contract=robot(step_period=1 / 15)).stride == 2


@pytest.mark.parametrize('key', ['observation.image', 'wrist_image'])
def test_cameras_with_other_keys_are_read(tmp_path, key):
    path = write_v21(tmp_path / 'set', 'image')

    def rename(info):
        info['features'][key] = info['features'].pop('observation.images.front')

    edit_info(path, rename)
    for number in range(2):
        edit_table(
            path, lambda t: {k.replace('observation.images.front', key): v for k, v in t.items()},
            number,
        )  # fmt: skip
    source = LeRobotSource(path)
    (camera,) = source.cameras
    assert camera == key.removeprefix('observation.')
    assert [frame_of(pixels) for pixels in source.images(1, camera, [3])] == [3]


def test_depth_is_no_camera(tmp_path):
    path = write_v21(tmp_path / 'set', 'image')
    depth = {'dtype': 'video', 'shape': [48, 64, 1], 'info': {'video.is_depth_map': True}}
    edit_info(path, lambda info: info['features'].update({'observation.images.depth': depth}))
    assert LeRobotSource(path).cameras == ('front',)


def test_other_state_and_action_features_are_read(tmp_path):
    path = write_v21(tmp_path / 'set', 'image')
    feature = {'dtype': 'float64', 'shape': [2], 'names': None}
    edit_info(path, lambda info: info['features'].update(state=feature))
    for number, length in enumerate(LENGTHS):
        edit_table(path, lambda t, n=length: t | {'state': [[1.5, 2.5]] * n}, number)
    state = LeRobotSource(path, Columns(state='state')).states_actions(0).state
    assert (state.shape, state.dtype) == ((7, 2), np.float32)


def test_an_episode_of_two_tasks_is_read_as_two(tmp_path):
    path = write_v21(tmp_path / 'set', 'image')
    rows = [json.loads(line) for line in (path / 'meta/episodes.jsonl').read_text().splitlines()]
    rows[0]['tasks'] = ['pick', 'push']
    (path / 'meta/episodes.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    for number, length in enumerate(LENGTHS):
        index = [0] * 3 + [1] * (length - 3)
        edit_table(path, lambda t, tasks=index: t | {'task_index': tasks}, number)
    source = LeRobotSource(path)
    assert [(e.length, e.instruction) for e in source.episodes] == [
        (3, 'pick'), (4, 'push'), (5, 'push')
    ]  # fmt: skip
    assert len({e.key for e in source.episodes}) == 3
    assert [frame_of(pixels) for pixels in source.images(1, 'front', [0, 3])] == [3, 6]
    expected = targets(7, 0)[3:].astype(np.float32)
    np.testing.assert_array_equal(source.states_actions(1).actions, expected)


def test_the_cache_of_other_columns_is_another(tmp_path):
    path = write_v21(tmp_path / 'set', 'image')
    kinds = [Columns(), Columns(actions='joint_delta'), Columns(cameras=TOP)]
    assert len({LeRobotSource(path, columns).fingerprint() for columns in kinds}) == 3
