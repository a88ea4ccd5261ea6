# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Images with points go along with training, so that encoders keep finding what is named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from support.training_samples import SMALL, config, make_dataset, squares, weights
from vla_adapter_ros.errors import ConfigError, DatasetError
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.training import train
from vla_adapter_ros.training.assembly import build_setup
from vla_adapter_ros.training.experiments.grounding.batches import SceneBatches
from vla_adapter_ros.training.experiments.grounding.loss import point_accuracy, scene_scores
from vla_adapter_ros.training.experiments.grounding.scenes import (
    GroundingScenes,
    load_scenes,
    save_shard,
)


@pytest.fixture(scope='module')
def places(tmp_path_factory):
    """A dataset, images for its two cameras, and a tokenizer that knows their words."""
    root = tmp_path_factory.mktemp('scenes')
    one = squares(200)
    images, points = np.repeat(one.images, 2, 1), np.repeat(one.points, 2, 2)
    both = GroundingScenes(images, points, one.instructions)
    save_shard(root / 'scenes', 0, both)
    Tokenizer.from_texts(sorted({t for texts in both.instructions for t in texts})).save(root)
    return make_dataset(root / 'data', episodes=2), root / 'scenes', root


def configure(places, output, *more):
    data, scenes, tokenizer = places
    return config(
        data, output, SMALL[0], f'tokenizer={tokenizer}', f'grounding.scenes=[{scenes}]',
        'data.validation_fraction=0', 'data.augment=false', *more,
    )  # fmt: skip


def fraction_found(checkpoint, places):
    """Return the fraction of held-out images in which the named square is found."""
    pipeline = build_setup(configure(places, checkpoint), progress=False).pipeline
    model = VLAAdapter.from_pretrained(str(checkpoint)).eval()
    scenes = load_scenes(places[1])
    batches = SceneBatches(scenes, pipeline.tokenizer, pipeline.config)
    last = np.arange(batches.training, len(scenes.images))
    batch = batches.make(last, last % 3, torch.device('cpu'))
    with torch.no_grad():
        return float(point_accuracy(scene_scores(model, batch), batch['points'])[..., 0].nanmean())


@pytest.mark.slow(reason='two trainings of 80 steps')
def test_encoders_learn_to_find_what_is_named_while_the_policy_trains(places, tmp_path):
    run = ('steps=80', 'save.every=80', 'optimizer.lr=5e-3', 'schedule.warmup=0.03')
    pointed = configure(places, tmp_path / 'with', *run, 'grounding.weight=1')
    alone = configure(places, tmp_path / 'without', *run, 'grounding.scenes=[]')
    assert fraction_found(train.run(pointed), places) > 0.8
    assert fraction_found(train.run(alone), places) < 0.5


def test_a_resumed_run_sees_the_same_images(places, tmp_path):
    run = ('steps=4', 'save.every=2')
    whole = train.run(configure(places, tmp_path / 'whole', *run))
    cut = train.run(configure(places, tmp_path / 'cut', *run))
    shutil.rmtree(cut)
    again = train.run(configure(places, tmp_path / 'cut', *run))
    mine, theirs = weights(whole), weights(again)
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


def test_several_folders_are_read_as_one_and_none_is_refused(places, tmp_path):
    one, both = load_scenes(places[1]), load_scenes(places[1], places[1])
    assert len(both.images) == len(both.instructions) == 2 * len(one.images)
    with pytest.raises(DatasetError, match='no images'):
        load_scenes(places[1], tmp_path)


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ('model.vision.keypoints=1', 'at least 2 keypoints'),
        ('model.vision.image_size=48', 'images of 2 cameras, 32 px wide; .* 48 px'),
        ('grounding.scenes=[nowhere]', 'nowhere: no images'),
        ('adaptation.mode=frozen', r'grounding\.scenes: .* encoders do not train'),
        ('grounding.weight=0', r'grounding\.weight: got 0'),
    ],
)
def test_what_does_not_fit_is_refused_before_training(places, tmp_path, setting, message):
    with pytest.raises((ConfigError, DatasetError), match=message):
        # The recipe's local keypoints would not fit a tower with one keypoint.
        settings = ('model.vision.local_keypoints=0', setting)
        build_setup(configure(places, tmp_path, *settings), progress=False)
