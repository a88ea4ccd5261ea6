# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The ablation trains each network once, evaluates all on the same episodes, and resumes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from support.training_samples import settings
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.rollout import EpisodeResult
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.training.experiments import ablation
from vla_adapter_ros.training.experiments.ablation_plot import bars, panels_of, plot
from vla_adapter_ros.training.experiments.ablation_report import (
    against,
    combined,
    group_table,
    markdown,
    outcomes,
    seed_rates,
)
from vla_adapter_ros.training.experiments.ablation_run import (
    Evaluation,
    evaluate_checkpoint,
    read_result,
)
from vla_adapter_ros.training.experiments.ablation_variants import (
    DEFAULT_GROUPS,
    GROUPS,
    baseline_run,
    make_variants,
)
from vla_adapter_ros.training.model_setup import network_config

RECIPE = {'preset': 'tiny', 'num_queries': 8, 'policy': {'heads': 2}}


def test_a_network_that_several_groups_contain_is_trained_once():
    variants = make_variants(RECIPE, DEFAULT_GROUPS)
    everything = sum(len(GROUPS[group][1]) for group in DEFAULT_GROUPS)
    assert sum(len(v.listed_in) for v in variants) == everything
    networks = [network_config(v.model) for v in variants]
    assert len({str(n) for n in networks}) == len(variants) == everything - 4
    baseline = next(v for v in variants if v.run == baseline_run(variants, RECIPE))
    assert {group for group, _ in baseline.listed_in} == set(DEFAULT_GROUPS)
    assert len({v.run for v in variants}) == len(variants)


@pytest.mark.parametrize('group', GROUPS)
def test_every_variant_differs_from_the_recipe_in_what_its_name_says_alone(group):
    baseline = network_config(RECIPE).to_dict()
    for variant in make_variants(RECIPE, [group]):
        data = network_config(variant.model).to_dict()
        changed = {k for k in data if data[k] != baseline[k]}
        assert changed <= ({'num_queries'} if group == 'queries' else {'policy'})
        assert data['policy']['heads'] == 2  # the recipe's own changes stay
        VLAAdapter.from_config(network_config(variant.model), device='meta')


def test_the_image_shows_finished_variants_with_their_rates_in_the_groups_order(tmp_path):
    variants = make_variants(RECIPE, ['conditions'])
    results = {
        'conditions-both': combined({0: result(8)}),
        'conditions-raw': combined({0: result(3)}),
        'conditions-queries': {'error': 'loss is nan'},
    }
    found = bars('conditions', variants, results)
    assert list(found) == ['raw', 'both']
    assert [rates[0].successes for _, rates in found.values()] == [3, 8]
    assert plot(variants, results, 'conditions-both', tmp_path / 'some.png')
    alone = {'conditions-raw': results['conditions-raw']}
    assert not plot(variants, alone, None, tmp_path / 'none.png')
    assert [path.name for path in tmp_path.iterdir()] == ['some.png']


def result(solved, **more):
    """A finished training that solved so many of ten episodes."""
    episodes = [
        {'task': 'reach', 'seed': s, 'success': s < solved, 'followed_instruction': s < 9}
        for s in range(10)
    ]
    return {'parameters': 1234, 'seconds_per_step': 0.25, 'loss': 0.1, 'validation_l1': 0.05,
            'episodes': episodes, **more}  # fmt: skip


