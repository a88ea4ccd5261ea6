# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Other ways to say the instructions of demonstrations come into training, and nowhere else."""

from __future__ import annotations

import pytest
import torch
import yaml

from support.training_samples import config, make_dataset
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.data.training.paraphrases import Paraphrases
from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.simulation.instructions import parse_instruction
from vla_adapter_ros.simulation.paraphrases import main, paraphrase
from vla_adapter_ros.training.assembly import build_setup

TABLE = ('red block', 'blue ball', 'plate')
NEW = 'kindly fetch the widget'


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'pick')


def written(folder, groups):
    path = folder / 'paraphrases.yaml'
    path.write_text(groups if isinstance(groups, str) else yaml.safe_dump(groups))
    return f'data.paraphrases={path}'


def test_a_training_instruction_is_any_of_its_group_and_a_held_out_one_stays(dataset, tmp_path):
    plain = build_setup(config(dataset, tmp_path), False)
    samples = plain.mixture.datasets[0].batch([0])
    (said,) = samples.instructions
    setup = build_setup(config(dataset, tmp_path, written(tmp_path, [[said, NEW]])), False)
    words = {text: setup.pipeline.prompt_ids(text).tolist() for text in (said, NEW)}
    assert setup.pipeline.tokenizer.unknown_words(NEW) == []  # its words are learnt, too
    drawn = {
        training: [
            setup.collate(samples, torch.device('cpu'), training)['input_ids'][0].tolist()
            for _ in range(60)
        ]
        for training in (True, False)
    }
    assert all(ids == words[said] for ids in drawn[False])
    counts = [drawn[True].count(ids) for ids in words.values()]
    assert sum(counts) == 60 and min(counts) > 12  # each half of the time


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('- [a b', 'cannot be read'),
        ('a: b', 'got a dict, expected a list of lists'),
        ('- put it there', "group 1: got 'put it there', expected"),
        ('- [one, two]\n- [three]', r"group 2: got .*three.*, expected"),
        ('- [one, 2]', 'group 1'),
        ("- [one, ' ']", 'group 1'),
        ('- [one, two]\n- [three, two]', "group 2: 'two' is in another group"),
    ],
)
def test_what_is_no_list_of_groups_is_refused(text, message, tmp_path):
    path = written(tmp_path, text).partition('=')[2]
    with pytest.raises(ConfigError, match=rf'data.paraphrases {path}: {message}'):
        Paraphrases.load(path)


def test_a_missing_file_and_one_for_other_data_are_refused_before_training(dataset, tmp_path):
    with pytest.raises(ConfigError, match=r'none.yaml: cannot be read: .*No such file'):
        build_setup(config(dataset, tmp_path, f'data.paraphrases={tmp_path / "none.yaml"}'), False)
    other = written(tmp_path, [['open the door', 'pull it open']])
    with pytest.raises(ConfigError, match=r'no instruction of the data is in it, e\.g\. '):
        build_setup(config(dataset, tmp_path, other), False)


def test_simulated_goals_are_said_in_many_ways_that_mean_the_same():
    said = ['put the red block on the plate', 'please set the red cube on the dish',
            'reach the blue ball']  # fmt: skip
    groups = paraphrase(said, each=30)
    assert groups == paraphrase(said, each=30)
    assert len(groups) == 2  # the first two mean the same
    for group in groups:
        assert len(group) == len(set(group)) > 10
        goals = {parse_instruction(text, TABLE) for text in group}
        assert len(goals) == 1
    assert {text for group in groups for text in group} >= set(said)


def test_the_file_of_a_dataset_fits_its_training(tmp_path, capsys):
    data = make_dataset(tmp_path / 'simulated', texts=['reach the red block'])
    assert main([str(data), '--out', str(tmp_path / 'said.yaml'), '--each', '5']) == 0
    assert capsys.readouterr().out.startswith('1 instructions, 1 goals, ')
    found = Paraphrases.load(tmp_path / 'said.yaml').all_of(
        e.instruction for e in open_dataset(data).store.episodes
    )
    assert 'reach the red block' in found and len(found) > 2
    other = make_dataset(tmp_path / 'other', texts=['dance'])
    assert main([str(other), '--out', str(tmp_path / 'said.yaml')]) == 1
    assert "instruction 'dance' is not understood" in capsys.readouterr().err
