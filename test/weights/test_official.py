# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Released directories act as trained; incomplete ones are refused with the way out."""

from __future__ import annotations

import json
import re
from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from support.checkpoint_cases import TOWERS, official_tensors, write_official
from support.model_cases import GOLDEN, formula_input, relative_error, tiny_model
from vla_adapter_ros.architecture.config import OPENVLA_7B, PolicyConfig, VLAAdapterConfig
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.model import VLAAdapter, convert
from vla_adapter_ros.model.bridge import group_tables
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.weights import official
from vla_adapter_ros.weights.directory import read_checkpoint_metadata
from vla_adapter_ros.weights.metadata import CheckpointMetadata
from vla_adapter_ros.weights.official_weights import refine
from vla_adapter_ros.weights.own import open_checkpoint
from vla_adapter_ros.weights.tensors import LazyTensor

POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'
SHAPE = ('width', 'depth', 'heads', 'mlp_hidden', 'class_token', 'registers', 'layer_scale')
HEAD, PROPRIO = 'action_head--checkpoint.pt', 'proprio_projector--checkpoint.pt'
FILM = 'vision_backbone--checkpoint.pt'


@pytest.fixture(scope='module')
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp('official') / 'pro'
    write_official(folder, 'pro')
    return folder


@pytest.fixture
def damaged(released, tmp_path):
    """A copy by hard links, whose files may be replaced but not written into."""
    for path in released.iterdir():
        (tmp_path / path.name).hardlink_to(path)
    return tmp_path


def rewrite_text_config(folder, **changes):
    file = folder / 'config.json'
    stored = json.loads(file.read_text())
    text = {k: v for k, v in stored.get('text_config', {}).items() if k != 'rope_theta'}
    file.unlink()  # a hard link
    file.write_text(json.dumps({**stored, 'text_config': {**text, **changes}}))


def read_checkpoint_metadata_of(folder):
    return official.read_official_metadata(folder, TOWERS).config


def load(folder, **overrides):
    return VLAAdapter.from_pretrained(folder, vision_towers=TOWERS, **overrides)


def test_a_released_policy_in_float32_keeps_the_tables_it_was_trained_with(released):
    model = load(released)
    assert model.config.policy == PolicyConfig(rope_precision='bfloat16', num_task_tokens=512)
    read = [(formula_input('query', (1, 64, 64)), formula_input('raw', (1, 512, 64)))] * 24
    proprio = formula_input('proprio', (1, 8))
    with torch.inference_mode():
        wanted = model.policy(read, proprio)
        # With tables in float32 the same weights act differently, by far more than rounding.
        model.policy.network.rope_precision = 'run'
        assert relative_error(model.policy(read, proprio), wanted) > 1e-3


def test_pinned_tables_in_float32_are_the_recorded_ones_of_bfloat16():
    config = VLAAdapterConfig.full().override(rope_precision='bfloat16')
    recorded = np.load(GOLDEN / 'rope_tables_headdim112.npz')
    own, both = group_tables(config, 65, 512, torch.zeros(1), config.policy.rope_precision)
    signs = np.tile([-1.0, 1.0], 56)  # the rotation's signs are in the sines
    for place, (name, sign) in enumerate((('cos', 1.0), ('sin', signs))):
        wanted = {length: sign * recorded[f'{name}_bf16_{length}'] for length in (8, 65, 512)}
        assert own[place].dtype == both[place].dtype == torch.float32
        np.testing.assert_array_equal(own[place].numpy(), wanted[8])
        np.testing.assert_array_equal(both[place].numpy(), np.vstack((wanted[65], wanted[512])))


def test_one_camera_is_split_where_the_released_head_splits(released):
    """256 patches and 64 query states are raw; the other group holds proprioception alone."""
    model = load(released, num_images=1)
    prompt = torch.zeros(1, 9, dtype=torch.long)
    # Position 255 is the last of the 256 that are read as visual; 264 is the last prompt token.
    state = torch.arange(329.0)[None, :, None].expand(1, 329, 64)
    query, raw = model.read(state, model.query_positions(prompt, None))
    assert raw[0, :, 0].tolist() == [*range(256), *range(264, 328)]
    assert query.shape[1] == 0


