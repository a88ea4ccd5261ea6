# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The ablation trains each network once, evaluates all on the same episodes, and resumes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from support.ablation_results import result
from support.training_samples import settings
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.rollout import EpisodeResult
from vla_adapter_ros.training.experiments import ablation
from vla_adapter_ros.training.experiments.ablation_report import outcomes
from vla_adapter_ros.training.experiments.ablation_run import (
    Evaluation,
    evaluate_checkpoint,
    read_result,
)


def test_all_episodes_are_run_at_each_level_with_the_words_that_were_asked_for(
    tmp_path, monkeypatch
):
    runs = []

    def evaluate(settings, jobs, workers, *_):
        runs.append((settings.options.level, settings.options.words, len(jobs), workers))
        return [EpisodeResult('reach', 3, '', (), None, 3, True, 1.5, 2, 0, '', 0.1)]

    monkeypatch.setattr('vla_adapter_ros.evaluation.simulate.evaluate', evaluate)
    evaluation = Evaluation(('reach', 'stack'), 3, 8, ('bench', 'hard'), 'varied', 2)
    found = evaluate_checkpoint(tmp_path, evaluation, 'cpu')
    assert runs == [('bench', 'varied', 6, 2), ('hard', 'varied', 6, 2)]
    assert [episode['level'] for episode in found] == ['bench', 'hard']


def test_a_result_is_kept_only_for_the_same_evaluation_with_any_number_of_workers(tmp_path):
    path = tmp_path / 'result.json'
    usual = Evaluation(('reach',), 3)
    before = {'tasks': ['reach'], 'episodes': 3, 'execute_steps': 8}  # by an earlier release

    def kept(evaluation):
        settings = {'training': {}, 'evaluation': evaluation.settings()}
        return read_result(path, settings) is not None

    path.write_text(json.dumps({'settings': {'training': {}, 'evaluation': before}, 'result': {}}))
    assert kept(usual) and kept(replace(usual, workers=2))
    assert not kept(replace(usual, levels=('nominal', 'hard')))
    assert not kept(replace(usual, words='varied'))


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    from vla_adapter_ros.simulation.collect import main as collect

    path = tmp_path_factory.mktemp('data') / 'reach'
    collect(['--task', 'reach', '--episodes', '3', '--workers', '1', '--image-size', '32',
             '--storage', 'image', str(path)])  # fmt: skip
    return path


def own(*variants):
    """Arguments that name variants."""
    return [part for variant in variants for part in ('--variant', variant)]


def command(dataset, folder, *more):
    """Arguments of an ablation of two networks, three steps, one episode."""
    recipe = folder.parent / 'recipe.yaml'
    recipe.write_text('steps: 3\n')
    values = settings(dataset, 'unused', 'steps=3')
    return ['--config', str(recipe), '--out', str(folder), '--steps', '3', '--group', 'conditions',
            '--only', 'conditions-raw', '--only', 'conditions-both', '--episodes', '1',
            *more, *values]  # fmt: skip


@pytest.mark.slow(reason='two trainings and evaluations')
def test_two_variants_are_trained_evaluated_and_reported(dataset, tmp_path, monkeypatch, capsys):
    folder = tmp_path / 'ablation'
    assert ablation.main(command(dataset, folder)) == 0
    report = json.loads((folder / 'report.json').read_text())
    found = report['results']
    assert set(found) == {'conditions-raw', 'conditions-both'}
    assert report['reference'] == 'conditions-both'
    assert found['conditions-raw']['parameters'] < found['conditions-both']['parameters']
    assert all(r['seconds_per_step'] > 0 and r['validation_l1'] > 0 for r in found.values())
    assert outcomes(found['conditions-raw']).keys() == outcomes(found['conditions-both']).keys()
    assert list(outcomes(found['conditions-raw'])) == [(7, 'reach', 500_000)]
    page = (folder / 'report.md').read_text()
    assert 'trainings finished: 2 of 2' in page
    assert 'both *' in page
    assert (folder / 'report.png').read_bytes().startswith(b'\x89PNG')
    captured = capsys.readouterr()
    assert 'training 2 of 2: conditions-both (all done in about' in captured.err
    assert page in captured.out

    monkeypatch.setattr(ablation, 'run_trial', None)  # finished ones are not trained again
    assert ablation.main(command(dataset, folder)) == 0
    assert json.loads((folder / 'report.json').read_text())['results'] == found


