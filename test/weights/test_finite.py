# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Weights that are NaN or infinite, or become so in the chosen precision, are refused by name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from support.checkpoint_cases import TOWERS, write_base, write_official
from support.model_cases import small_config, tiny_config
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.inference.export import ExportError, export
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.inference.simple_policies import shipped_checkpoint
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.weights import lora
from vla_adapter_ros.weights.prismatic import load_vlm
from vla_adapter_ros.weights.tensors import LazyTensor, is_finite, open_safetensors

NAN, INF = float('nan'), float('inf')
WEIGHTS = 'model.safetensors'


def spoil(file, name, value, place=3):
    """Write one value into a tensor of a file."""
    if file.suffix == '.pt':
        content = torch.load(file)
        save = torch.save
    else:
        with safe_open(file, 'pt') as opened:
            metadata = opened.metadata()
        content = load_file(file)

        def save(tensors, path):
            save_file(tensors, path, metadata)

    content[name].view(-1)[place] = value
    save(content, file)


@pytest.mark.parametrize('dtype', (torch.float32, torch.bfloat16, torch.float16, torch.float64))
@pytest.mark.parametrize('value', (NAN, INF, -INF))
def test_one_bad_value_is_found_wherever_it_is(dtype, value):
    values = torch.full((1030,), torch.finfo(dtype).max, dtype=dtype)  # their sum overflows
    assert is_finite(values)
    for place in (0, 1, 15, 16, 511, 512, 1024, 1029):
        spoilt = values.clone()
        spoilt[place] = value
        assert not is_finite(spoilt)
    assert is_finite(values[:0])


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp('official')
    write_official(folder, 'pro')
    return folder


@pytest.fixture
def official(written, tmp_path):
    """A fresh copy of an official directory."""
    return Path(shutil.copytree(written, tmp_path / 'run'))


@pytest.fixture
def own(tmp_path):
    VLAAdapter.from_config(small_config()).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ('stored', 'dtype', 'value'),
    (
        (torch.float32, torch.float32, NAN),
        (torch.float32, torch.bfloat16, NAN),
        (torch.bfloat16, torch.float32, INF),
        (torch.bfloat16, None, -INF),
    ),
)
def test_a_checkpoint_of_ours_names_file_and_tensor(tmp_path, stored, dtype, value):
    VLAAdapter.from_config(small_config()).save_pretrained(tmp_path, dtype=stored)
    name = 'action_head.model.fc2.weight'
    spoil(tmp_path / WEIGHTS, name, value)
    said = rf'^{re.escape(str(tmp_path))}/{WEIGHTS}: {name}: 1 of \d+ values are NaN or infinite'
    with pytest.raises(CheckpointError, match=said):
        VLAAdapter.from_pretrained(tmp_path, dtype=dtype)


@pytest.mark.parametrize(
    ('value', 'dtype'), ((7e4, torch.float16), (-7e4, torch.float16), (3.4e38, torch.bfloat16))
)
def test_a_value_beyond_the_chosen_precision_is_refused(own, value, dtype):
    spoil(own / WEIGHTS, 'projector.fc1.bias', value)
    largest = f'{abs(value):.3g}'.replace('+', r'\+')
    short = str(dtype).removeprefix('torch.')
    said = rf'{WEIGHTS}: projector.fc1.bias: holds {largest}, more than {short} can '
    with pytest.raises(CheckpointError, match=said):
        VLAAdapter.from_pretrained(own, dtype=dtype)
    loaded = VLAAdapter.from_pretrained(own, dtype=torch.float32)
    assert loaded.projector.fc1.bias[3].item() == pytest.approx(value)


