# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies from checkpoint directories: our own and official ones, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from support.checkpoint_cases import TOWERS, write_official
from support.policy_cases import ONE_THREAD, action_tolerance, alicia, observation
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.inference.int8 import action_error
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.processing.images import DINO_STATISTICS, preprocess
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.weights.directory import checkpoint_fingerprint


@pytest.fixture(scope='module')
def policy():
    return Policy.random(alicia(), seed=3, settings=ONE_THREAD)


@pytest.fixture(scope='module')
def saved(policy, tmp_path_factory):
    directory = tmp_path_factory.mktemp('own')
    policy.save(directory, training={'steps': 0})
    return directory


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / 'copy')


@pytest.fixture(scope='module')
def official(tmp_path_factory):
    directory = tmp_path_factory.mktemp('official')
    write_official(directory, 'pro')
    Tokenizer.from_texts(['what action should the robot take to ?']).save(directory)
    return directory


def load(directory, **options):
    return Policy.from_pretrained(directory, device='cpu', threads=1, **options)


def edit(directory, **changes):
    path = directory / 'vla_adapter.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_own_checkpoint_gives_the_same_actions_and_contract(policy, saved):
    loaded = load(saved)
    seen = observation()
    difference = np.abs(loaded.predict(seen).actions - policy.predict(seen).actions)
    assert (difference < action_tolerance(policy, seen)).all()
    weights = loaded.engine.model.state_dict()
    for name, value in policy.engine.model.state_dict().items():
        assert torch.equal(weights[name], value), name
    assert loaded.contract == policy.contract
    assert loaded.pipeline.config == policy.pipeline.config
    assert loaded.unknown_words('flurb the block') == ['flurb']


def test_provenance_names_path_and_content(saved, copy):
    loaded = load(saved)
    chunk = loaded.predict(observation())
    assert chunk.provenance['checkpoint'] == str(saved.resolve())
    assert chunk.provenance['fingerprint'] == checkpoint_fingerprint(saved)
    assert checkpoint_fingerprint(copy) == checkpoint_fingerprint(saved)
    (copy / 'report_bench.json').write_text('{}')  # what is measured of it does not change it
    assert checkpoint_fingerprint(copy) == checkpoint_fingerprint(saved)
    edit(copy, training={'steps': 1})
    assert checkpoint_fingerprint(copy) != checkpoint_fingerprint(saved)


def test_bfloat16_stays_close_to_float32(saved, policy):
    seen = observation()
    half = load(saved, dtype='bfloat16')
    actions, reference = (p.engine.run(p.pipeline(seen)) for p in (half, policy))
    assert half.predict(seen).provenance['dtype'] == 'bfloat16'
    # The last layer of random policies magnifies small differences.
    assert 0.98 < action_error(actions, reference).cosine < 1.0


def test_official_directory_gives_the_networks_actions_in_physical_units(official, monkeypatch):
    policy = load(official, vision_towers=TOWERS)
    seen = observation(proprio=8)
    normalised = policy.engine.run(policy.pipeline(seen))
    monkeypatch.setattr(policy.engine, 'run', lambda _: normalised)
    chunk = policy.predict(seen)
    assert policy.contract is None
    assert policy.action_space is None
    assert chunk.step_period == 0.05
    assert chunk.provenance['statistics'] == 'libero_object_no_noops'
    inputs = policy.pipeline(seen)
    np.testing.assert_array_equal(inputs.pixel_values[6:], preprocess(seen.images['wrist']))
    # q01 = -1 and q99 = 1 leave all but the formula's epsilon unchanged.
    np.testing.assert_allclose(chunk.actions, normalised, rtol=1e-6, atol=1e-7)
    prompt = policy.pipeline.tokenizer.encode('<|im_start|>')
    assert list(inputs.input_ids).count(prompt[0]) == 3


def test_official_checkpoint_of_one_camera(official):
    policy = load(official, vision_towers=TOWERS, num_images=1)
    seen = observation(proprio=8)
    images = {'third_person': seen.images['third_person']}
    assert policy.pipeline.config.cameras == ('third_person',)
    chunk = policy.predict(observation(proprio=8, images=images))
    assert chunk.actions.shape == (8, 7)


def test_official_normalisation_comes_from_its_own_file(official, tmp_path):
    directory = shutil.copytree(official, tmp_path / 'official')
    entries = [{'mean': [0.1, 0.2, 0.3], 'std': [1.0] * 3}, {'mean': [0.0] * 3, 'std': [2.0] * 3}]
    path = directory / 'preprocessor_config.json'
    path.write_text(json.dumps({'tvf_normalize_params': entries}))
    images = load(directory, vision_towers=TOWERS).pipeline.config.images
    assert images.normalisations[0] == ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert load(official, vision_towers=TOWERS).pipeline.config.images.normalisations[0] == (
        DINO_STATISTICS
    )
    path.write_text(json.dumps({'tvf_normalize_params': entries[:1]}))
    with pytest.raises(CheckpointError, match='1 towers, the network has 2'):
        load(directory, vision_towers=TOWERS)


def test_several_statistics_and_none_chosen_are_refused_and_listed(official, tmp_path):
    directory = shutil.copytree(official, tmp_path / 'official')
    path = directory / 'dataset_statistics.json'
    entry = next(iter(json.loads(path.read_text()).values()))
    path.write_text(json.dumps({'one': entry, 'two': entry}))
    with pytest.raises(CheckpointError, match=r"\['one', 'two'\]"):
        load(directory, vision_towers=TOWERS)
    chosen = load(directory, vision_towers=TOWERS, statistics_key='two')
    assert chosen.statistics.key == 'two'


def test_a_missing_file_of_official_statistics_is_named_with_the_way_out(official, tmp_path):
    directory = shutil.copytree(official, tmp_path / 'official')
    (directory / 'dataset_statistics.json').unlink()
    message = r'dataset statistics: dataset_statistics\.json is missing.*copy it from the folder'
    with pytest.raises(CheckpointError, match=message):
        load(directory, vision_towers=TOWERS)


@pytest.mark.parametrize(
    ('changes', 'complaint'),
    (
        ({'preprocessing': {}}, "no 'preprocessing' entry"),
        ({'statistics': {}}, "no dataset statistics: vla_adapter.json has none in 'statistics'"),
        ({'preprocessing': {'cameras': ['wrist'], 'prompt_format': 'plain'}}, 'cameras'),
        (
            {'preprocessing': {'cameras': ['third_person', 'wrist'], 'images': {'size': 64}}},
            'images.size: got 64, the network has 96',
        ),
    ),
)
def test_incomplete_or_inconsistent_checkpoint_is_refused(copy, changes, complaint):
    edit(copy, **changes)
    with pytest.raises(CheckpointError, match=complaint):
        load(copy)


def test_missing_directory_and_missing_tokenizer_are_refused(copy, tmp_path):
    with pytest.raises(CheckpointError, match='no such directory'):
        load(tmp_path / 'absent')
    (copy / 'tokenizer.json').unlink()
    with pytest.raises(CheckpointError, match='tokenizer'):
        load(copy)


def test_step_period_can_be_chosen(saved):
    assert load(saved).step_period == 0.1
    assert load(saved, step_period=0.2).predict(observation()).step_period == 0.2
