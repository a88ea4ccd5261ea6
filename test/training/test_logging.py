# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Weights & Biases when asked: one run across a resume; where it fails, training goes on."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from support.training_samples import config, make_dataset
from vla_adapter_ros.training import train


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'pick')


@pytest.mark.slow(reason="starts wandb's service")
@pytest.mark.timeout(300)
def test_wandb_offline_gets_one_run_with_every_number(dataset, tmp_path, monkeypatch):
    pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    more = ['log.wandb=test', 'save.validate_every=2']
    last = train.run(config(dataset, tmp_path, *more))
    shutil.rmtree(last)
    train.run(config(dataset, tmp_path, *more))
    runs = sorted((tmp_path / 'wandb').glob('offline-run-*'))
    name = (tmp_path / 'wandb_id.txt').read_text().strip()
    assert [folder.name.rsplit('-', 1)[1] for folder in runs] == [name] * 2
    recorded = next(runs[0].glob('*.wandb')).read_bytes()
    for key in (b'train/loss', b'validation/l1_Joint1'):
        assert key in recorded


class _Error(Exception):
    pass


def fake_wandb(**functions):
    module = ModuleType('wandb')
    module.__spec__ = ModuleSpec('wandb', None)
    vars(module).update(Error=_Error, **functions)
    return module


def test_wandb_gets_the_recipe_and_the_numbers_by_step(dataset, tmp_path, monkeypatch):
    logged, started = [], []

    def init(**given):
        started.append(given)
        return SimpleNamespace(
            log=lambda values, step: logged.append((step, values)), finish=lambda: None
        )

    monkeypatch.setitem(sys.modules, 'wandb', fake_wandb(init=init))
    train.run(config(dataset, tmp_path, 'log.wandb=mine'))
    assert started[0]['project'] == 'mine'
    assert started[0]['config']['optimizer']['lr'] == 1e-3
    assert [step for step, _ in logged] == [2, 4, 6]
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert [values['train/loss'] for _, values in logged] == [n['train/loss'] for n in lines]
    train.run(config(dataset, tmp_path / 'other', 'log.wandb=mine'))
    assert started[1]['id'] != started[0]['id']


def refuse(**_):
    raise _Error('No API key configured.\nmore')


@pytest.mark.parametrize(('module', 'reason'), [
    (None, 'the package wandb is not installed'),
    (fake_wandb(init=refuse), 'cannot be started (No API key configured.)'),
])
def test_a_run_without_working_wandb_says_so_and_trains(
    dataset, tmp_path, monkeypatch, capsys, module, reason
):
    monkeypatch.setitem(sys.modules, 'wandb', module)
    last = train.run(config(dataset, tmp_path, 'log.wandb=mine'))
    assert last.name == 'step-00000006'
    error = capsys.readouterr().err
    assert reason in error
    assert 'logging continues without it' in error
