# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Training starts from a base Prismatic VLM or from another checkpoint's VLM."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from safetensors.torch import save_file

from support.checkpoint_cases import TOWERS, official_tensors, write_base, write_official
from support.model_cases import small_config, tiny_config, tiny_inputs, tiny_model
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.weights import official
from vla_adapter_ros.weights.prismatic import film_layers, resample_positions


@pytest.mark.parametrize('as_directory', [True, False])
def test_base_vlm_gives_the_same_features(tmp_path, as_directory):
    path = write_base(tmp_path)
    model = VLAAdapter.from_vlm(tmp_path if as_directory else path, tiny_config())
    reference = tiny_model()
    with torch.no_grad():
        model.action_queries.weight.copy_(reference.action_queries.weight)
        inputs = {key: tiny_inputs()[key] for key in ('pixel_values', 'input_ids')}
        got, wanted = model.features(**inputs), reference.features(**inputs)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_fresh_parts_are_random_and_of_the_released_scale(tmp_path):
    path = write_base(tmp_path)
    first = VLAAdapter.from_vlm(path, tiny_config())
    second = VLAAdapter.from_vlm(path, tiny_config())
    assert 0.015 < float(first.action_queries.weight.detach().std()) < 0.025
    weights = [m.policy.network.fc1.weight for m in (first, second)]
    assert not torch.equal(*weights)


def tower_weights(key):
    """Weights of one tower in timm's names."""
    prefix = f'vision_backbone.{key}.'
    vlm = official_tensors('pro')[0]
    tower = {n.removeprefix(prefix): v for n, v in vlm.items() if n.startswith(prefix)}
    return {n.replace('.scale_factor', '.gamma'): v for n, v in tower.items()}


def test_towers_can_come_from_their_own_files(tmp_path):
    path = write_base(tmp_path / 'vlm', with_vision=False)
    with pytest.raises(CheckpointError, match="no vision tower 'featurizer'"):
        VLAAdapter.from_vlm(path, tiny_config())
    dino, siglip = tmp_path / 'dino.safetensors', tmp_path / 'open_clip_pytorch_model.bin'
    save_file(tower_weights('featurizer'), dino)
    # open_clip files, such as the one the official code downloads, hold both encoders.
    trunk = {f'visual.trunk.{n}': v for n, v in tower_weights('fused_featurizer').items()}
    text = {'text.token_embedding.weight': torch.ones(2), 'logit_scale': torch.ones(())}
    torch.save(trunk | text, siglip)
    files = {'featurizer': dino, 'fused_featurizer': siglip}
    model = VLAAdapter.from_vlm(path, tiny_config(), vision_weights=files)
    reference = tiny_model().state_dict()
    for name, value in model.state_dict().items():
        if name.startswith('vision_backbone.'):
            assert torch.equal(value, reference[name]), name


@pytest.mark.parametrize('name', ['latest-checkpoint.pt', 'step-020792-epoch-01-loss=0.5268.pt'])
def test_of_several_files_of_a_run_the_latest_is_taken(tmp_path, name):
    latest = write_base(tmp_path)
    latest.rename(latest.parent / name)
    for other in ('step-000100-epoch-00-loss=0.9.pt', 'step-010000-epoch-00-loss=0.6.pt'):
        (latest.parent / other).touch()
    VLAAdapter.from_vlm(tmp_path, tiny_config())


def test_a_folder_that_holds_no_vlm_is_told_what_one_is(tmp_path):
    (tmp_path / 'pytorch_model.bin').touch()
    with pytest.raises(CheckpointError, match=r'no base VLM; expected checkpoints/\*.pt, or'):
        VLAAdapter.from_vlm(tmp_path, tiny_config())


def test_film_layers_are_new_to_a_base_vlm_and_keep_the_rest(tmp_path):
    path = write_base(tmp_path)
    film = tiny_config().replace(use_film=True)
    model = VLAAdapter.from_vlm(path, film, dtype=torch.bfloat16)
    plain = VLAAdapter.from_vlm(path, tiny_config(), dtype=torch.bfloat16).state_dict()
    new = {n: v for n, v in model.state_dict().items() if n not in plain}
    names = film_layers(model)
    assert new.keys() == {f'{name}.{kind}' for name in names for kind in ('weight', 'bias')}
    assert len(names) == 2 * sum(len(t.blocks) for t in model.vision_backbone.towers)
    for value in new.values():
        assert value.dtype == torch.bfloat16
        assert 0 < value.float().std() < 1
    name = 'vision_backbone.featurizer.blocks.0.attn.qkv.weight'
    assert torch.equal(model.state_dict()[name], plain[name])


def test_positions_of_a_larger_image_are_resampled(tmp_path):
    smooth = torch.linspace(0, 1, 37)[:, None].expand(37, 37).reshape(1, -1, 1)
    small = resample_positions(smooth, 16)
    assert small.shape == (1, 256, 1)
    rows = small.view(16, 16)
    assert torch.allclose(rows, rows[:, :1].expand(16, 16), atol=1e-5)
    centres = (torch.arange(16) + 0.5) * 37 / 16 - 0.5
    assert torch.allclose(rows[2:-2, 0], centres[2:-2] / 36, atol=5e-3)


def test_another_checkpoints_vlm_can_be_taken_over_with_a_new_policy(tmp_path):
    donor = VLAAdapter.from_config(small_config())
    donor.save_pretrained(tmp_path)
    changed = small_config(chunk_size=4, proprio_dim=9)
    model = VLAAdapter.from_vlm(tmp_path, changed)
    assert model.policy.proprio_projector.fc1.weight.shape[1] == 9
    name = 'language_model.model.layers.0.mlp.up_proj.weight'
    assert torch.equal(model.state_dict()[name], donor.state_dict()[name])


def test_an_official_vlm_without_a_policy_is_a_base(tmp_path):
    """OpenVLA: one of the paper's backbones, published as a model of its own."""
    write_official(tmp_path, 'pro', released_towers=False)
    for name in ('action_head', 'proprio_projector'):
        (tmp_path / f'{name}--checkpoint.pt').unlink()
    with patch.dict(official.KNOWN_TOWERS, TOWERS):
        model = VLAAdapter.from_vlm(tmp_path, tiny_config())
    name = 'language_model.model.layers.3.mlp.up_proj.weight'
    assert torch.equal(model.state_dict()[name], official_tensors('pro')[0][name])


def test_something_else_is_not_taken_for_a_base_vlm(tmp_path):
    torch.save({'model': {'encoder': {}}}, tmp_path / 'x.pt')
    with pytest.raises(CheckpointError, match='not a base VLM'):
        VLAAdapter.from_vlm(tmp_path / 'x.pt')
    with pytest.raises(CheckpointError, match='no such file'):
        VLAAdapter.from_vlm(tmp_path / 'y.pt')