@pytest.mark.parametrize(
    ('file', 'name'),
    (
        (WEIGHTS, 'language_model.model.embed_tokens.weight'),
        ('action_head--checkpoint.pt', 'module.model.fc2.bias'),
        ('proprio_projector--checkpoint.pt', 'module.fc1.weight'),
    ),
)
def test_an_official_directory_names_file_and_tensor(official, file, name):
    spoil(official / file, name, NAN)
    with pytest.raises(CheckpointError, match=re.escape(f'{official / file}: {name}: 1 of ')):
        VLAAdapter.from_pretrained(official, vision_towers=TOWERS)


def test_of_an_official_directory_only_what_is_read_must_be_finite(official):
    head = official / 'action_head--checkpoint.pt'
    spoil(head, next(name for name in torch.load(head) if 'film_gen' in name), NAN)
    VLAAdapter.from_pretrained(official, vision_towers=TOWERS)


def test_a_base_vlm_names_file_and_tensor(tmp_path):
    file = write_base(tmp_path)
    content = torch.load(file)
    content['model']['projector']['projector.0.bias'][0] = INF
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=r'\.pt: projector.0.bias: 1 of \d+ values'):
        load_vlm(VLAAdapter, tmp_path, tiny_config())


@pytest.fixture
def adapter(tmp_path):
    """A weight of ones, and a function that merges an adapter with it."""
    save_file({'l.weight': torch.ones(4, 6)}, tmp_path / 'base.safetensors')
    weights = open_safetensors(tmp_path / 'base.safetensors')

    def merge(a, b, dtype=None):
        save_file({'l.lora_A.weight': a, 'l.lora_B.weight': b}, tmp_path / lora.ADAPTER_WEIGHTS)
        whole, halves = lora.read_adapter(tmp_path)
        assert not whole
        return lora.merge(weights, halves, 2.0, tmp_path)['l.weight'].read_finite(dtype)

    return merge


def test_an_adapter_is_named_not_the_weight_that_it_adapts(adapter):
    a, b = torch.ones(2, 6), torch.ones(4, 2)
    assert adapter(a, b).unique().tolist() == [5.0]
    b[3, 1] = NAN
    with pytest.raises(CheckpointError, match=r'adapter_model.safetensors: l.lora_B.weight: 1 of'):
        adapter(a, b)


def test_adapters_whose_product_overflows_are_refused(adapter):
    large = 1e30
    with pytest.raises(CheckpointError, match=r'base.safetensors: l.weight: 24 of 24 values'):
        adapter(torch.full((2, 6), large), torch.full((4, 2), large))
    with pytest.raises(CheckpointError, match='l.weight: holds 4e.05, more than float16 can'):
        adapter(torch.full((2, 6), 1e5), torch.ones(4, 2), torch.float16)


def test_a_tensor_in_memory_keeps_its_dtype_when_it_is_read():
    values = torch.arange(6.0).view(2, 3)
    assert LazyTensor.of(values).read_finite(None) is values
    assert LazyTensor.of(values.mT).read_finite(torch.float16).is_contiguous()


@pytest.fixture
def robot_policy(tmp_path):
    """A copy of the checkpoint that ships."""
    return Path(shutil.copytree(shipped_checkpoint(), tmp_path / 'reach'))


def test_a_policy_does_not_start_with_weights_that_saturate(robot_policy):
    """Infinite biases in front of a bounded function give finite, wrong actions."""
    spoil(robot_policy / WEIGHTS, 'proprio_projector.fc1.bias', -INF)
    with pytest.raises(CheckpointError, match='proprio_projector.fc1.bias: 1 of'):
        Policy.from_pretrained(robot_policy, device='cpu', dtype='float32', threads=1)


def test_an_export_in_a_precision_too_narrow_names_the_weight(robot_policy, tmp_path):
    spoil(robot_policy / WEIGHTS, 'projector.fc1.bias', -7e4)
    with pytest.raises(ExportError, match='dtype: projector.fc1.bias has values beyond float16'):
        export(robot_policy, tmp_path / 'made', 'onnx', dtype='float16')
    assert not (tmp_path / 'made').exists()
