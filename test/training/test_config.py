# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The configuration of training: strict keys and types, overrides, help."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vla_adapter_ros.errors import ConfigError, VLAAdapterError
from vla_adapter_ros.model import VLAAdapterConfig
from vla_adapter_ros.training.config import TrainConfig, load_config
from vla_adapter_ros.training.config_loader import build, describe, to_dict
from vla_adapter_ros.training.model_setup import network_config


def test_overrides_reach_nested_keys_and_keep_types():
    config = load_config(None, ['optimizer.lr=1e-3', 'steps=2e3', 'data.datasets=[a, b]'])
    assert config.optimizer.lr == pytest.approx(1e-3)
    assert config.steps == 2000
    assert config.data.datasets == ['a', 'b']
    assert config.optimizer.weight_decay == TrainConfig().optimizer.weight_decay


def test_yaml_file_then_overrides(tmp_path):
    path = tmp_path / 'recipe.yaml'
    path.write_text('steps: 5\nschedule: {kind: constant, warmup: 0}\n')
    config = load_config(path, ['steps=6'])
    assert (config.steps, config.schedule.kind) == (6, 'constant')


@pytest.mark.parametrize(('override', 'parts'), [
    ('optimizer.l=1', ['optimizer.l', "did you mean 'lr'"]),
    ('optimzer.lr=1', ['optimzer', "did you mean 'optimizer'"]),
    ('steps=yes', ['steps', 'True', 'integer']),
    ('steps=1.5', ['steps', '1.5', 'integer']),
    ('steps=0', ['steps', '0', 'at least 1']),
    ('optimizer.lr=fast', ['optimizer.lr', "'fast'", 'finite number']),
    ('optimizer.lr=.inf', ['optimizer.lr', 'finite number']),
    ('adaptation.mode=some', ['adaptation.mode', "'some'", 'frozen']),
    ('start.kind=checkpoint', ['start.path', 'None', 'a folder']),
    ('optimizer.kind=muon', ['optimizer.kind', 'adamw', 'adaptation.mode is lora']),
    ('optimizer.betas=[0.9]', ['optimizer.betas', '1 values', '2']),
    ('data=[a]', ['data', 'mapping']),
    ('steps', ["'steps'", 'key=value']),
    ('schedule.warmup=1.0', ['schedule.warmup', '1.0', '[0, 1)']),
    ('augmentation.contrast=[1.2, 0.8]', ['augmentation.contrast', '(1.2, 0.8)', 'two factors']),
    ('augmentation.hue=0.6', ['augmentation.hue', '0.6', '[0, 0.5]']),
    ('simulation.every=5', ['simulation.every', '5', 'simulation.tasks is empty']),
])
def test_bad_overrides_are_refused_with_key_value_and_what_is_allowed(override, parts):
    with pytest.raises(ConfigError) as error:
        load_config(None, [override])
    assert '\n' not in str(error.value)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(('text', 'part'), [
    ('- a\n', 'mapping'), ('a: [\n', 'line'), ('unknown_key: 1\n', 'unknown_key'),
])
def test_bad_files_are_refused(tmp_path, text, part):
    path = tmp_path / 'bad.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=part):
        load_config(path)


def test_a_base_gives_the_keys_that_a_recipe_leaves_out(tmp_path):
    (tmp_path / 'base.yaml').write_text('steps: 7\nsave: {every: 3, keep_last: 9}\n')
    path = tmp_path / 'recipe.yaml'
    path.write_text('base: base.yaml\nsave: {every: 4}\n')
    config = load_config(path, ['steps=8'])
    assert (config.steps, config.save.every, config.save.keep_last) == (8, 4, 9)


def test_a_base_may_have_a_base_and_may_be_a_recipe_that_ships(tmp_path):
    (tmp_path / 'first.yaml').write_text('base: paper.yaml\nsteps: 7\nadaptation: {rank: 8}\n')
    (tmp_path / 'second.yaml').write_text('base: first.yaml\nadaptation: {alpha: 4}\n')
    config = load_config(tmp_path / 'second.yaml')
    assert (config.steps, config.adaptation.rank, config.adaptation.alpha) == (7, 8, 4)
    assert config.model == load_config('paper').model


