# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Our towers equal transformers' Dinov2WithRegisters and Siglip; additions do what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from support.model_cases import TINY_DINO, TINY_SIGLIP, fill_by_formula, formula_input, small_batch
from vla_adapter_ros.architecture.config import VisionTowerConfig, VLAAdapterConfig
from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.model.small.film import mean_embedding
from vla_adapter_ros.model.small.initialise import grid_positions
from vla_adapter_ros.model.small.stem import KeypointToken
from vla_adapter_ros.model.vision import VisionBackbone, VisionTower
from vla_adapter_ros.model.vla import VLAAdapter


def tower_with_formula_weights(config: VisionTowerConfig, name: str) -> VisionTower:
    tower = VisionTower(config).eval()
    fill_by_formula(tower, f'vision_backbone.{name}.')
    return tower


def split_qkv(ours: dict, block: str) -> dict:
    """The fused projection as the library's three: kind and parameter -> tensor."""
    out = {}
    for part in ('weight', 'bias'):
        for kind, value in zip('qkv', ours[f'{block}.attn.qkv.{part}'].chunk(3)):
            out[kind, part] = value
    return out


def test_dino_tower_equals_transformers_dinov2_with_registers():
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    config = TINY_DINO
    library = Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(
            hidden_size=config.width,
            num_hidden_layers=config.used_depth,
            num_attention_heads=config.heads,
            mlp_ratio=config.mlp_hidden // config.width,
            image_size=config.image_size,
            patch_size=config.patch,
            num_register_tokens=config.registers,
            layer_norm_eps=config.norm_eps,
        )
    ).eval()
    tower = tower_with_formula_weights(config, 'featurizer')
    ours = tower.state_dict()
    # The library adds a position to the class token too; the released weights have none there.
    zero = torch.zeros(1, 1, config.width)
    theirs = {
        'embeddings.cls_token': ours['cls_token'],
        'embeddings.register_tokens': ours['reg_token'],
        'embeddings.position_embeddings': torch.cat((zero, ours['pos_embed']), dim=1),
    }
    for part in ('weight', 'bias'):
        theirs[f'embeddings.patch_embeddings.projection.{part}'] = ours[f'patch_embed.proj.{part}']
    for index in range(config.used_depth):
        block, layer = f'blocks.{index}', f'encoder.layer.{index}'
        for (kind, part), value in split_qkv(ours, block).items():
            theirs[f'{layer}.attention.{kind}_proj.{part}'] = value
        for part in ('weight', 'bias'):
            theirs[f'{layer}.attention.o_proj.{part}'] = ours[f'{block}.attn.proj.{part}']
            for name in ('norm1', 'norm2', 'mlp.fc1', 'mlp.fc2'):
                theirs[f'{layer}.{name}.{part}'] = ours[f'{block}.{name}.{part}']
        for scale in ('1', '2'):
            theirs[f'{layer}.layer_scale{scale}.lambda1'] = ours[f'{block}.ls{scale}.scale_factor']
    left = library.load_state_dict(theirs, strict=False)
    assert not left.unexpected_keys
    assert set(left.missing_keys) <= {
        'embeddings.mask_token',
        'layernorm.weight',
        'layernorm.bias',
    }
    pixels = formula_input('pixels', (2, 3, 224, 224))
    with torch.no_grad():
        states = library(pixels, output_hidden_states=True).hidden_states
        wanted = states[-1][:, 1 + config.registers :]
        torch.testing.assert_close(tower(pixels), wanted, rtol=1e-4, atol=1e-5)