@pytest.mark.slow(reason='trains two more networks')
def test_other_episodes_are_evaluated_without_training_again(dataset, tmp_path, monkeypatch):
    folder = tmp_path / 'ablation'
    only = ['--only', 'conditions-raw']
    arguments = [a for a in command(dataset, folder) if a not in ('--only', 'conditions-both')]
    arguments = [*only, *(a for a in arguments if a != 'conditions-raw')]
    assert ablation.main(arguments) == 0
    state = next((folder / 'conditions-raw').rglob('training_state.pt'))
    stamp = state.stat().st_mtime_ns
    more = ['--level', 'nominal', '--level', 'hard', '--words', 'varied', '--workers', '2']
    assert ablation.main([*more, *arguments]) == 0
    report = json.loads((folder / 'report.json').read_text())
    episodes = report['results']['conditions-raw']['episodes']
    assert [episode['level'] for episode in episodes] == ['nominal', 'hard']
    assert report['budget']['evaluated on'].endswith('at level nominal and hard, words varied')
    assert state.stat().st_mtime_ns == stamp


def test_a_variant_that_fails_is_named_and_does_not_stop_the_others(
    dataset, tmp_path, monkeypatch, capsys
):
    tried = []

    def run_trial(config, evaluation):
        tried.append(config.model['policy']['features'])
        if len(tried) == 1:
            raise VLAAdapterError('loss is nan at step 2')
        return result(5)

    monkeypatch.setattr(ablation, 'run_trial', run_trial)
    folder = tmp_path / 'ablation'
    assert ablation.main(command(dataset, folder)) == 1
    assert tried == ['raw', 'both']
    page = (folder / 'report.md').read_text()
    assert 'failed: loss is nan at step 2' in page and 'trainings finished: 1 of 2' in page
    assert ablation.main(command(dataset, folder)) == 0  # the failed one is tried again
    assert tried == ['raw', 'both', 'raw']


@pytest.mark.slow(reason='trains two more networks')
def test_more_training_seeds_go_on_from_what_is_there(dataset, tmp_path, monkeypatch, capsys):
    trained = []

    def run_trial(config, evaluation):
        trained.append((config.seed, config.model['policy']['features'], config.output_dir))
        return result(config.seed)

    monkeypatch.setattr(ablation, 'run_trial', run_trial)
    folder = tmp_path / 'ablation'
    assert ablation.main(command(dataset, folder)) == 0
    assert ablation.main(command(dataset, folder, '--training-seeds', '2')) == 0
    assert [t[:2] for t in trained] == [(7, 'raw'), (7, 'both'), (8, 'raw'), (8, 'both')]
    assert trained[3][2] == str(folder / 'conditions-both-seed8')
    report = json.loads((folder / 'report.json').read_text())
    assert report['budget']['trainings finished'] == '4 of 4'
    both = report['results']['conditions-both']
    assert sum(e['success'] for e in both['episodes']) == 7 + 8
    assert 'training 4 of 4: conditions-both-seed8' in capsys.readouterr().err


def test_a_folder_of_another_budget_is_refused_by_name(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ablation, 'run_trial', lambda *_: result(5))
    folder = tmp_path / 'ablation'
    assert ablation.main(command(dataset, folder)) == 0
    assert ablation.main(command(dataset, folder, '--steps', '4')) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'steps was 3, now is 4; use another --out' in error


