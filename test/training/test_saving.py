# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What a run leaves behind: which checkpoints, in what form, and its log after a resume."""

from __future__ import annotations

import json
import shutil
import weakref

import pytest
import torch
import yaml
from safetensors.torch import load_file

from support.training_samples import config, make_dataset
from vla_adapter_ros.errors import CheckpointError, ConfigError
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.model import VLAAdapter, VLAAdapterConfig
from vla_adapter_ros.training import train, validation
from vla_adapter_ros.training.adaptation import adapt
from vla_adapter_ros.training.checkpoints import merge
from vla_adapter_ros.training.checkpoints.card import model_card
from vla_adapter_ros.training.config import AdaptationConfig, load_config
from vla_adapter_ros.training.lora import LoraLinear, merged_state_dict
from vla_adapter_ros.training.metrics import known_peak
from vla_adapter_ros.training.trainer import Trainer
from vla_adapter_ros.weights.directory import read_checkpoint_metadata

LORA = ('adaptation.mode=lora', 'adaptation.rank=2', 'compute.precision=bf16')


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'pick')


def lines_of(folder):
    return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def test_merging_holds_one_layer_at_a_time(monkeypatch):
    model = VLAAdapter.from_config(VLAAdapterConfig.tiny())
    adapt(model, AdaptationConfig(mode='lora', rank=2), torch.bfloat16)
    products, alive = [], []

    def watched(self, get=LoraLinear.delta):
        alive.append(sum(product() is not None for product in products))
        product = get(self)
        products.append(weakref.ref(product))
        return product

    monkeypatch.setattr(LoraLinear, 'delta', watched)
    merged = merged_state_dict(model, torch.bfloat16)
    assert len(products) > 10
    assert max(alive) == 0
    assert {value.dtype for value in merged.values()} == {torch.bfloat16}


def test_a_checkpoint_in_bfloat16_is_smaller_and_resumes_to_the_same_weights(dataset, tmp_path):
    short = [*LORA, 'steps=2', 'save.every=1']
    whole = train.run(config(dataset, tmp_path / 'a', *short))
    half = config(dataset, tmp_path / 'b', 'save.dtype=bfloat16', *short)
    shutil.rmtree(train.run(half))
    last = train.run(half)
    stored = load_file(last / 'model.safetensors')
    assert {value.dtype for value in stored.values()} == {torch.bfloat16}
    for name, value in load_file(whole / 'model.safetensors').items():
        assert torch.equal(stored[name], value.bfloat16()), name
    assert Policy.from_pretrained(last, device='cpu').engine.model.dtype == torch.float32


def test_the_best_checkpoint_is_the_one_of_the_lowest_error_also_between_saves(
    dataset, tmp_path, monkeypatch
):
    errors = {1: 0.5, 2: 0.4, 3: 0.2, 4: 0.3, 5: 0.2, 6: 0.25}
    monkeypatch.setattr(validation, 'validate', lambda *_: {'l1': errors[done[-1]]})
    done, step = [], Trainer._optimiser_step

    def counting(self, stream, window):
        step(self, stream, window)
        done.append(self.step + 1)

    monkeypatch.setattr(Trainer, '_optimiser_step', counting)
    more = ['save.every=6', 'save.validate_every=1', 'save.keep_last=1']
    train.run(config(dataset, tmp_path, *more))
    folder = tmp_path / 'checkpoints'
    assert (folder / 'best').resolve().name == 'step-00000003'
    assert sorted(p.name for p in folder.glob('step-*')) == ['step-00000003', 'step-00000006']
    assert json.loads((folder / 'best' / 'score.json').read_text()) == {'validation_l1': 0.2}
    about = json.loads((folder / 'best' / 'vla_adapter.json').read_text())
    assert about['training']['step'] == 3