def test_the_base_of_rotary_angles_is_read_from_either_place(damaged):
    """transformers 5 writes `rope_parameters`, earlier ones `rope_theta`."""
    for text in ({'rope_theta': 5e4}, {'rope_parameters': {'rope_theta': 5e4}}):
        rewrite_text_config(damaged, **text)
        assert read_checkpoint_metadata_of(damaged).language.rope_theta == 5e4


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ({'rope_scaling': {'type': 'yarn', 'factor': 4.0}}, "rope_type 'yarn'"),
        ({'rope_parameters': {'rope_type': 'llama3', 'rope_theta': 5e4}}, "rope_type 'llama3'"),
        ({'hidden_act': 'gelu'}, "hidden_act 'gelu'"),
        ({'use_sliding_window': True}, 'use_sliding_window True'),
        ({'head_dim': 128}, 'head_dim 128'),
    ],
)
def test_language_models_of_other_arithmetic_are_refused_by_name(damaged, text, named):
    rewrite_text_config(damaged, **text)
    with pytest.raises(CheckpointError, match=f'text_config: {named} is not supported'):
        load(damaged)


def test_a_robot_of_seven_and_seven_values_is_said_to_be_taken_for_bridge(damaged, caplog):
    """One's own 6+1 joints, trained in LIBERO mode, have chunks of 8."""
    weights = torch.load(damaged / PROPRIO)
    name = next(name for name in weights if name.endswith('fc1.weight'))
    (damaged / PROPRIO).unlink()
    torch.save({**weights, name: weights[name][:, :7].clone()}, damaged / PROPRIO)
    assert load(damaged).config.chunk_size == 5
    assert '7 action and 7 state values, taken for BRIDGE: chunks of 5 steps' in caplog.text
    caplog.clear()
    assert load(damaged, chunk_size=8).config.chunk_size == 8
    assert caplog.text == ''


def test_a_lost_proprio_projector_is_not_taken_for_a_policy_without_state(damaged, tmp_path):
    (damaged / PROPRIO).unlink()
    message = r'proprio_projector--\*checkpoint.pt is missing.*use_proprio=False'
    with pytest.raises(CheckpointError, match=message):
        load(damaged)
    check_without_state(damaged)
    towers = json.dumps({n: {k: getattr(t, k) for k in SHAPE} for n, t in TOWERS.items()})
    command = [str(damaged), str(tmp_path / 'own'), '--vision-towers', towers]
    assert convert.main([*command, '--set', 'use_proprio=false', 'rope_precision=run']) == 0
    converted = read_checkpoint_metadata(tmp_path / 'own').config
    assert (converted.use_proprio, converted.policy.rope_precision) == (False, 'run')


def check_without_state(folder):
    opened = open_checkpoint(folder, TOWERS, {'use_proprio': False})
    assert not opened.metadata.config.use_proprio
    assert not any('proprio' in name for name in opened.tensors)


def test_a_policy_without_state_ignores_a_projector_beside_it(released):
    check_without_state(released)


@pytest.mark.parametrize('other', ['10000_checkpoint.pt', 'latest_checkpoint.pt', 'checkpoint.pt'])
def test_files_of_different_steps_are_refused_by_name(damaged, other):
    (damaged / HEAD).rename(damaged / 'action_head--5000_checkpoint.pt')
    (damaged / PROPRIO).rename(damaged / f'proprio_projector--{other}')
    with pytest.raises(CheckpointError) as caught:
        load(damaged)
    for part in ('action_head--5000_checkpoint.pt', f'projector--{other}', 'different steps'):
        assert part in str(caught.value)


def test_files_of_one_step_load(damaged):
    for kind in ('action_head', 'proprio_projector'):
        (damaged / f'{kind}--checkpoint.pt').rename(damaged / f'{kind}--5000_checkpoint.pt')
    assert open_checkpoint(damaged, TOWERS).metadata.config.use_proprio


@pytest.mark.parametrize(('wrap', 'message'), [
    (lambda d: {'state_dict': d, 'epoch': 3}, r"its tensors are in \['state_dict'\]; save them"),
    (lambda d: {'model': d, 'optimizer': {}}, r"torch.load\('action_head.*'\)\['model'\]"),
    (lambda d: [*d.values(), '.k_self.weight'], 'it holds a list'),
    (lambda d: d | {'step': 5000}, r"it holds other values: \['step'\]"),
])  # fmt: skip
def test_a_state_dict_within_something_else_is_named(damaged, wrap, message):
    (damaged / HEAD).unlink()
    few = dict(list(official_tensors('pro')[1].items())[:20])
    assert any('k_self' in name for name in few)
    torch.save(wrap(few), damaged / HEAD)
    with pytest.raises(CheckpointError, match=message):
        load(damaged)


