# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Open-loop errors: right numbers on a policy that is known, table, plots, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support import data_samples
from support.training_samples import config, make_dataset
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.evaluation import open_loop, open_loop_page
from vla_adapter_ros.evaluation.open_loop import (
    EpisodeChunks,
    TrainingSplit,
    action_names,
    error_table,
    mean_errors,
    training_split,
    with_units,
)
from vla_adapter_ros.training import train
from vla_adapter_ros.weights.directory import checkpoint_fingerprint


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'pick')


@pytest.fixture(scope='module')
def checkpoint(dataset, tmp_path_factory):
    return train.run(config(dataset, tmp_path_factory.mktemp('run'), 'steps=2'))


def chunks(error, pad=0):
    recorded = np.zeros((2, 3, 2))
    is_pad = np.zeros((2, 3), bool)
    if pad:
        is_pad[1, -pad:] = True
    return EpisodeChunks(0, 'go', np.arange(2), recorded, recorded + error, is_pad)


def test_errors_are_by_step_and_dimension_and_leave_padding_out():
    error = np.zeros((2, 3, 2))
    error[0, :, 0] = [0.1, -0.2, 0.3]
    error[1, 2, 1] = 99.0  # padding
    means = mean_errors([chunks(error, pad=1)])
    np.testing.assert_allclose(means, [[0.05, 0], [0.1, 0], [0.3, 0]])


def test_table_names_joints_and_steps():
    table = error_table(np.array([[0.1, 0.2], [0.3, 0.4]]), ['Joint1', 'Gripper'])
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()}
    assert rows['Joint1'] == ['0.1000', '0.3000', '0.2000']
    assert rows['Gripper'] == ['0.2000', '0.4000', '0.3000']


def test_names_and_units_are_those_of_the_action_space():
    joints = data_samples.contract()
    hand = replace(joints, action_space='ee_delta')
    assert with_units(action_names(joints, 7), joints)[::6] == ['Joint1 [rad]', 'Gripper [open]']
    assert with_units(action_names(hand, 7), hand)[1:4] == ['y [m]', 'z [m]', 'rx [rad]']
    assert with_units(action_names(None, 7), None)[0] == 'x'
    assert action_names(joints, 9)[8] == 'action_8'


def test_the_command_writes_table_json_and_plots(dataset, checkpoint, tmp_path, capsys):
    arguments = [str(checkpoint), str(dataset), '--output', str(tmp_path), '--episodes', '3',
                 '--plots', '2', '--device', 'cpu', '--all']  # fmt: skip
    assert open_loop.main(arguments) == 0
    assert 'Joint1' in capsys.readouterr().out
    report = json.loads((tmp_path / 'report.json').read_text())
    assert len(report['episodes']) == 3
    assert report['observations'] == 60
    assert np.array(report['mean_absolute_error_by_step']).shape == (8, 7)
    assert (tmp_path / 'errors.png').stat().st_size > 1000
    assert len(list(tmp_path.glob('episode-*.png'))) == 2
    page = (tmp_path / 'episodes.html').read_text()
    text = page.partition('type="application/json">')[2].partition('</script>')[0]
    shown = json.loads(text)
    assert [one['length'] for one in shown] == [20, 20]
    assert [len(next(iter(one['pictures'].values()))) for one in shown] == [10, 10]
    recorded, predicted = (np.array(shown[0]['chunks'][k]) for k in ('recorded', 'predicted'))
    assert recorded.shape == predicted.shape == (20, 8, 7)
    actions = open_source(dataset).states_actions(report['episodes'][0]).actions
    np.testing.assert_allclose(recorded[:, 0], actions, atol=2e-4)


def test_offsets_are_shown_as_the_joints_that_they_lead_to():
    state = np.arange(14.0).reshape(2, 7)
    shown = open_loop_page.absolute_targets(np.full((2, 3, 7), 0.25), state)
    np.testing.assert_array_equal(shown[:, 0, :-1], state[:, :-1] + 0.25)
    np.testing.assert_array_equal(shown[:, :, -1], 0.25)