def test_what_a_crash_undid_is_not_logged_twice(dataset, tmp_path, monkeypatch):
    step = Trainer._optimiser_step

    def stopping(self, stream, window):
        if self.step == 5:
            raise KeyboardInterrupt
        step(self, stream, window)

    monkeypatch.setattr(Trainer, '_optimiser_step', stopping)
    more = ['log.every=1', 'log.tensorboard=true', 'save.every=3']
    with pytest.raises(KeyboardInterrupt):
        train.run(config(dataset, tmp_path, *more))
    assert [line['step'] for line in lines_of(tmp_path)] == [1, 2, 3, 4, 5]
    with (tmp_path / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 6, "train/lo')
    monkeypatch.setattr(Trainer, '_optimiser_step', step)
    train.run(config(dataset, tmp_path, *more))
    lines = lines_of(tmp_path)
    assert [line['step'] for line in lines] == [1, 2, 3, 4, 5, 6]
    first = [line['train/l1_first'] for line in lines]
    later = [line['train/l1_later'] for line in lines]
    for line, a, b in zip(lines, first, later, strict=True):
        assert line['train/loss'] == pytest.approx((a + 7 * b) / 8, rel=1e-4)


def test_a_device_is_not_taken_for_one_whose_name_begins_alike():
    assert known_peak('NVIDIA L40S') == 362e12
    assert known_peak('NVIDIA L4') == 121e12
    assert known_peak('NVIDIA L40') == 181e12
    assert known_peak('NVIDIA GeForce GTX 1080') is None
    assert known_peak('NVIDIA A100-SXM4-80GB') == 312e12


@pytest.fixture(scope='module')
def start(dataset, tmp_path_factory):
    return train.run(config(dataset, tmp_path_factory.mktemp('start'), 'steps=1'))


def test_what_trained_alone_is_merged_to_the_checkpoint_of_the_whole(
    dataset, start, tmp_path, capsys
):
    same = [*LORA, 'start.kind=checkpoint', f'start.path={start}', 'save.dtype=bfloat16',
            'steps=2', 'ema=0.5']  # fmt: skip
    whole = train.run(config(dataset, tmp_path / 'a', *same))
    part = train.run(config(dataset, tmp_path / 'b', *same, 'save.weights=adapters'))
    assert not (part / 'model.safetensors').exists()
    assert (part / 'adapters.safetensors').stat().st_size < (
        whole / 'model.safetensors'
    ).stat().st_size
    with pytest.raises(CheckpointError, match=r'holds only what trained.*checkpoints\.merge'):
        Policy.from_pretrained(part, device='cpu')
    merged = tmp_path / 'merged'
    moved = start.rename(tmp_path / 'moved')
    assert merge.main([str(part), str(merged)]) == 1
    assert f'{start}' in capsys.readouterr().err
    assert merge.main([str(part), str(merged), '--start', str(moved)]) == 0
    moved.rename(start)
    wanted = load_file(whole / 'model.safetensors')
    stored = load_file(merged / 'model.safetensors')
    assert stored.keys() == wanted.keys()
    for name, value in wanted.items():
        # Merging in float32 what bfloat16 adapters hold differs by their rounding.
        torch.testing.assert_close(stored[name], value, rtol=1e-2, atol=1e-3)
    policy = Policy.from_pretrained(merged, device='cpu')
    assert policy.contract == Policy.from_pretrained(whole, device='cpu').contract
    assert merge.main([str(whole), str(tmp_path / 'c')]) == 1
    assert merge.main([str(part), str(merged)]) == 1
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert 'has no adapters.safetensors to merge' in first
    assert 'exists' in second


def test_weights_that_all_train_are_not_stored_in_part():
    with pytest.raises(ConfigError, match=r'save\.weights.*merged, because'):
        load_config(None, ['adaptation.mode=full', 'save.weights=adapters'])


def test_a_checkpoint_has_a_card(dataset, tmp_path):
    last = train.run(config(dataset, tmp_path, 'steps=2'))
    _, header, text = (last / 'README.md').read_text().split('---\n', 2)
    assert yaml.safe_load(header)['pipeline_tag'] == 'robotics'
    for part in ('chunks of 8 actions of 7 numbers', '| datasets | pick |', '2 of 2 steps of 4',
                 '| actions | joint_position |', '| cameras | third_person, wrist |'):  # fmt: skip
        assert part in text
    assert str(tmp_path) not in text
    about = read_checkpoint_metadata(last)
    about.training['config']['start'] = {'kind': 'base', 'path': 'hub:lab/vlm@0123'}
    about.training['config']['data']['datasets'] = ['hub:lab/pick@4567', 'datasets/own']
    header = yaml.safe_load(model_card(about).split('---\n')[1])
    assert (header['base_model'], header['datasets']) == ('lab/vlm', ['lab/pick'])
