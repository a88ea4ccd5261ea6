# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints of both kinds load strictly, round-trip exactly, and explain what does not fit."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.checkpoint_cases import STATISTICS, TOWERS, official_tensors, write_official
from support.float32_rounding import IN_FLOAT64, StaysWide, doubled, in_float64
from support.model_cases import (
    relative_error,
    small_batch,
    small_config,
    tiny_config,
    tiny_inputs,
    tiny_model,
)
from vla_adapter_ros.errors import CheckpointError, ConfigError
from vla_adapter_ros.model import VLAAdapter, convert
from vla_adapter_ros.model.bridge import policy_tables
from vla_adapter_ros.weights.directory import read_checkpoint_metadata
from vla_adapter_ros.weights.official import unused_pattern

SLOW = pytest.mark.slow(reason='of both kinds and both forms one pair is always tried')


def wide_actions(model):
    """In float64: a matrix library may round by the weights' place in the mapped file."""
    with StaysWide():
        return in_float64(model).predict(**doubled(tiny_inputs()))


@pytest.mark.parametrize(('kind', 'shards'), [
    ('pro', 1), ('original', 3),
    pytest.param('pro', 3, marks=SLOW), pytest.param('original', 1, marks=SLOW),
])
def test_official_directory_gives_the_same_actions(tmp_path, kind, shards):
    write_official(tmp_path, kind, shards=shards)
    model = VLAAdapter.from_pretrained(tmp_path, vision_towers=TOWERS, rope_precision='run')
    assert model.config.policy.kind == kind
    assert model.metadata.statistics == STATISTICS
    wanted = wide_actions(tiny_model(kind))
    assert relative_error(wide_actions(model), wanted) < IN_FLOAT64


def test_own_format_keeps_weights_and_everything_else(tmp_path):
    model = VLAAdapter.from_config(small_config())
    extras = {
        'robot': {'name': 'arm', 'step_period': 0.1},
        'statistics': STATISTICS,
        'preprocessing': {'cameras': ['third_person', 'wrist']},
        'training': {'steps': 3},
    }
    model.save_pretrained(tmp_path, **extras)
    again = VLAAdapter.from_pretrained(tmp_path)
    assert again.config == model.config
    for key, value in extras.items():
        assert getattr(again.metadata, key) == value
    assert again.metadata.versions['torch'] == version('torch')
    state = model.state_dict()
    assert state.keys() == again.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'model.safetensors',
        'vla_adapter.json',
    ]


def test_saving_again_keeps_the_metadata_unless_told_otherwise(tmp_path):
    model = VLAAdapter.from_config(small_config())
    model.save_pretrained(tmp_path / 'a', statistics=STATISTICS, training={'steps': 1})
    loaded = VLAAdapter.from_pretrained(tmp_path / 'a')
    loaded.save_pretrained(tmp_path / 'b', training={'steps': 2})
    record = read_checkpoint_metadata(tmp_path / 'b')
    assert record.statistics == STATISTICS
    assert record.training == {'steps': 2}


def test_dtype_none_keeps_what_is_stored_and_a_dtype_converts(tmp_path):
    model = VLAAdapter.from_config(small_config())
    model.save_pretrained(tmp_path, dtype=torch.bfloat16)
    assert VLAAdapter.from_pretrained(tmp_path, dtype=None).dtype == torch.bfloat16
    loaded = VLAAdapter.from_pretrained(tmp_path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    name = 'projector.fc1.weight'
    assert torch.equal(loaded.state_dict()[name], model.state_dict()[name].bfloat16().float())


def test_a_loaded_network_trains_without_touching_the_file(tmp_path):
    VLAAdapter.from_config(small_config()).save_pretrained(tmp_path)
    before = (tmp_path / 'model.safetensors').read_bytes()
    model = VLAAdapter.from_pretrained(tmp_path).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.compute_loss(small_batch(model.config))[0].backward()
    optimizer.step()
    assert (tmp_path / 'model.safetensors').read_bytes() == before


def test_a_misfit_lists_missing_unexpected_and_misshaped_tensors(tmp_path):
    VLAAdapter.from_config(small_config()).save_pretrained(tmp_path)
    path = tmp_path / 'model.safetensors'
    tensors = load_file(path)
    tensors['extra.weight'] = torch.zeros(1)
    tensors['projector.fc2.bias'] = torch.zeros(3)
    del tensors['action_head.model.fc2.bias']
    identity = read_checkpoint_metadata(tmp_path).checkpoint_id
    save_file(tensors, path, {'checkpoint_id': identity})
    with pytest.raises(CheckpointError) as caught:
        VLAAdapter.from_pretrained(tmp_path)
    message = str(caught.value)
    assert 'missing (1):\n    policy.action_head.model.fc2.bias' in message
    assert 'unexpected (1):\n    extra.weight' in message
    assert 'projector.fc2.bias: stored [3], the network has [32]' in message


def test_weights_of_another_checkpoint_are_refused(tmp_path):
    for name in ('a', 'b'):
        VLAAdapter.from_config(small_config()).save_pretrained(tmp_path / name)
    (tmp_path / 'b/model.safetensors').replace(tmp_path / 'a/model.safetensors')
    with pytest.raises(CheckpointError, match='different checkpoints'):
        VLAAdapter.from_pretrained(tmp_path / 'a')


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda d: (d / 'model.safetensors').unlink(), 'model.safetensors'),
        (lambda d: (d / 'model.safetensors').write_bytes(b'abc'), 'damaged or not a safetensors'),
        (lambda d: (d / 'action_head--checkpoint.pt').unlink(), 'exactly one action_head'),
        (lambda d: (d / 'action_head--checkpoint.pt').write_bytes(b'PK'), 'not a torch file'),
        (lambda d: (d / 'config.json').write_text('{'), 'cannot be read as JSON'),
        (lambda d: (d / 'config.json').unlink(), 'neither vla_adapter.json'),
    ],
)
def test_damaged_official_directories_are_refused_with_the_reason(tmp_path, damage, message):
    write_official(tmp_path, 'original')
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        VLAAdapter.from_pretrained(tmp_path, vision_towers=TOWERS)


