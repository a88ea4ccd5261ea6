# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The folder that lerobot loads: still our checkpoint, with the files of its format."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support.checkpoint_cases import TOWERS, write_official
from support.foreign_files import SHIPPED
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.lerobot_policy import export
from vla_adapter_ros.lerobot_policy.export import main
from vla_adapter_ros.processing.tokenizer import Tokenizer


def load(folder):
    return Policy.from_pretrained(folder, device='cpu', dtype='float32', threads=1)


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    output = tmp_path_factory.mktemp('lerobot') / 'made' / 'tiny'
    options = ['--output', str(output), '--camera', 'wrist=observation.images.hand']
    assert main([str(SHIPPED), *options]) == 0
    return output


def test_the_folder_is_still_a_checkpoint_with_the_same_actions(exported):
    ours, theirs = load(SHIPPED), load(exported)
    observation = ours.example_observation('reach the red block')
    expected = ours.predict(observation).actions
    np.testing.assert_array_equal(theirs.predict(observation).actions, expected)


def test_the_configuration_names_features_and_rate(exported):
    config = json.loads((exported / 'config.json').read_text())
    assert config['type'] == 'vla_adapter'
    assert config['input_features'] == {
        'observation.images.third_person': {'type': 'VISUAL', 'shape': [3, 240, 320]},
        'observation.images.hand': {'type': 'VISUAL', 'shape': [3, 240, 320]},
        'observation.state': {'type': 'STATE', 'shape': [7]},
    }
    assert config['output_features'] == {'action': {'type': 'ACTION', 'shape': [7]}}
    assert (config['chunk_size'], config['n_action_steps'], config['fps']) == (8, 8, 10.0)
    assert config['cameras']['wrist'] == 'observation.images.hand'


def test_the_processors_have_the_steps_that_lerobot_overrides(exported):
    """It fails on an override, of the device or the rename map, that finds no step."""
    names = [
        [s['registry_name'] for s in json.loads((exported / file).read_text())['steps']]
        for file in ('policy_preprocessor.json', 'policy_postprocessor.json')
    ]
    before = ['rename_observations_processor', 'to_batch_processor', 'device_processor']
    assert names == [before, ['device_processor']]


def test_the_card_names_robot_inputs_and_use(exported):
    card = (exported / 'README.md').read_text()
    assert card.startswith('---\nlibrary_name: lerobot\n')
    for words in ('alicia_d_sim', '`observation.images.hand` (3, 240, 320)', 'Gripper'):
        assert words in card


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (['--camera', 'hand=observation.images.hand'], "cameras: got 'hand', the policy has"),
        (['--camera', 'wrist'], '--camera wrist: expected NAME=FEATURE'),
        (['--gripper', 'libero'], 'has a robot contract'),
    ],
)
def test_wrong_options_end_in_a_sentence_and_leave_nothing(tmp_path, capsys, options, sentence):
    assert main([str(SHIPPED), '--output', str(tmp_path / 'out'), *options]) == 1
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_kept(tmp_path, capsys):
    assert main([str(SHIPPED), '--output', str(tmp_path)]) == 1
    assert 'exists already' in capsys.readouterr().err


@pytest.mark.slow(reason='builds and converts a whole released checkpoint')
def test_a_released_checkpoint_is_brought_to_our_format(tmp_path, monkeypatch):
    source, output = tmp_path / 'official', tmp_path / 'out'
    write_official(source, 'pro')
    Tokenizer.from_texts(['what action should the robot take to ?']).save(source)
    # The towers of the test's checkpoint have names that no release has.
    official = Policy.from_pretrained(
        source, device='cpu', dtype='float32', threads=1, vision_towers=TOWERS
    )
    to_own = export.to_own
    with monkeypatch.context() as patch:
        patch.setattr(export.Policy, 'from_pretrained', lambda *_, **__: official)
        patch.setattr(export, 'to_own', lambda a, b, **more: to_own(a, b, towers=TOWERS, **more))
        assert main([str(source), '--output', str(output), '--gripper', 'libero']) == 0
    observation = official.example_observation('pick')
    expected = official.predict(observation).actions
    np.testing.assert_allclose(load(output).predict(observation).actions, expected, atol=1e-5)
    assert json.loads((output / 'config.json').read_text())['gripper'] == 'libero'
