# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Marks of success: from the recording through the dataset to the choice of episodes."""

from __future__ import annotations

import pytest

from support.bag_samples import BagSpec, write_bag
from support.data_samples import contract, observations, targets
from vla_adapter_ros.data.bags.metadata import SUCCESS
from vla_adapter_ros.data.bags.source import BagSource
from vla_adapter_ros.data.convert import main
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.show.overview import overview_of
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.errors import DatasetError

MARKS = {'a': True, 'b': False, 'c': None}


def write_marked(folder, marks):
    """Short bags; the mark is written as the recorder writes it."""
    for name, mark in marks.items():
        bag = write_bag(folder / name, BagSpec(duration=0.6))
        if mark is not None:
            file = bag / 'metadata.yaml'
            text = file.read_text()
            assert text.count('custom_data:\n') == 1
            line = f'custom_data:\n    {SUCCESS}: "{str(mark).lower()}"\n'
            file.write_text(text.replace('custom_data:\n', line))
    return folder


def write_set(path, marks, append=False):
    with DatasetWriter(path, contract(), storage='image', append=append) as writer:
        for mark in marks:
            data = {} if mark is None else {'success': mark}
            writer.add_episode(observations(4), targets(4), 'pick', data)
    return path


def marks_of(source):
    return [episode.success for episode in source.episodes]


def convert(bags, output, *more):
    return main([str(bags), str(output), '--quiet', '--workers', '1', '--storage', 'image', *more])


def test_conversion_keeps_marks_and_counts_them(tmp_path, capsys):
    bags = write_marked(tmp_path / 'bags', MARKS)
    assert marks_of(BagSource(bags)) == [True, False, None]
    assert convert(bags, tmp_path / 'set') == 0
    assert 'marks: 1 successes, 1 failures, 1 not marked\n' in capsys.readouterr().out
    assert marks_of(LeRobotSource(tmp_path / 'set')) == [True, False, None]


def test_only_successes_are_converted(tmp_path, capsys):
    bags = write_marked(tmp_path / 'bags', MARKS)
    assert convert(bags, tmp_path / 'set', '--only-successes') == 0
    assert 'left out, not marked as success: b, c' in capsys.readouterr().out
    assert marks_of(LeRobotSource(tmp_path / 'set')) == [True]


@pytest.mark.parametrize(
    ('mark', 'words'),
    [(None, 'none is marked as success or failure'), (False, 'none is marked as success, 0')],
)
def test_bags_without_successes_are_not_chosen_from(tmp_path, capsys, mark, words):
    bags = write_marked(tmp_path / 'bags', {'a': mark})
    assert convert(bags, tmp_path / 'set', '--only-successes') == 1
    assert words in capsys.readouterr().out
    assert not (tmp_path / 'set').exists()


def test_marks_survive_append(tmp_path):
    path = write_set(tmp_path / 'set', [False, True])
    write_set(path, [None, True], append=True)
    assert marks_of(LeRobotSource(path)) == [False, True, None, True]
    lines = overview_of(LeRobotSource(path)).lines()
    assert 'marks: 2 successes, 1 failures, 1 not marked' in lines


def test_training_draws_from_successes_only(tmp_path):
    path = write_set(tmp_path / 'set', [False, True, None, True])
    options = {'chunk_size': 2, 'cache': False}
    assert open_dataset(path, **options).selected == [0, 1, 2, 3]
    chosen = open_dataset(path, only_successes=True, **options)
    assert chosen.selected == [1, 3]
    train, held = chosen.split(0.5)
    assert sorted(train.selected + held.selected) == [1, 3]


@pytest.mark.parametrize(
    ('marks', 'words'), [([None, None], 'no episode is marked as'), ([False], '1 failures')]
)
def test_datasets_without_successes_are_refused(tmp_path, marks, words):
    path = write_set(tmp_path / 'set', marks)
    with pytest.raises(DatasetError, match=words):
        open_dataset(path, only_successes=True, cache=False)