@pytest.mark.parametrize(('more', 'part'), [
    (['--task', 'juggle'], "'juggle'"),
    (['--only', 'conditions-none'], "'conditions-none'"),
    (['--episodes', '0'], 'at least 1 episode'),
    (['--workers', '0'], '--workers 0: expected'),
    (['--training-seeds', '0'], '--training-seeds 0: expected at least 1'),
    (['model.policy.kind=magic'], 'magic'),
    (['data.datasets=[nowhere]'], 'error: nowhere: no such file'),
    (own('no colon'), "--variant 'no colon': expected 'NAME: key=value; key=value'"),
    (own('empty:'), "--variant 'empty:': expected 'NAME"),
    (own('a | b: steps=2'), "--variant 'a | b': expected a name of"),
    (own('a: step=2'), "--variant 'a': step: unknown key (did you mean 'steps'?)"),
    (own('a: steps=few'), "--variant 'a': steps: got 'few', expected an integer"),
    (own('a: steps'), "--variant 'a': override 'steps': expected key=value"),
    (own('a: model.policy.kind=magic'), 'magic'),
    (own('a: seed=3'), "--variant 'a': seed, output_dir: each training has its own"),
    (own('a: log.every=9'), "--variant 'a': trains the same as 'unchanged'"),
    (own('a: ema=0.1', 'b: ema=0.1'), "--variant 'b': trains the same as 'a'"),
    (own('a b: ema=0.1', 'A_b: ema=0.2'), "its folder recipe-a_b is that of 'a b'"),
    (own('unchanged: ema=0.1'), "is that of 'unchanged'"),
    ([*own('lost: data.datasets=[nowhere]'), '--only', 'recipe-lost'],
     "--variant 'lost': nowhere: no such file"),
    ([*own('none: data.datasets=[]'), '--only', 'recipe-none'],
     "--variant 'none': data.datasets: got none"),
    ([*own('bare: grounding.scenes=[nowhere]'), '--only', 'recipe-bare'],
     "--variant 'bare': nowhere: no images"),
    ([*own('blind: start.grounded=nowhere'), '--only', 'recipe-blind'], "--variant 'blind': "),
])
def test_bad_settings_are_refused_before_training(dataset, tmp_path, capsys, more, part):
    assert ablation.main([*command(dataset, tmp_path / 'a'), *more]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert part in error
    assert not (tmp_path / 'a').exists()


def test_own_variants_are_trained_once_resumed_and_reported_beside_the_unchanged_recipe(
    dataset, tmp_path, monkeypatch, capsys
):
    trained = []

    def run_trial(config, evaluation):
        trained.append((Path(config.output_dir).name, config.ema, config.seed))
        return result(3 if config.ema else 8)

    monkeypatch.setattr(ablation, 'run_trial', run_trial)
    variants = own('averaged (0.5): ema=0.5', 'raw again: model.policy.features=raw')
    arguments = command(dataset, tmp_path / 'a', *variants, '--only', 'recipe-averaged_0.5')
    assert ablation.main(arguments) == 0
    assert trained == [('conditions-raw', 0, 7), ('conditions-both', 0, 7),
                       ('recipe-averaged_0.5', 0.5, 7)]  # fmt: skip
    section = capsys.readouterr().out.split('## Parts of the recipe')[1]
    names = [line.split('|')[1].strip() for line in section.splitlines() if line[:2] == '| ']
    assert names == ['variant', 'raw again', 'unchanged *', 'averaged (0.5)']
    assert '| -50 [-80, -20], scenes only ' in section
    assert '* averaged (0.5): `ema=0.5`' in section
    assert '* raw again: `model.policy.features=raw`' in section

    assert ablation.main([*arguments, '--training-seeds', '2']) == 0
    assert trained[3:] == [('conditions-raw-seed8', 0, 8), ('conditions-both-seed8', 0, 8),
                           ('recipe-averaged_0.5-seed8', 0.5, 8)]  # fmt: skip
    assert 'averaged (0.5)' in (tmp_path / 'a' / 'report.md').read_text()
    arguments[arguments.index('averaged (0.5): ema=0.5')] = 'averaged (0.5): ema=0.25'
    assert ablation.main(arguments) == 1
    assert 'recipe-averaged_0.5: ema was 0.5, now is 0.25' in capsys.readouterr().err


def test_own_variants_alone_are_compared_unless_groups_are_asked_for(tmp_path, capsys):
    arguments = ['--out', str(tmp_path / 'a'), '--list', *own('no pictures: grounding.weight=1')]
    assert ablation.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ['recipe-unchanged', 'recipe-no_pictures']
    assert lines[1].endswith('recipe: no pictures')
    assert ablation.main([*arguments, '--group', 'conditions']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[2].endswith('conditions: both; recipe: unchanged')


def test_list_names_every_network_without_training(tmp_path, capsys):
    assert ablation.main(['--out', str(tmp_path / 'a'), '--list']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 15
    assert any('queries: 8' in line and 'policies: pro' in line for line in lines)
    assert not (tmp_path / 'a').exists()
