# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Files that an earlier run of ours left, damaged: named with the way out, or passed over."""

from __future__ import annotations

import json

import pytest

from vla_adapter_ros.data.bags import recover, unfinished
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.evaluation.libero import demonstrations
from vla_adapter_ros.evaluation.policies import _episode_index
from vla_adapter_ros.training.metrics import _forget_after

DAMAGES = [b'\xff\xfe', b'[1', b'[]\n3\n', b'null']


@pytest.mark.parametrize('damage', DAMAGES)
def test_scenes_that_a_script_failed_on_are_tried_again_at_request(tmp_path, damage):
    (tmp_path / 'unsolved.jsonl').write_bytes(damage)
    with pytest.raises(DatasetError, match=r'unsolved.jsonl: .*; remove it to try its scenes'):
        demonstrations.collect('python', tmp_path, [0], 1, 4)


@pytest.mark.parametrize('damage', DAMAGES)
def test_what_a_recorder_noted_of_a_broken_bag_may_be_broken_too(tmp_path, damage):
    (tmp_path / recover.SIDECAR).write_bytes(damage)
    with pytest.raises(DatasetError, match=rf'{recover.SIDECAR}: .*; remove it to recover'):
        recover._custom(tmp_path)


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_lock_is_nobody_s(tmp_path, damage):
    (tmp_path / unfinished._LOCK).write_bytes(damage)
    assert not unfinished._of_this_machine(tmp_path)


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_dataset_to_replay_is_named_where_its_episodes_are_damaged(tmp_path, damage):
    (tmp_path / 'episodes.jsonl').write_bytes(damage)
    with pytest.raises(DatasetError, match=r'episodes.jsonl: cannot be read'):
        _episode_index(tmp_path / 'episodes.jsonl')


@pytest.mark.parametrize('damage', DAMAGES)
def test_damaged_lines_of_a_training_are_dropped_when_it_goes_on(tmp_path, damage):
    file, good = tmp_path / 'metrics.jsonl', json.dumps({'step': 2}).encode()
    file.write_bytes(b'\n'.join([good, damage, json.dumps({'step': 9}).encode(), b'']))
    _forget_after(3, file)
    assert file.read_bytes() == good + b'\n'