def test_the_table_has_intervals_the_reference_and_what_is_missing():
    variants = make_variants(RECIPE, ['conditions', 'policies'])
    baseline = baseline_run(variants, RECIPE)
    results = {baseline: combined({0: result(9)}), 'conditions-raw': combined({0: result(1)})}
    results['policies-dit'] = {'error': 'diverged'}
    table = group_table('conditions', variants, results, baseline)
    rows = {line.split('|')[1].strip(): line for line in table.splitlines()[2:]}
    assert list(rows) == ['raw', 'queries', 'both *']
    assert '10 % [2, 40] (1/10)' in rows['raw']
    # 8 of 10 scenes lost, 2 alike: ± 1.96 √(0.8 · 0.2 / 10), in steps of a tenth.
    assert '| -80 [-100, -50], scenes only ' in rows['raw']
    assert '90 % [60, 98] (9/10)' in rows['both *']
    assert 'not finished' in rows['queries']
    assert 'by training seed' not in table
    assert 'failed: diverged' in group_table('policies', variants, results, baseline)


def test_several_training_seeds_are_counted_together_and_shown_apart():
    variants = make_variants(RECIPE, ['conditions'])
    baseline = baseline_run(variants, RECIPE)
    both = combined({3: result(9), 4: result(4, validation_l1=0.15)})
    results = {baseline: both, 'conditions-raw': combined({3: result(1)})}
    assert [rate.successes for rate in seed_rates(both)] == [9, 4]
    assert both['validation_l1'] == pytest.approx(0.1)
    assert both['trainings']['4']['validation_l1'] == 0.15
    table = group_table('conditions', variants, results, baseline)
    rows = {line.split('|')[1].strip(): line for line in table.splitlines()[2:]}
    assert 'by training seed' in table
    assert '(13/20)' in rows['both *'] and '90, 40 %' in rows['both *']
    # Only what both were trained for is compared: 8 of 10 scenes lost.
    assert '(1/10)' in rows['raw'] and '-80 [-100, -50], scenes only' in rows['raw']
    results['conditions-raw'] = combined({3: result(1), 4: result(9)})
    table = group_table('conditions', variants, results, baseline)
    # From one seed's -80 to the other's +50, each with ± 1.3 √(p (1 - p) / 10): every fourth
    # resample has one of the two alone, so a tenth of these lies outside.
    assert '| -15 [-100, +70] ' in table
    assert against(combined({5: result(1)}), both) == '-'
    broken = combined({3: result(9), 4: {'error': 'loss is nan'}})
    assert broken == {'error': 'loss is nan (training seed 4)'}


def test_each_level_has_a_table_and_a_panel_of_its_own():
    variants = make_variants(RECIPE, ['conditions'])
    easy, hard = result(8)['episodes'], [{**e, 'level': 'hard'} for e in result(2)['episodes']]
    both = combined({0: result(0, episodes=[*easy, *hard])})
    results = {'conditions-both': both, 'conditions-raw': both}
    page = markdown({}, variants, results, 'conditions-both', ['nominal', 'hard'])
    easy_table, hard_table = page.split('### Level nominal')[1].split('### Level hard')
    assert '(8/10)' in easy_table and '(2/10)' not in easy_table
    assert '(2/10)' in hard_table and '(8/10)' not in hard_table
    assert 'Level' not in markdown({}, variants, results, None, ['hard'])
    titles = panels_of(variants, results, ['nominal', 'hard'])
    assert [title.rpartition(', ')[2] for title in titles] == ['level nominal', 'level hard']


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
])
def test_bad_settings_are_refused_before_training(dataset, tmp_path, capsys, more, part):
    assert ablation.main([*command(dataset, tmp_path / 'a'), *more]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert part in error
    assert not (tmp_path / 'a').exists()


def test_the_bridging_group_compares_oft_with_the_recipes_own_network():
    variants = make_variants(RECIPE, ['bridging'])
    assert [v.run for v in variants] == ['bridging-oft', 'bridging-adapter']
    assert network_config(variants[0].model).policy.kind == 'oft'
    assert network_config(variants[1].model) == network_config(RECIPE)


def test_list_names_every_network_without_training(tmp_path, capsys):
    assert ablation.main(['--out', str(tmp_path / 'a'), '--list']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 15
    assert any('queries: 8' in line and 'policies: pro' in line for line in lines)
    assert not (tmp_path / 'a').exists()
