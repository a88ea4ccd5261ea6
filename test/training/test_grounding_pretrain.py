# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Encoders learn to find what an instruction names, and training begins from them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from support.training_samples import SMALL, squares
from vla_adapter_ros.errors import CheckpointError, ConfigError, VLAAdapterError
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.training.config import load_config
from vla_adapter_ros.training.experiments.grounding.loss import (
    WEIGHTS,
    grounding_loss,
    load_grounded,
    point_accuracy,
    point_mass,
)
from vla_adapter_ros.training.experiments.grounding.pretrain import (
    Grounder,
    GroundingSettings,
    ground,
    main,
)
from vla_adapter_ros.training.model_setup import network_config


def test_the_mass_of_a_point_lies_at_the_point():
    points = torch.tensor([[0.31, 0.62], [0.0, 1.0], [0.5, 0.5]])
    mass = point_mass(points, 6, 8)
    torch.testing.assert_close(mass.flatten(1).sum(1), torch.ones(3))
    across = (mass.sum(1) * (torch.arange(8) + 0.5) / 8).sum(1)
    down = (mass.sum(2) * (torch.arange(6) + 0.5) / 6).sum(1)
    # A point at the rim belongs to the cell at the rim.
    torch.testing.assert_close(across, points[:, 0].clamp(0.5 / 8, 7.5 / 8))
    torch.testing.assert_close(down, points[:, 1].clamp(0.5 / 6, 5.5 / 6))


def test_the_loss_asks_for_points_in_sight_only():
    points = torch.tensor([[[[0.25, 0.25, 1.0], [0.9, 0.9, 0.0]]]])  # one image, one camera
    scores = torch.zeros(1, 4, 4, 4)
    at, elsewhere = scores.clone(), scores.clone()
    at[0, 0, 0:2, 0:2] = 5.0
    elsewhere[0, 1, 0, 0] = 5.0
    assert grounding_loss([at], points) < grounding_loss([scores], points)
    assert grounding_loss([elsewhere], points) == grounding_loss([scores], points)
    right = point_accuracy([at], points)
    assert torch.isnan(right[0, 0, 1])


def test_a_named_colour_is_found_after_a_few_steps():
    settings = GroundingSettings(steps=60, lr=5e-3)
    grounder = Grounder(load_config(None, SMALL), squares(200), settings)
    before = grounder.evaluate()
    losses = [loss for _, loss in grounder.train()]
    after = grounder.evaluate()
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])
    assert after['object_found'] > 0.9 > before['object_found']


def test_training_begins_with_grounded_encoders(tmp_path):
    config = load_config(None, SMALL)
    ground(config, squares(40), tmp_path, GroundingSettings(steps=4, every=2))
    lines = [json.loads(line) for line in (tmp_path / 'grounding.jsonl').read_text().splitlines()]
    assert [line['step'] for line in lines] == [2, 4]
    assert not (tmp_path / 'checkpoints').exists()
    grounder = Grounder(config, squares(40), GroundingSettings())
    sizes = {'num_images': 2, 'vocab_size': grounder.batches.tokenizer.vocab_size}
    model = VLAAdapter.from_config(network_config(config.model, **sizes))
    before = model.vision_backbone.featurizer.keypoint.maps.weight.clone()
    load_grounded(model, tmp_path)
    assert not torch.equal(before, model.vision_backbone.featurizer.keypoint.maps.weight)
    other = load_config(None, (*SMALL, 'model.vision.width=24'))
    with pytest.raises(CheckpointError, match=r'(?s)does not fit.*vision_backbone'):
        load_grounded(VLAAdapter.from_config(network_config(other.model, **sizes)), tmp_path)


def test_an_interrupted_grounding_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    config, settings = load_config(None, SMALL), GroundingSettings(steps=4, every=2)
    ground(config, squares(40), tmp_path / 'whole', settings)
    train = Grounder.train

    def killed(self, first=0):
        for step, loss in train(self, first):
            if step == 3:
                raise KeyboardInterrupt
            yield step, loss

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Grounder, 'train', killed)
        ground(config, squares(40), tmp_path / 'cut', settings)
    with pytest.raises(ConfigError, match=r'begun with lr 0\.002'):
        ground(config, squares(40), tmp_path / 'cut', replace(settings, lr=1e-3))
    ground(config, squares(40), tmp_path / 'cut', settings)
    for name in (WEIGHTS, 'grounding.jsonl'):
        assert (tmp_path / 'cut' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()
    with pytest.raises(ConfigError, match='finished grounding'):
        ground(config, squares(40), tmp_path / 'cut', settings)


def test_bad_input_is_refused_in_one_line(tmp_path, capsys):
    with pytest.raises(ConfigError, match='keypoints'):
        few = load_config(None, (*SMALL, 'model.vision.keypoints=1'))
        Grounder(few, squares(4), GroundingSettings())
    larger = load_config(None, (*SMALL, 'model.vision.image_size=64'))
    with pytest.raises(VLAAdapterError, match='expects'):
        Grounder(larger, squares(4), GroundingSettings()).evaluate()
    with pytest.raises(CheckpointError, match=WEIGHTS):
        load_grounded(torch.nn.Module(), tmp_path)
    with pytest.raises(VLAAdapterError, match=r'start\.grounded'):
        load_config(None, ('start.kind=checkpoint', 'start.path=x', 'start.grounded=y'))
    assert main(['--scenes', str(tmp_path), '--out', str(tmp_path / 'out')]) == 1
    assert 'no images' in capsys.readouterr().err