@pytest.mark.parametrize(('bases', 'message'), [
    (['first'], r'first\.yaml: base first\.yaml has this recipe as a base'),
    (['second', 'third', 'second'], r'third\.yaml: base second\.yaml .*first.*second.*third'),
    (['none'], r'first\.yaml: base none\.yaml: .*no such file; recipes that ship: official'),
])
def test_a_base_that_is_missing_or_its_own_is_refused_by_file(tmp_path, bases, message):
    for name, base in zip(('first', 'second', 'third'), bases, strict=False):
        (tmp_path / f'{name}.yaml').write_text(f'base: {base}.yaml\n')
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / 'first.yaml')


def test_settings_may_be_written_as_options():
    from vla_adapter_ros.training.train import parse

    options = parse(['--config', 'paper', '--optimizer.lr=3e-4', 'steps=5', '--dry-run'])
    assert options.config == 'paper' and options.dry_run
    config = load_config(options.config, options.overrides)
    assert (config.optimizer.lr, config.steps) == (3e-4, 5)
    with pytest.raises(ConfigError, match="override '--steps': expected key=value"):
        load_config(None, parse(['--steps']).overrides)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r'none\.yaml'):
        load_config(tmp_path / 'none.yaml')


def test_configuration_survives_a_round_trip():
    config = load_config(None, ['optimizer.betas=[0.8, 0.9]', 'start.kind=random'])
    assert build(TrainConfig, to_dict(config)) == config


RECIPES = sorted((Path(__file__).parents[2] / 'config' / 'train').glob('*.yaml'))


@pytest.mark.parametrize('path', RECIPES, ids=lambda p: p.stem)
def test_the_recipes_load_and_name_a_network(path):
    config = load_config(path)
    network = network_config(config.model)
    assert network.policy.kind == 'pro'
    if not path.stem.startswith('tiny_'):
        assert network == VLAAdapterConfig.full('pro')
        assert config.batch_size * config.accumulate == (64 if path.stem == 'official_pro' else 16)
        held_out = 0.05 if path.stem.startswith('small_memory') else 0
        assert config.data.validation_fraction == held_out
        assert config.adaptation.rank == 64
        assert config.compute.compile


def test_a_recipe_that_ships_is_found_by_name():
    assert load_config('paper') == load_config(RECIPES[0].parent / 'paper.yaml')
    with pytest.raises(ConfigError, match=r'papper.*that ship: official, official_pro, paper'):
        load_config('papper')


def test_there_is_a_recipe_for_each_size_of_device():
    names = {path.stem for path in RECIPES}
    assert names >= {'paper', 'official', 'tiny_sim', *(f'small_memory_{n}gb' for n in
                                                       (10, 24, 40, 80))}  # fmt: skip


def test_a_preset_takes_nested_changes_and_refuses_unknown_ones():
    tower = {'stem': 'conv', 'patch': 16}
    network = network_config({'preset': 'tiny', 'vision': tower, 'language': {'hidden': 64}},
                             vocab_size=99)  # fmt: skip
    assert [t.stem for t in network.vision] == ['conv', 'conv']
    assert (network.language.hidden, network.language.vocab_size) == (64, 99)
    for entry, part in (({'preset': 'vast'}, "'vast'"), ({'hue': 1}, 'hue'),
                        ({'language': {'hiden': 1}}, 'hiden')):  # fmt: skip
        with pytest.raises(VLAAdapterError, match=part):
            network_config(entry)


def test_defaults_are_not_shared_between_configurations():
    first, second = TrainConfig(), TrainConfig()
    first.model['preset'] = 'changed'
    first.data.datasets.append('x')
    assert second.model != first.model
    assert second.data.datasets == []


def test_help_names_every_key():
    def keys(cls, prefix=''):
        for item in dataclasses.fields(cls):
            nested = item.default_factory
            if dataclasses.is_dataclass(nested):
                yield from keys(nested, f'{prefix}{item.name}.')
            else:
                yield prefix + item.name
    text = '\n'.join(describe(TrainConfig))
    names = list(keys(TrainConfig))
    assert len(names) > 40
    for name in names:
        assert f' {name} (' in text
