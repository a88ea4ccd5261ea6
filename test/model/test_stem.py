# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What makes the convolutional stem train faster on a CPU changes no number."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from support.model_cases import relative_error, small_batch, small_config
from vla_adapter_ros.architecture.config import VisionTowerConfig
from vla_adapter_ros.model.small import stem
from vla_adapter_ros.model.vla import VLAAdapter

TOWER = {'width': 32, 'depth': 2, 'heads': 2, 'mlp_hidden': 64, 'patch': 8, 'image_size': 32}
CONV = VisionTowerConfig(stem='conv', keypoints=8, pool=2, **TOWER)


def plain_norm(x, norm, film):
    """As it is written down."""
    scale, shift = film[..., None, None].chunk(2, dim=1)
    return norm(x) * (1 + scale) + shift


@pytest.fixture
def plain(monkeypatch):
    """Switch both off from the call on."""

    def switch_off():
        monkeypatch.setattr(stem, 'conditioned_norm', plain_norm)
        monkeypatch.setattr(stem, 'channels_inside', lambda images: images)

    return switch_off


def random_norm(channels):
    norm = nn.GroupNorm(1, channels).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


def test_norm_and_film_in_one_have_the_right_values_and_gradients():
    torch.manual_seed(0)
    norm = random_norm(3)
    x = torch.randn(2, 3, 2, 3, dtype=torch.float64).add_(2).requires_grad_()
    film = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    got = stem.conditioned_norm(x, norm, film)
    assert type(got.grad_fn).__name__ != 'AddcmulBackward0'
    torch.testing.assert_close(got, plain_norm(x, norm, film))
    leaves = (x, film, *norm.parameters())
    back = torch.randn_like(got)
    wanted = torch.autograd.grad(plain_norm(x, norm, film), leaves, back)
    for mine, right in zip(torch.autograd.grad(got, leaves, back), wanted):
        torch.testing.assert_close(mine, right)
    with torch.no_grad():  # another way, for inference and export
        torch.testing.assert_close(stem.conditioned_norm(x, norm, film), got)


def train(steps):
    """Train a small network with the stem; returns losses and weights."""
    torch.manual_seed(0)
    config = small_config(vision=(CONV, CONV), use_film=True)
    model = VLAAdapter.from_config(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    batch, losses = small_batch(config, batch=4), []
    for step in range(steps):
        torch.manual_seed(step)  # of the latent noise
        loss, _ = model.compute_loss(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses, model.state_dict()


@pytest.mark.slow(reason='forty steps: two seconds; the gradients themselves are always checked')
def test_twenty_steps_of_training_are_those_of_the_plain_form(plain):
    losses, weights = train(20)
    plain()
    wanted, right = train(20)
    assert wanted[-1] < 0.9 * wanted[0]
    assert losses == pytest.approx(wanted, rel=1e-5)
    # Adam divides by the gradient's size: where that is rounding alone, signs decide.
    close = [name for name in right if relative_error(weights[name], right[name]) < 1e-4]
    assert len(close) > 0.9 * len(right)


def test_maps_that_a_sentence_asks_for_add_its_filters_and_keep_the_layout(monkeypatch):
    torch.manual_seed(0)
    tower = VisionTowerConfig(
        stem='conv', keypoints=8, pool=2, local_keypoints=2, asked_keypoints=3, **TOWER
    )
    keypoint = stem.KeypointToken(tower, film_width=5)
    sources = stem.ConvStem.map_widths(tower)
    maps = [
        stem.channels_inside(torch.randn(2, width, 8 >> i, 8 >> i)).requires_grad_()
        for i, width in enumerate(sources)
    ]
    language = torch.randn(2, 5)
    layouts, plain_gelu, inside = [], nn.functional.gelu, torch.channels_last

    def gelu(x):
        result = plain_gelu(x)
        result.register_hook(lambda g: layouts.append(g.is_contiguous(memory_format=inside)))
        return result

    monkeypatch.setattr(nn.functional, 'gelu', gelu)
    seen = []
    keypoint.maps.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    got = keypoint.scores(maps, language)
    filters = keypoint.filters
    keypoint.filters = None
    wanted = keypoint.scores(maps, language)  # the maps' own filters alone
    asked = filters(language).view(2, 3, -1) @ seen[0].flatten(2)
    wanted[:, :3] += asked.view(2, 3, *wanted.shape[2:])
    torch.testing.assert_close(got, wanted)
    got.square().sum().backward()  # a gradient that lies otherwise makes GELU's four times slower
    assert layouts == [True, True]
