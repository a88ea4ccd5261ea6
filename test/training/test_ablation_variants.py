# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What an ablation compares: networks of the paper, each once, and a user's own variants."""

from __future__ import annotations

import pytest

from support.ablation_results import BASE, ENTRY
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.training.experiments.ablation_recipe import recipe_variants
from vla_adapter_ros.training.experiments.ablation_variants import (
    DEFAULT_GROUPS,
    GROUPS,
    baseline_run,
    make_variants,
)
from vla_adapter_ros.training.model_setup import network_config


def test_a_network_that_several_groups_contain_is_trained_once():
    variants = make_variants(BASE, DEFAULT_GROUPS)
    everything = sum(len(GROUPS[group][1]) for group in DEFAULT_GROUPS)
    assert sum(len(v.listed_in) for v in variants) == everything
    networks = [network_config(v.config.model) for v in variants]
    assert len({str(n) for n in networks}) == len(variants) == everything - 4
    baseline = next(v for v in variants if v.run == baseline_run(variants, BASE))
    assert {group for group, _ in baseline.listed_in} == set(DEFAULT_GROUPS)
    assert len({v.run for v in variants}) == len(variants)


@pytest.mark.parametrize('group', GROUPS)
def test_every_variant_differs_from_the_recipe_in_what_its_name_says_alone(group):
    baseline = network_config(ENTRY).to_dict()
    for variant in make_variants(BASE, [group]):
        data = network_config(variant.config.model).to_dict()
        changed = {k for k in data if data[k] != baseline[k]}
        assert changed <= ({'num_queries'} if group == 'queries' else {'policy'})
        assert data['policy']['heads'] == 2  # the recipe's own changes stay
        VLAAdapter.from_config(network_config(variant.config.model), device='meta')


def test_the_bridging_group_compares_oft_with_the_recipes_own_network():
    variants = make_variants(BASE, ['bridging'])
    assert [v.run for v in variants] == ['bridging-oft', 'bridging-adapter']
    assert network_config(variants[0].config.model).policy.kind == 'oft'
    assert network_config(variants[1].config.model) == network_config(ENTRY)


def test_one_group_is_the_six_rows_of_table_7_and_ofts_bridging():
    variants = make_variants(BASE, ['table7'])
    policies = [network_config(v.config.model).policy for v in variants]
    assert [(p.features, p.feature_layers) for p in policies[:6]] == [
        ('raw', 'last'), ('query', 'last'), ('raw', 'middle'),
        ('raw', 'all'), ('query', 'all'), ('both', 'all'),
    ]  # fmt: skip
    assert {p.kind for p in policies[:6]} == {network_config(ENTRY).policy.kind}
    assert len(policies) == 7 and policies[6].kind == 'oft'
    assert baseline_run(variants, BASE) == 'table7-both-all'


def test_own_variants_change_any_setting_of_the_recipe_and_what_the_command_line_shares(tmp_path):
    recipe = tmp_path / 'recipe.yaml'
    recipe.write_text('steps: 5\ndata: {datasets: [a, b]}\nmodel: {preset: tiny}\n')
    texts = ['no takeovers: data.datasets=[a]; data.weights=[2]', 'slow: ema=0.5']
    reference, *changed = recipe_variants(recipe, ['optimizer.lr=3e-4', 'ema=0.9'], texts)
    assert (reference.run, reference.settings) == ('recipe-unchanged', ())
    assert [v.run for v in changed] == ['recipe-no_takeovers', 'recipe-slow']
    assert changed[0].settings == ('data.datasets=[a]', 'data.weights=[2]')
    assert [v.config.data.datasets for v in changed] == [['a'], ['a', 'b']]
    assert [v.config.ema for v in (reference, *changed)] == [0.9, 0.9, 0.5]
    assert {v.config.optimizer.lr for v in changed} == {3e-4}
    assert recipe_variants(recipe, [], []) == []