@pytest.mark.parametrize('name', ['model.safetensors', HEAD, PROPRIO, 'dataset_statistics.json'])
def test_files_that_were_not_fetched_are_named_as_that(damaged, name):
    (damaged / name).unlink()
    (damaged / name).write_text(POINTER)
    with pytest.raises(CheckpointError, match=f'{name}.*Git LFS pointer.*git lfs pull'):
        load(damaged)


@pytest.mark.parametrize('name', [
    'tokenizer.json', 'vocab.json', 'merges.txt', 'added_tokens.json',
])  # fmt: skip
def test_a_tokenizer_that_was_not_fetched_is_named_as_that(tmp_path, name):
    (tmp_path / 'vocab.json').write_text('{"a": 0}')
    (tmp_path / 'merges.txt').write_text('#version: 0.2\n')
    Tokenizer.from_directory(tmp_path)
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(CheckpointError, match=rf'/{name}: unread.*Git LFS pointer.*git lfs pull'):
        Tokenizer.from_directory(tmp_path)


def test_a_damaged_vocabulary_is_named_and_not_a_file_that_is_not_there(tmp_path):
    (tmp_path / 'vocab.json').write_text('{"a": ')
    (tmp_path / 'merges.txt').write_text('#version: 0.2\n')
    with pytest.raises(CheckpointError, match=r'\(vocab\.json, merges\.txt\): ') as caught:
        Tokenizer.from_directory(tmp_path)
    assert 'tokenizer.json' not in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize(('stored', 'meant'), [
    ('dtype', 'run'), ('float32', 'float32'), ('bfloat16', 'bfloat16'),
])  # fmt: skip
def test_configurations_of_before_the_renaming_load(stored, meant):
    data = json.loads(json.dumps(VLAAdapterConfig().to_dict()))
    del data['policy']['rope_precision']
    data['policy']['rope_tables'] = stored
    assert VLAAdapterConfig.from_dict(data) == VLAAdapterConfig().override(rope_precision=meant)


@pytest.mark.parametrize(('section', 'precision', 'meant'), [
    ('compute', 'bf16', 'bfloat16'), ('compute', 'fp32', 'float32'), ('speed', 'bf16', 'bfloat16'),
    ('compute', None, 'run'),
])  # fmt: skip
@pytest.mark.parametrize('old', [{'rope_tables': 'dtype'}, {'rope_precision': 'run'}])
def test_runs_of_before_tables_were_pinned_act_as_their_recipe_trained_them(
    section, precision, meant, old
):
    data = CheckpointMetadata(VLAAdapterConfig()).to_dict()
    del data['model']['policy']['rope_precision']
    data['model']['policy'] |= old
    data['training'] = {'config': {section: {'precision': precision}}}
    data = json.loads(json.dumps(data))
    found = CheckpointMetadata.from_dict(data, 'vla_adapter.json').config.policy
    assert found.rope_precision == meant
    data['model']['policy'] = {'rope_precision': 'float32'}  # what a checkpoint pins is kept
    found = CheckpointMetadata.from_dict(data, 'vla_adapter.json').config.policy
    assert found.rope_precision == 'float32'


def test_the_number_of_policy_blocks_is_that_of_the_files():
    shapes = {f'action_head.model.mlp_resnet_blocks.{i}.q_proj.weight': (8, 8) for i in range(24)}
    tensors = {name: LazyTensor(shape, lambda dtype: None) for name, shape in shapes.items()}
    llama = VLAAdapterConfig(language=OPENVLA_7B)
    found = refine(llama, tensors, {})
    assert (llama.policy_blocks, found.policy_blocks) == (32, 24)
    assert found.layer_of_block == tuple(range(1, 25))


def test_networks_with_tables_in_float32_are_not_for_the_official_code():
    for precision, reasons in (('run', 0), ('bfloat16', 0), ('float32', 1)):
        config = VLAAdapterConfig.full().override(rope_precision=precision)
        assert len(convert.inexpressible(config)) == reasons


RANK, ALPHA = 4, 8
CONFIGS = 'pretrained_models/configs'  # of the official code, which holds no weights


