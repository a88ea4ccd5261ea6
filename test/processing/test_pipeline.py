# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From an observation to model inputs: order, caching, bad input, and what the checkpoint says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from vla_adapter_ros.errors import CheckpointError, InstructionError, ObservationError
from vla_adapter_ros.processing.images import ImageConfig, preprocess
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.processing.pipeline import InputPipeline, ProcessingConfig
from vla_adapter_ros.processing.statistics import Statistics, VectorStatistics
from vla_adapter_ros.processing.tokenizer import Tokenizer

IMAGES = ImageConfig(size=48, jpeg_round_trip=False)


def statistics(size=7):
    rows = np.stack([-np.ones(size), np.ones(size)])
    vector = VectorStatistics.from_data(np.repeat(rows, 500, axis=0))
    return Statistics('own', vector, vector)


@pytest.fixture
def pipeline():
    config = ProcessingConfig(
        images=IMAGES,
        cameras=('third_person', 'wrist'),
        prompt_format='plain',
        rotations={'wrist': 180},
        zero_constant=True,
    )
    return InputPipeline(config, Tokenizer.from_texts(), statistics())


def observation(**changes):
    random = np.random.default_rng(1)
    values = {
        'images': {
            name: random.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            for name in ('wrist', 'third_person')
        },
        'proprioception': np.linspace(-0.5, 0.5, 7),
        'instruction': 'Put the red block into the bin',
        'stamp': 3.0,
    }
    return Observation(**(values | changes))


def test_inputs_have_the_networks_shapes_and_types(pipeline):
    inputs = pipeline(observation())
    assert inputs.pixel_values.shape == (12, 48, 48)
    assert inputs.pixel_values.dtype == np.float32
    assert inputs.input_ids.dtype == np.int64
    assert inputs.proprio.dtype == np.float32
    np.testing.assert_allclose(inputs.proprio, np.linspace(-0.5, 0.5, 7), atol=1e-7)


def test_cameras_come_in_the_checkpoints_order_and_rotation(pipeline):
    seen = observation()
    pixels = pipeline(seen).pixel_values
    np.testing.assert_array_equal(pixels[:6], preprocess(seen.images['third_person'], IMAGES))
    upside_down = preprocess(seen.images['wrist'], IMAGES, rotate=180)
    np.testing.assert_array_equal(pixels[6:], upside_down)


def test_cached_images_give_the_same_pixels(pipeline):
    seen = observation()
    stored = pipeline.config.resized_views(seen.images)
    np.testing.assert_array_equal(pipeline.model_pixels(stored), pipeline(seen).pixel_values)


def test_views_that_are_already_resized_are_not_turned_again(pipeline):
    seen = observation()
    views = dict(zip(pipeline.config.cameras, pipeline.config.resized_views(seen.images)))
    sent = replace(seen, images=views, resized=True)
    np.testing.assert_array_equal(pipeline(sent).pixel_values, pipeline(seen).pixel_values)
    with pytest.raises(ObservationError, match=r'wrist image: .* \(48, 48, 3\).*already resized'):
        pipeline(replace(sent, images=views | {'wrist': seen.images['wrist']}))


def test_prompt_is_tokenised_once_and_cannot_be_changed(pipeline):
    first = pipeline.prompt_ids('Stack the blocks')
    assert pipeline.prompt_ids('Stack the blocks') is first
    with pytest.raises(ValueError, match='read-only'):
        first[0] = 3
    np.testing.assert_array_equal(pipeline.prompt_ids('  stack the BLOCKS '), first)


def test_prompt_memory_is_bounded(pipeline):
    for number in range(200):
        pipeline.prompt_ids(f'move to position {number}')
    assert len(pipeline._prompts) == 64


@pytest.mark.parametrize(
    ('changes', 'error', 'complaint'),
    (
        ({'images': {'wrist': np.zeros((4, 4, 3), np.uint8)}}, ObservationError, 'third_person'),
        (
            {'images': {n: np.zeros((4, 4, 3)) for n in ('wrist', 'third_person')}},
            ObservationError,
            'third_person image: got dtype float64',
        ),
        ({'proprioception': np.zeros(6)}, ObservationError, r'\(6,\), expected \(7,\)'),
        ({'proprioception': np.full(7, np.nan)}, ObservationError, 'finite'),
        ({'instruction': ''}, InstructionError, 'empty'),
    ),
)
def test_bad_observation_is_refused_with_the_reason(pipeline, changes, error, complaint):
    with pytest.raises(error, match=complaint):
        pipeline(observation(**changes))


def test_config_survives_json(pipeline):
    data = json.loads(json.dumps(pipeline.config.to_dict()))
    assert ProcessingConfig.from_dict(data) == pipeline.config


@pytest.mark.parametrize(
    'data', ({'promt': 'x'}, {'prompt_format': 'x'}, {'normalisation': 'x'}, {'images': {'x': 1}})
)
def test_bad_config_is_refused(data):
    with pytest.raises(CheckpointError, match='preprocessing'):
        ProcessingConfig.from_dict(data)
