# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Which of two named objects has its turn is decided once, by all cameras together."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import VisionTowerConfig, VLAAdapterConfig
from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.model.small.turn import FIRST, NOW, SECOND, Turn

WIDTH, FILM, CAMERAS, SIDE = 6, 5, 2, 8
TOWER = {'width': 32, 'depth': 2, 'heads': 2, 'mlp_hidden': 64, 'patch': 8, 'image_size': 32}


def make_turn() -> Turn:
    torch.manual_seed(0)
    return Turn(WIDTH, FILM, 16, CAMERAS)


def observations(count):
    """Features, scores and FiLM's vectors of observations of two cameras."""
    images = count * CAMERAS
    features, scores = torch.randn(images, WIDTH, SIDE, SIDE), torch.randn(images, 7, SIDE, SIDE)
    return features, scores, torch.randn(count, FILM).repeat_interleave(CAMERAS, dim=0)


@pytest.mark.parametrize(('bias', 'whose'), [(50.0, FIRST), (-50.0, SECOND)])
def test_the_first_map_gets_the_scores_of_the_object_whose_turn_it_is(bias, whose):
    turn = make_turn()
    torch.nn.init.constant_(turn.share.bias, bias)
    features, scores, language = observations(2)
    mixed = turn(features, scores, language)
    torch.testing.assert_close(mixed[:, NOW], scores[:, NOW] + scores[:, whose])
    torch.testing.assert_close(mixed[:, 1:], scores[:, 1:])


def test_one_camera_tells_the_other_and_no_other_observation():
    turn = make_turn()
    features, scores, language = observations(2)
    before = turn(features, scores, language)
    features[0] += 10 * torch.randn(WIDTH, SIDE, SIDE)  # the first camera of the first one
    changed = (turn(features, scores, language) - before).abs().flatten(2).amax(-1) > 1e-4
    assert changed[:, NOW].tolist() == [True, True, False, False]
    assert not changed[:, 1:].any()


def test_the_look_of_the_first_object_decides_after_a_few_steps():
    # The first object's place differs in each scene; there, in one camera, a feature says "done".
    turn, generator = make_turn(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(turn.parameters(), lr=0.02)

    def scene(count):
        features = torch.zeros(count, CAMERAS, WIDTH, SIDE * SIDE)
        places = torch.randint(SIDE * SIDE, (3, count), generator=generator)
        scores, rows = torch.zeros(count, CAMERAS, 4, SIDE * SIDE), torch.arange(count)
        for number, place in zip((1, FIRST, SECOND), places):
            scores[rows, :, number, place] = 9.0
        done = torch.rand(count, generator=generator) < 0.5
        features[rows, 0, 0, places[1]] = done.float()
        features[rows, 0, 0, places[0]] += 0.5  # the same feature elsewhere tells nothing
        sides = (SIDE, SIDE)
        mixed = turn(
            features.flatten(0, 1).unflatten(-1, sides), scores.flatten(0, 1).unflatten(-1, sides),
            torch.zeros(count * CAMERAS, FILM),
        )  # fmt: skip
        now = torch.where(done, places[2], places[1]).repeat_interleave(CAMERAS)
        return mixed[:, NOW].flatten(1), now

    for _ in range(150):
        loss = F.cross_entropy(*scene(64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores, now = scene(500)
    assert (scores.argmax(-1) == now).float().mean() > 0.97


@pytest.mark.parametrize(
    ('fields', 'film', 'named'),
    [
        ({'keypoints': 3}, True, 'keypoints: got 3, turn_hidden needs 4'),
        ({'keypoints': 4}, False, 'use_film: got False'),
        ({'keypoints': 4, 'turn_hidden': -1}, True, 'turn_hidden: got -1'),
    ],
)
def test_a_turn_without_its_maps_or_its_sentence_is_refused(fields, film, named):
    with pytest.raises(ConfigError, match=named):
        tower = VisionTowerConfig(**{'stem': 'conv', 'turn_hidden': 8, **TOWER, **fields})
        VLAAdapterConfig.tiny(use_film=film, vision=(tower,))