def test_truncated_weights_are_refused(tmp_path):
    write_official(tmp_path, 'original')
    path = tmp_path / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match='damaged or not a safetensors'):
        VLAAdapter.from_pretrained(tmp_path, vision_towers=TOWERS)


def test_two_policy_files_are_ambiguous(tmp_path):
    write_official(tmp_path, 'pro')
    (tmp_path / 'action_head--5000_checkpoint.pt').write_bytes(b'')
    with pytest.raises(CheckpointError, match='5000_checkpoint'):
        VLAAdapter.from_pretrained(tmp_path, vision_towers=TOWERS)


def test_a_missing_directory_and_an_unknown_tower_are_named(tmp_path):
    with pytest.raises(CheckpointError, match='no such directory'):
        VLAAdapter.from_pretrained(tmp_path / 'nowhere')
    write_official(tmp_path, 'pro')
    with pytest.raises(CheckpointError, match="unknown vision tower 'vit_reftiny_dino'"):
        VLAAdapter.from_pretrained(tmp_path)


def test_a_pt_file_that_could_run_code_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (print, ('code ran',))

    write_official(tmp_path, 'original')
    head = {'module.model.mlp_resnet_blocks.0.k_proj.weight': Harmful()}
    torch.save(head, tmp_path / 'action_head--checkpoint.pt')
    with pytest.raises(CheckpointError, match='could run code'):
        VLAAdapter.from_pretrained(tmp_path, vision_towers=TOWERS)