def test_siglip_tower_equals_transformers_siglip():
    from transformers import SiglipVisionConfig, SiglipVisionModel

    config = TINY_SIGLIP
    library = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=config.width,
            intermediate_size=config.mlp_hidden,
            num_hidden_layers=config.used_depth,
            num_attention_heads=config.heads,
            image_size=config.image_size,
            patch_size=config.patch,
            layer_norm_eps=config.norm_eps,
            hidden_act='gelu',
        )
    ).eval()
    tower = tower_with_formula_weights(config, 'fused_featurizer')
    ours = tower.state_dict()
    theirs = {'embeddings.position_embedding.weight': ours['pos_embed'][0]}
    for part in ('weight', 'bias'):
        theirs[f'embeddings.patch_embedding.{part}'] = ours[f'patch_embed.proj.{part}']
    for index in range(config.used_depth):
        block, layer = f'blocks.{index}', f'encoder.layers.{index}'
        for (kind, part), value in split_qkv(ours, block).items():
            theirs[f'{layer}.self_attn.{kind}_proj.{part}'] = value
        for part in ('weight', 'bias'):
            theirs[f'{layer}.self_attn.out_proj.{part}'] = ours[f'{block}.attn.proj.{part}']
            for their_name, name in (
                ('layer_norm1', 'norm1'),
                ('layer_norm2', 'norm2'),
                ('mlp.fc1', 'mlp.fc1'),
                ('mlp.fc2', 'mlp.fc2'),
            ):
                theirs[f'{layer}.{their_name}.{part}'] = ours[f'{block}.{name}.{part}']
    prefix = 'vision_model.' if 'vision_model' in dict(library.named_children()) else ''
    left = library.load_state_dict({prefix + n: v for n, v in theirs.items()}, strict=False)
    assert not left.unexpected_keys
    assert all('post_layernorm' in name or 'head.' in name for name in left.missing_keys)
    pixels = formula_input('pixels', (2, 3, 224, 224))
    with torch.no_grad():
        wanted = library(pixels, output_hidden_states=True).hidden_states[-1]
        torch.testing.assert_close(tower(pixels), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('config', (TINY_DINO, TINY_SIGLIP), ids=('dino', 'siglip'))
def test_no_block_of_a_tower_works_on_transposed_tokens(config):
    """Each addition would keep that layout, and each layer norm copy its input first."""
    tower = VisionTower(config).eval()
    seen = []
    for block in tower.blocks:
        block.register_forward_hook(lambda _, inputs, output: seen.extend((inputs[0], output)))
    with torch.no_grad():
        tokens = tower(torch.zeros(2, 3, config.image_size, config.image_size))
    assert len(seen) == 2 * config.used_depth > 0
    assert all(tensor.is_contiguous() for tensor in seen)
    assert tokens.stride()[1:] == (config.width, 1)  # beside the prefix tokens, where there are


def test_cameras_batched_equal_cameras_one_by_one():
    config = VLAAdapterConfig.tiny(num_images=3)
    backbone = VisionBackbone(config).eval()
    pixels = formula_input('pixels', (2, 18, 96, 96))
    with torch.no_grad():
        together = backbone(pixels)
        backbone.num_images = 1
        apart = torch.cat([backbone(image) for image in pixels.chunk(3, dim=1)], dim=1)
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_each_tower_sees_its_own_normalisation_of_each_camera():
    config = VLAAdapterConfig.tiny()
    backbone = VisionBackbone(config).eval()
    pixels = formula_input('pixels', (1, 12, 96, 96))
    with torch.no_grad():
        features = backbone(pixels)
        pixels[:, 9:12] += 1.0  # the wrist camera's channels for the second tower
        changed = (backbone(pixels) - features).abs() > 1e-6
    patches, width = config.tokens_per_image, config.vision[0].width
    assert not changed[:, :patches].any()
    assert not changed[:, patches:, :width].any()
    assert changed[:, patches:, width:].any()


def test_film_carries_the_instruction_into_the_visual_tokens():
    for use_film in (False, True):
        config = VLAAdapterConfig.tiny(use_film=use_film)
        model = VLAAdapter.from_config(config)
        batch = small_batch(config, batch=1)
        with torch.no_grad():
            tokens = [
                model.visual_tokens(batch['pixel_values'], ids, model.decoder.embed_tokens(ids))
                for ids in (batch['input_ids'], batch['input_ids'] + 7)
            ]
        assert torch.equal(*tokens) != use_film


def test_film_averages_the_real_tokens_only():
    config = VLAAdapterConfig.tiny(use_film=True)
    model = VLAAdapter.from_config(config)
    embedded = formula_input('embedded', (2, 5, 128))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    average = model.film_vector(mask, embedded, mask)
    torch.testing.assert_close(average[0], embedded[0, :3].mean(0))
    torch.testing.assert_close(average[1], embedded[1].mean(0))


@pytest.mark.parametrize('stem', ['patch', 'conv'])
@pytest.mark.parametrize('keypoints', [0, 4])
@pytest.mark.parametrize('pool', [1, 2])
def test_a_tower_gives_the_tokens_it_promises(stem, keypoints, pool):
    config = VisionTowerConfig(
        width=32,
        depth=3,
        heads=2,
        mlp_hidden=64,
        patch=8,
        image_size=64,
        stem=stem,
        keypoints=keypoints,
        pool=pool,
    )
    tower = VisionTower(config)
    assert tower(torch.zeros(2, 3, 64, 64)).shape == (2, config.tokens, 32)
    assert config.tokens == (8 // pool) ** 2 + (keypoints > 0)


def keypoint_position(features, local=0):
    """(x, y, peak) of one map that is ten times the first of the features (8, 9, 9)."""
    config = VisionTowerConfig(
        width=8, depth=2, heads=2, mlp_hidden=8, patch=8, image_size=64, keypoints=1,
        local_keypoints=local,
    )  # fmt: skip
    torch.manual_seed(0)
    token = KeypointToken(config)
    with torch.no_grad():
        token.laterals[0].weight.fill_(1.0)
        torch.nn.init.dirac_(token.merge.weight)
        token.maps.weight.fill_(10.0)
        token.token.weight.copy_(torch.eye(8, 3))
        token.token.bias.zero_()
        return token([features[None]])[0, 0, :3].tolist()


def test_a_keypoint_token_says_where_a_map_has_its_mass():
    features = torch.zeros(8, 9, 9)
    features[0, 6, 2] = 1.0  # row 6, column 2 of 0..8
    assert keypoint_position(features) == pytest.approx((-0.5, 0.5, 1.0), abs=1e-3)


def test_a_local_keypoint_is_at_the_likelier_of_two_places_and_not_between_them():
    features = torch.zeros(8, 9, 9)
    features[0, 6, 1], features[0, 1, 7] = 1.0, 0.999
    between, likelier = keypoint_position(features), keypoint_position(features, local=1)
    assert likelier[:2] == pytest.approx((-0.75, 0.5), abs=0.01)
    assert np.hypot(*np.subtract(between, likelier)[:2]) > 0.3
    assert between[2] == likelier[2]  # the map's confidence, on the whole image


def test_a_keypoint_map_sees_what_surrounds_its_cell():
    config = VisionTowerConfig(
        width=48, depth=2, heads=2, mlp_hidden=8, patch=16, image_size=96, keypoints=1, stem='conv'
    )
    torch.manual_seed(0)
    tower, scores = VisionTower(config), []
    tower.keypoint.maps.register_forward_hook(lambda _, __, out: scores.append(out))
    pixels = torch.randn(1, 3, 96, 96, requires_grad=True)
    tower(pixels)
    (gradient,) = torch.autograd.grad(scores[0][0, 0, 12, 12], pixels)
    rows, columns = torch.meshgrid(torch.arange(96), torch.arange(96), indexing='ij')
    away = torch.hypot(rows - 48.0, columns - 48.0)
    ring, rest = (away > 6) & (away < 11), away > 30
    strength = gradient[0].abs().sum(0)
    # The norms let every cell depend a little on the whole image.
    assert strength[ring].mean() > 5 * strength[rest].mean()


def test_grid_positions_are_distinct_and_of_the_stated_scale():
    positions = grid_positions(8, 96)[0]
    assert positions.shape == (64, 96)
    assert float(positions.square().mean().sqrt()) == pytest.approx(0.707, abs=0.01)
    distances = torch.cdist(positions, positions) + 10 * torch.eye(64)
    assert float(distances.min()) > 1.0


def segment_model() -> VLAAdapter:
    return VLAAdapter.from_config(VLAAdapterConfig.tiny(use_film=True, film_segment_tokens=3))


def test_film_segments_distinguish_word_orders_that_the_mean_cannot():
    model = segment_model()
    ids = torch.tensor([[5, 6, 7, 8, 9, 10], [5, 9, 7, 8, 6, 10]])  # two words change places
    embedded = model.decoder.embed_tokens(ids)
    with torch.no_grad():
        vector = model.film_vector(ids, embedded, None)
    whole = mean_embedding(embedded, None)
    torch.testing.assert_close(whole[0], whole[1])
    assert (vector[0] - vector[1]).abs().max() > 1e-2


def test_a_film_segment_depends_on_its_own_tokens_only():
    model = segment_model()
    ids = torch.tensor([[5, 6, 7, 0, 0, 0], [5, 6, 7, 8, 9, 10]])
    mask = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    with torch.no_grad():
        vector = model.film_vector(ids, model.decoder.embed_tokens(ids), mask)
    first, rest = vector[:, :128], vector[:, 128:]
    torch.testing.assert_close(first[0], first[1])
    assert not rest[0].any() and rest[1, :128].any()


def reader_model() -> VLAAdapter:
    return VLAAdapter.from_config(VLAAdapterConfig.tiny(use_film=True, film_slots=3))


@pytest.mark.parametrize('made', [segment_model, reader_model])
def test_film_ignores_padding_and_takes_long_prompts(made):
    model = made()
    ids = torch.arange(1, 41)[None]
    mask = (ids <= 31).long()
    with torch.no_grad():
        padded = model.film_vector(ids, model.decoder.embed_tokens(ids), mask)
        plain = model.film_vector(ids[:, :31], model.decoder.embed_tokens(ids[:, :31]), None)
    assert plain.shape == (1, model.config.film_width)
    torch.testing.assert_close(padded, plain)


def test_a_spelled_word_leaves_the_later_words_in_their_segments():
    config = VLAAdapterConfig.tiny(use_film=True, film_segment_tokens=3, film_pieces=(50, 60))
    model = VLAAdapter.from_config(config)
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 0, 0], [5, 6, 50, 59, 7, 8, 9, 10]])
    mask = (ids > 0).long()
    with torch.no_grad():
        known, spelled = model.film_vector(ids, model.decoder.embed_tokens(ids), mask)
        (alone,) = model.film_vector(ids[:1, :6], model.decoder.embed_tokens(ids[:1, :6]), None)
    torch.testing.assert_close(known[128:], spelled[128:])
    assert (known[:128] - spelled[:128]).abs().max() > 1e-2
    torch.testing.assert_close(alone, known)