def adapter_halves(name: str, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A and B of an adapter, those of a convolution in its shape."""
    kernel = weight.shape[2:]
    a = formula_input(f'{name} A', (RANK, weight.shape[1], *kernel), 0.2)
    b = formula_input(f'{name} B', (weight.shape[0], RANK, *[1] * len(kernel)), 0.2)
    return a, b


def delta(name: str, weight: torch.Tensor) -> torch.Tensor:
    """B A, for convolutions as peft computes it."""
    a, b = adapter_halves(name, weight)
    if weight.ndim == 2:
        return b @ a
    return torch.nn.functional.conv2d(a.permute(1, 0, 2, 3), b).permute(1, 0, 2, 3)


def adapted(name: str, value: torch.Tensor) -> bool:
    """All linear layers and the patch convolutions, as with target_modules='all-linear'."""
    plain = ('embed', 'norm', 'action_queries', 'pos_embed', 'token', 'latent')
    linear = name.endswith('.weight') and value.ndim >= 2 and not any(p in name for p in plain)
    return linear or name.endswith('patch_embed.proj.weight')


@cache
def adapter_tensors() -> dict[str, torch.Tensor]:
    """What the official trainer leaves in `lora_adapter`."""
    tensors = {}
    for name, value in official_tensors('pro')[0].items():
        if adapted(name, value):
            layer = f'base_model.model.{name.removesuffix(".weight")}'
            halves = adapter_halves(name, value)
            tensors |= {f'{layer}.lora_{k}.weight': v for k, v in zip('AB', halves)}
    head = 'base_model.model.language_model.lm_head'
    shapes = {'lora_A': (RANK, 64), 'lora_B': (512, RANK), 'base_layer': (512, 64)}
    return tensors | {f'{head}.{n}.weight': torch.ones(shape) for n, shape in shapes.items()}


def write_adapter(folder, queries=None, **changes):
    """The files that peft writes for the official trainer."""
    tensors = dict(adapter_tensors())
    if queries is not None:
        tensors['base_model.model.action_queries.weight'] = queries
    folder.mkdir()
    save_file(tensors, folder / 'adapter_model.safetensors')
    config = {'r': RANK, 'lora_alpha': ALPHA, 'base_model_name_or_path': CONFIGS} | changes
    (folder / 'adapter_config.json').write_text(json.dumps(config))


@pytest.fixture
def unmerged(released, tmp_path):
    """What the official trainer writes without --merge_lora_during_training."""
    folder = tmp_path / 'run'
    folder.mkdir()
    for name in (HEAD, PROPRIO, 'dataset_statistics.json'):
        (folder / name).hardlink_to(released / name)
    return folder


def test_an_unmerged_adapter_is_merged_on_read(unmerged, released, caplog):
    queries = formula_input('trained queries', (64, 64))
    write_adapter(unmerged / 'lora_adapter', queries)
    loaded = load(unmerged, base=released).state_dict()
    vlm = official_tensors('pro')[0]
    changed = 0
    for name, value in loaded.items():
        if name.startswith(('policy.', 'action_queries')):
            continue
        wanted = vlm[name]
        if adapted(name, wanted):
            wanted = wanted + ALPHA / RANK * delta(name, wanted)
            changed += 1
        torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-5)
    assert changed > 24 * 7 + 2 * 4 + 3
    assert torch.equal(loaded['action_queries.weight'], queries)
    assert not caplog.records


def test_an_adapter_that_names_its_base_needs_no_other_hint(unmerged, released, tmp_path):
    write_adapter(unmerged / 'lora_adapter', base_model_name_or_path=str(released))
    out = tmp_path / 'own'
    towers = json.dumps({n: {k: getattr(t, k) for k in SHAPE} for n, t in TOWERS.items()})
    assert convert.main([str(unmerged), str(out), '--vision-towers', towers]) == 0
    name = 'projector.fc1.weight'
    weight = official_tensors('pro')[0][name]
    converted = load_file(out / 'model.safetensors')[name]
    torch.testing.assert_close(converted, weight + ALPHA / RANK * delta(name, weight))


def test_queries_that_the_trainer_did_not_store_are_warned_about(unmerged, released, caplog):
    write_adapter(unmerged / 'lora_adapter')
    queries = open_checkpoint(unmerged, TOWERS, base=released).tensors['action_queries.weight']
    assert torch.equal(queries.read(None), official_tensors('pro')[0]['action_queries.weight'])
    assert 'does not store the ActionQueries' in caplog.text


def test_an_unmerged_adapter_without_its_base_is_refused_with_the_way_out(unmerged):
    write_adapter(unmerged / 'lora_adapter')
    with pytest.raises(CheckpointError) as caught:
        load(unmerged)
    for part in (CONFIGS, 'base=FOLDER', 'merge_lora_during_training'):
        assert part in str(caught.value)


def test_an_adapter_that_is_no_plain_lora_is_refused(unmerged, released):
    write_adapter(unmerged / 'lora_adapter', use_dora=True)
    with pytest.raises(CheckpointError, match=r'adapter_config\.json: use_dora is not supported'):
        load(unmerged, base=released)


def write_film_towers(folder, scale: float) -> dict[str, torch.Tensor]:
    """The file of FiLM towers as the official trainer saves it; returns what is to be read."""
    stored, merged = {}, {}
    for name, value in tiny_model('pro', use_film=True).vision_backbone.state_dict().items():
        nested = re.sub(r'(blocks\.\d+)\.(?!scale\.|shift\.)', r'\1.block.', name)
        layer, _, kind = f'vision_backbone.{nested}'.rpartition('.')
        if not adapted(name, value) or layer.endswith(('.scale', '.shift')):
            below = '.base_layer' if layer.endswith(('.attn.qkv', '.attn.proj')) else ''
            stored[f'{layer}{below}.{kind}'] = merged[name] = value
            continue
        stored[f'{layer}.base_layer.weight'] = value
        stored |= {f'{layer}.lora_{k}.default.weight': v
                   for k, v in zip('AB', adapter_halves(name, value))}  # fmt: skip
        merged[name] = value + scale * delta(name, value)
    torch.save(stored, folder / FILM)
    return merged


def check_towers(model, wanted):
    got = model.vision_backbone.state_dict()
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('alpha', [None, ALPHA])
def test_film_towers_with_lora_are_merged_on_read(damaged, alpha, caplog):
    """Without a record of training's scale by that of the official loader, 0.5."""
    wanted = write_film_towers(damaged, 0.5 if alpha is None else alpha / RANK)
    if alpha:
        write_adapter(damaged / 'lora_adapter')
    check_towers(load(damaged), wanted)
    assert ('merged by 0.5 as in the official loader' in caplog.text) == (alpha is None)


def wrap_towers(folder):
    """Give the tower layers of an adapter the names that they have under FiLM."""
    file = folder / 'adapter_model.safetensors'

    def wrapped(name: str) -> str:
        name = re.sub(r'(vision_backbone\.\w+\.blocks\.\d+)\.', r'\1.block.', name)
        return name.replace('vision_backbone.', 'vision_backbone.vision_backbone.')

    tensors = {wrapped(name): value for name, value in load_file(file).items()}
    save_file(tensors, file)
    return tensors


@pytest.fixture
def unmerged_film(unmerged, released):
    """What the official trainer writes with --use_film and otherwise its defaults."""
    write_adapter(unmerged / 'lora_adapter', base_model_name_or_path=str(released))
    names = wrap_towers(unmerged / 'lora_adapter')
    half = 'vision_backbone.vision_backbone.featurizer.blocks.0.block.attn.qkv.lora_A.weight'
    assert f'base_model.model.{half}' in names
    return unmerged


def test_film_towers_come_from_their_own_file_beside_an_unmerged_adapter(unmerged_film):
    wanted = write_film_towers(unmerged_film, ALPHA / RANK)
    model = load(unmerged_film)
    assert model.config.use_film
    check_towers(model, wanted)
    layer = 'language_model.model.layers.0.mlp.up_proj.weight'
    weight = official_tensors('pro')[0][layer]
    torch.testing.assert_close(
        model.state_dict()[layer], weight + ALPHA / RANK * delta(layer, weight)
    )


def test_an_adapter_of_film_towers_without_their_file_is_refused_with_the_way_out(unmerged_film):
    message = r'lora_adapter is of towers with FiLM, whose vision_backbone--.* is missing; copy it'
    with pytest.raises(CheckpointError, match=message):
        load(unmerged_film)


def test_film_towers_that_lost_an_adapter_are_refused_by_name(damaged):
    write_film_towers(damaged, 0.5)
    stored = torch.load(damaged / FILM)
    lost = 'blocks.0.block.attn.qkv.lora_'
    torch.save({n: v for n, v in stored.items() if lost not in n}, damaged / FILM)
    message = r'adapter of vision_backbone\.featurizer\.blocks\.0\.attn\.qkv is missing'
    with pytest.raises(CheckpointError, match=message):
        load(damaged)


def test_the_mean_embedding_of_released_film_covers_the_stop_token():
    model = tiny_model('pro', use_film=True)
    ids = torch.tensor([[5, 7, 11, 0]])
    mask = torch.tensor([[1, 1, 1, 0]])
    table = model.decoder.embed_tokens.weight
    with torch.no_grad():
        padded = model.film_vector(ids, model.embed_prompt(ids, mask)[0], mask)
        alone = model.film_vector(ids[:, :3], model.embed_prompt(ids[:, :3], None)[0], None)
    wanted = table[[5, 7, 11, 2]].mean(0, keepdim=True).detach()
    torch.testing.assert_close(padded, wanted)
    torch.testing.assert_close(alone, wanted)