def test_metadata_needs_no_torch(tmp_path):
    own, official = tmp_path / 'own', tmp_path / 'official'
    VLAAdapter.from_config(small_config()).save_pretrained(own)
    write_official(official, 'pro', released_towers=True)
    code = (
        'import sys\n'
        'from vla_adapter_ros.weights.directory import read_checkpoint_metadata as read\n'
        f'assert read({str(own)!r}).config.policy.heads == 4\n'
        f'assert read({str(official)!r}).config.policy.kind == "pro"\n'
        'assert "torch" not in sys.modules'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_sizes_that_official_files_do_not_record_can_be_given(tmp_path):
    write_official(tmp_path, 'pro')
    model = VLAAdapter.from_pretrained(tmp_path, vision_towers=TOWERS, chunk_size=5, num_images=1)
    # The released head reads 512 raw features whatever the number of cameras.
    assert (model.config.chunk_size, model.config.num_task_tokens) == (5, 512)
    model = VLAAdapter.from_pretrained(
        tmp_path, vision_towers=TOWERS, num_images=1, num_task_tokens=None
    )
    assert model.config.num_task_tokens == 256


def test_fields_of_sections_can_be_overridden_in_either_format(tmp_path):
    write_official(tmp_path / 'official', 'pro')
    VLAAdapter.from_config(small_config()).save_pretrained(tmp_path / 'own')
    for name, options in (('official', {'vision_towers': TOWERS}), ('own', {})):
        for precision, dtype in (('run', torch.float32), ('bfloat16', torch.bfloat16)):
            model = VLAAdapter.from_pretrained(
                tmp_path / name, rope_precision=precision, **options
            )
            assert model.config.policy.rope_precision == precision
            network, like = model.policy.network, torch.zeros(1)
            head_dim = model.config.policy_width // model.config.policy.heads
            cos, sin = network.tables(65, 512, like)[1]
            assert cos.dtype == torch.float32
            wanted = policy_tables(512, head_dim, dtype, like.device)
            assert torch.equal(cos[65:], wanted[0].float())
            assert torch.equal(sin[65:].abs(), wanted[1].float().abs())
        with pytest.raises(ConfigError, match="unknown field 'rope_table'"):
            VLAAdapter.from_pretrained(tmp_path / name, rope_table='run', **options)


def test_an_unknown_model_option_is_named_with_what_is_allowed(tmp_path):
    VLAAdapter.from_config(small_config()).save_pretrained(tmp_path)
    path = tmp_path / 'vla_adapter.json'
    path.write_text(path.read_text().replace('"features"', '"conditions"'))
    message = r"PolicyConfig: unknown keys \['conditions'\], allowed are .*'features'"
    with pytest.raises(CheckpointError, match=message):
        VLAAdapter.from_pretrained(tmp_path)


def test_conversion_round_trip_gives_back_every_tensor(tmp_path):
    towers = json.dumps({name: _shape(tower) for name, tower in TOWERS.items()})
    write_official(tmp_path / 'src', 'pro')
    (tmp_path / 'src/vocab.json').write_text('{}')
    there = [str(tmp_path / 'src'), str(tmp_path / 'own'), '--vision-towers', towers]
    assert convert.main(there) == 0
    own = VLAAdapter.from_pretrained(tmp_path / 'own')
    assert own.config.policy.rope_precision == 'bfloat16'
    own = VLAAdapter.from_pretrained(tmp_path / 'own', rope_precision='run')
    wanted = wide_actions(tiny_model('pro'))
    assert relative_error(wide_actions(own), wanted) < IN_FLOAT64
    assert (tmp_path / 'own/vocab.json').is_file()
    assert convert.main([str(tmp_path / 'own'), str(tmp_path / 'back'), '--reverse']) == 0
    vlm, head, proprio = official_tensors('pro')
    assert _equal(load_file(tmp_path / 'back/model.safetensors'), vlm)
    assert _equal(torch.load(tmp_path / 'back/action_head--checkpoint.pt'), head)
    assert _equal(torch.load(tmp_path / 'back/proprio_projector--checkpoint.pt'), proprio)
    source, target = tmp_path / 'src', tmp_path / 'back'
    for name in ('config.json', 'dataset_statistics.json'):
        assert json.loads((source / name).read_text()) == json.loads((target / name).read_text())


def test_official_film_towers_replace_the_plain_ones(tmp_path):
    write_official(tmp_path, 'pro')
    model = tiny_model('pro', use_film=True)
    film = {}
    for name, value in model.vision_backbone.state_dict().items():
        parts = name.split('.')
        if 'blocks' in parts and parts[3] not in ('scale', 'shift'):
            parts.insert(3, 'block')  # the official wrapper nests the block it conditions
        film['module.vision_backbone.' + '.'.join(parts)] = value
    torch.save(film, tmp_path / 'vision_backbone--checkpoint.pt')
    loaded = VLAAdapter.from_pretrained(tmp_path, vision_towers=TOWERS, rope_precision='run')
    assert loaded.config.use_film
    assert relative_error(wide_actions(loaded), wide_actions(model)) < IN_FLOAT64


def test_of_dropped_unused_tensors_the_policys_come_back_as_zeros(tmp_path):
    from vla_adapter_ros.model.convert import to_official, to_own

    write_official(tmp_path / 'src', 'pro')
    to_own(tmp_path / 'src', tmp_path / 'own', towers=TOWERS, keep_unused=False)
    to_official(tmp_path / 'own', tmp_path / 'back')
    vlm, head, _ = official_tensors('pro')
    unused = unused_pattern(tiny_config('pro'))
    back = load_file(tmp_path / 'back/model.safetensors')
    assert _equal(back, {n: v for n, v in vlm.items() if not unused.fullmatch(n)})
    # The official code loads the policy strictly.
    stored = torch.load(tmp_path / 'back/action_head--checkpoint.pt')
    zero = {n: torch.zeros_like(v) if 'film_gen' in n else v for n, v in head.items()}
    assert _equal(stored, zero)
    again = VLAAdapter.from_pretrained(
        tmp_path / 'back', vision_towers=TOWERS, rope_precision='run'
    )
    wanted = wide_actions(tiny_model('pro'))
    assert relative_error(wide_actions(again), wanted) < IN_FLOAT64


def test_a_network_beyond_the_official_code_is_not_converted_back(tmp_path, capsys):
    from vla_adapter_ros.model.convert import main

    VLAAdapter.from_config(small_config(use_film=True)).save_pretrained(tmp_path / 'own')
    status = main([str(tmp_path / 'own'), str(tmp_path / 'out'), '--reverse'])
    assert status == 1
    assert 'FiLM towers' in capsys.readouterr().err


def _shape(tower) -> dict:
    keys = ('width', 'depth', 'heads', 'mlp_hidden', 'class_token', 'registers', 'layer_scale')
    return {key: getattr(tower, key) for key in keys}


def _equal(got: dict, wanted: dict) -> bool:
    return got.keys() == wanted.keys() and all(torch.equal(got[n], wanted[n]) for n in wanted)