def test_episodes_that_were_trained_on_do_not_count(dataset, checkpoint, tmp_path, capsys):
    from vla_adapter_ros.training.assembly import build_setup

    held = build_setup(config(dataset, tmp_path / 'run'), progress=False).validation[0].selected
    arguments = [str(checkpoint), str(dataset), '--output', str(tmp_path), '--device', 'cpu']
    assert open_loop.main(arguments) == 0
    assert '1 of the 1 of 4 episodes that training held out' in capsys.readouterr().out
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['episodes'] == held == [held[0]]
    assert 'held out' in report['made_with']['chosen_from']
    assert report['made_with']['fingerprint'] == checkpoint_fingerprint(checkpoint)


def test_what_was_trained_on_is_known_from_the_recipe(tmp_path):
    data = {'datasets': ['/old/pick', 'hub:lab/place@v1', 'suites/object/1.0.0'],
            'validation_fraction': 0.1}  # fmt: skip
    recipe = {'data': data, 'seed': 3}
    split = TrainingSplit(0.1, 3, only_successes=False)
    for known in (tmp_path / 'pick', tmp_path / 'object' / '1.0.0', Path('hub:lab/place')):
        assert training_split(recipe, known) == split
    assert training_split(recipe, tmp_path / 'push') is None
    assert training_split({}, tmp_path / 'pick') is None


def test_a_policy_that_repeats_the_data_has_no_error(dataset, checkpoint):
    from vla_adapter_ros.inference.policy import Policy

    policy = Policy.from_pretrained(checkpoint, device='cpu')
    opened = open_loop.open_for_policy(dataset, policy)
    truth = opened.batch(np.array(opened.indices_of(1))).actions
    calls = iter(truth)

    class Copy:
        pipeline = policy.pipeline

        def predict(self, observation):
            return type('Chunk', (), {'actions': next(calls).astype(float)})

    episode = open_loop.predict_episode(Copy(), opened, 1)
    assert np.abs(mean_errors([episode])).max() == 0
    assert mean_errors([open_loop.predict_episode(policy, opened, 1)]).max() > 0.01


@pytest.mark.parametrize('rotate', [0, 90, 180])
def test_training_and_open_loop_see_the_same_predictions(tmp_path, rotate):
    from vla_adapter_ros.inference.policy import Policy
    from vla_adapter_ros.training.assembly import build_setup

    dataset = make_dataset(tmp_path / 'turned', rotate=rotate)
    checkpoint = train.run(config(dataset, tmp_path / 'run', 'steps=1'))
    policy = Policy.from_pretrained(checkpoint, device='cpu')
    opened = open_loop.open_for_policy(dataset, policy)
    direct = open_loop.predict_episode(policy, opened, 2).predicted
    more = ['start.kind=checkpoint', f'start.path={checkpoint}', 'data.augment=false']
    setup = build_setup(config(dataset, checkpoint, *more), progress=False)
    samples = opened.batch(np.array(opened.indices_of(2)))
    batch = setup.collate(samples, setup.model.device, training=False)
    predicted = setup.model.predict(
        batch['pixel_values'], batch['input_ids'], batch['proprio'],
        attention_mask=batch['attention_mask'],
    )  # fmt: skip
    physical = next(iter(setup.collate.actions.values())).denormalise(predicted.numpy())
    # The statistics are those of the checkpoint's own training episodes in both.
    assert next(iter(setup.statistics.values())).to_dict() == policy.statistics.to_dict()
    np.testing.assert_allclose(physical, direct, atol=1e-5)


def test_another_robots_data_are_refused(checkpoint, tmp_path, capsys):
    other = make_dataset(tmp_path / 'other', name='another_arm', step_period=0.2)
    assert open_loop.main([str(checkpoint), str(other)]) == 1
    assert 'another contract' in capsys.readouterr().err


def test_missing_checkpoint_is_named(dataset, capsys):
    assert open_loop.main(['/no/such/checkpoint', str(dataset)]) == 1
    assert '/no/such/checkpoint' in capsys.readouterr().err