@pytest.mark.parametrize(('film', 'tokens'), [(False, 3), (True, -1)])
def test_impossible_film_segments_are_refused(film, tokens):
    with pytest.raises(ConfigError, match='film_segment_tokens'):
        VLAAdapterConfig.tiny(use_film=film, film_segment_tokens=tokens)


def test_a_sentence_reader_sees_the_order_of_words():
    model = reader_model()
    ids = torch.tensor([[5, 6, 7, 8, 9, 10], [5, 9, 7, 8, 6, 10]])  # two words change places
    with torch.no_grad():
        first, second = model.film_vector(ids, model.decoder.embed_tokens(ids), None)
    assert first.shape == (model.config.film_width,) == (3 * model.config.language.hidden,)
    assert (first - second).abs().max() > 1e-2


@pytest.mark.parametrize(
    ('film', 'segment', 'slots'), [(False, 0, 3), (True, 3, 3), (True, 0, -1)]
)
def test_impossible_film_slots_are_refused(film, segment, slots):
    with pytest.raises(ConfigError, match='film_slots'):
        VLAAdapterConfig.tiny(use_film=film, film_segment_tokens=segment, film_slots=slots)


def test_keypoint_scores_alone_are_those_of_the_whole_encoder():
    config = VLAAdapterConfig.tiny(use_film=True, film_slots=3)
    towers = tuple(replace(t, patch=16, stem='conv', keypoints=4) for t in config.vision)
    model = VLAAdapter.from_config(replace(config, vision=towers)).eval()
    pixels = torch.randn(2, config.channels_per_image * 2, config.image_size, config.image_size)
    language, seen = torch.randn(2, config.film_width), []
    for tower in model.vision_backbone.towers:
        tower.keypoint.maps.register_forward_hook(lambda _, __, scores: seen.append(scores))
    with torch.no_grad():
        model.vision_backbone(pixels, language)
        alone = model.vision_backbone.keypoint_scores(pixels, language)
    for whole, part in zip(seen, alone):
        torch.testing.assert_close(part, whole)
    assert len(alone) == len(model.vision_backbone.towers) and alone[0].shape[1] == 4
