# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The ablation's tables and plot: rates, differences to the reference, levels, what is missing."""

from __future__ import annotations

import pytest

from support.ablation_results import BASE, result
from vla_adapter_ros.training.experiments.ablation_plot import bars, panels_of, plot
from vla_adapter_ros.training.experiments.ablation_report import (
    against,
    combined,
    group_table,
    markdown,
    seed_rates,
)
from vla_adapter_ros.training.experiments.ablation_variants import baseline_run, make_variants


def test_the_image_shows_finished_variants_with_their_rates_in_the_groups_order(tmp_path):
    variants = make_variants(BASE, ['conditions'])
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


def test_the_table_has_intervals_the_reference_and_what_is_missing():
    variants = make_variants(BASE, ['conditions', 'policies'])
    baseline = baseline_run(variants, BASE)
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
    variants = make_variants(BASE, ['conditions'])
    baseline = baseline_run(variants, BASE)
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
    variants = make_variants(BASE, ['conditions'])
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
