# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The image path against values that TensorFlow and the official image processor gave.

`golden/tensorflow_images.npz` was made with TensorFlow 2.21 by the operations of the official
evaluation; `golden/image_processor.npz` by the official processor (every ninth pixel is kept).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vla_adapter_ros.errors import CheckpointError, ObservationError
from vla_adapter_ros.processing import images as images_module
from vla_adapter_ros.processing.images import (
    OWN_IMAGES,
    ImageConfig,
    centre_crop,
    crop_and_normalise,
    jpeg_round_trip,
    preprocess,
    resize_for_model,
)
from vla_adapter_ros.processing.resize import _bands, lanczos3, lanczos_matrix

GOLDEN = Path(__file__).parents[1] / 'golden'
CASES = ('shrink', 'enlarge', 'square')


@pytest.fixture(scope='module')
def tensorflow():
    return np.load(GOLDEN / 'tensorflow_images.npz')


@pytest.fixture(scope='module')
def processor():
    return np.load(GOLDEN / 'image_processor.npz')


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize('case', CASES)
def test_jpeg_round_trip_is_bit_equal_to_tensorflow(tensorflow, case):
    ours = jpeg_round_trip(tensorflow[f'{case}_image'])
    np.testing.assert_array_equal(ours, tensorflow[f'{case}_jpeg'])


@pytest.mark.parametrize('case', ('shrink', 'enlarge'))
def test_resize_is_tensorflows_lanczos(tensorflow, case):
    theirs = tensorflow[f'{case}_resized']
    ours = lanczos3(tensorflow[f'{case}_jpeg'], len(theirs))
    pixels = tensorflow[f'{case}_jpeg'].astype(np.float64)
    axes = [lanczos_matrix(size, len(theirs)).astype(np.float64) for size in pixels.shape[:2]]
    exact = np.einsum('ih,jw,hwc->ijc', *axes, pixels, optimize=True)
    # Each of the two sums errs by u = 2⁻²⁴ of its absolute terms for each of them, whatever their
    # order, and its weights by a few u: only so near the middle between two levels may a pixel
    # be rounded to either.
    terms = max(np.count_nonzero(axis, axis=1).max() for axis in axes)
    sizes = np.einsum('ih,jw,hwc->ijc', *map(np.abs, axes), pixels, optimize=True)
    room = 2 * (terms + 8) * 2.0**-24 * sizes
    for picture in (ours, theirs):
        assert (np.abs(picture - exact.clip(0, 255)) <= 0.5 + room).all()


@pytest.mark.parametrize('case', CASES)
def test_centre_crop_is_bit_equal_to_tensorflow(tensorflow, case):
    ours = centre_crop(tensorflow[f'{case}_resized'], 0.9)
    np.testing.assert_array_equal(ours, tensorflow[f'{case}_cropped'])


def test_normalisation_is_bit_equal_to_the_official_processor(processor):
    pixels = preprocess(processor['image'], ImageConfig(crop_area=1.0))
    assert pixels.shape == (6, 224, 224)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels[:, ::9, ::9], processor['pixel_values'])


def test_bicubic_resize_is_bit_equal_to_the_official_processor(processor):
    config = ImageConfig(crop_area=1.0, jpeg_round_trip=False, resize='bicubic')
    pixels = preprocess(processor['image_200x260'], config)
    np.testing.assert_array_equal(pixels[:, ::9, ::9], processor['pixel_values_200x260'])


def test_default_is_the_whole_official_chain(tensorflow):
    config = ImageConfig(size=56)
    uncropped = ImageConfig(size=56, crop_area=1.0)
    expected = crop_and_normalise(tensorflow['shrink_cropped'], uncropped)
    pixels = preprocess(tensorflow['shrink_image'], config)
    # One level is 1/255/0.2236 = 0.0175 after normalisation.
    assert (np.abs(pixels - expected) > 1e-6).mean() < 1e-3
    assert np.abs(pixels - expected).max() < 0.018


def test_image_of_model_size_is_neither_compressed_nor_resized(processor):
    image = processor['image']
    np.testing.assert_array_equal(resize_for_model(image, ImageConfig()), image)


def test_own_images_skip_the_jpeg_round_trip(photo):
    np.testing.assert_array_equal(resize_for_model(photo, OWN_IMAGES), lanczos3(photo, 224))
    assert (resize_for_model(photo, ImageConfig()) != resize_for_model(photo, OWN_IMAGES)).any()


@pytest.mark.parametrize('size_in', (1, 7, 224, 480, 640, 1080))
def test_resize_weights_sum_to_one(size_in):
    matrix = lanczos_matrix(size_in, 224)
    # Every weight is rounded once, and their sum, which they are divided by, at every term.
    room = (np.count_nonzero(matrix, axis=1) + 2) * 2.0**-24 * np.abs(matrix).sum(axis=1)
    assert (np.abs(matrix.sum(axis=1, dtype=np.float64) - 1.0) <= room).all()


@pytest.mark.parametrize('shape', ((1, 1), (5, 700), (224, 640), (480, 224)))
def test_any_size_is_resized_and_constant_stays_constant(shape):
    image = np.full((*shape, 3), (3, 130, 255), np.uint8)
    resized = resize_for_model(image, OWN_IMAGES)
    assert resized.shape == (224, 224, 3)
    assert (resized == (3, 130, 255)).all()


@pytest.mark.parametrize('degrees', (90, 180, 270))
def test_rotation_is_clockwise(photo, degrees):
    square = photo[:48, :48]
    config = ImageConfig(size=48, rotate=degrees)
    rotated = resize_for_model(square, config)
    corner = {90: rotated[0, -1], 180: rotated[-1, -1], 270: rotated[-1, 0]}[degrees]
    np.testing.assert_array_equal(corner, square[0, 0])
    np.testing.assert_array_equal(resize_for_model(square, config, rotate=0), square)


def test_input_is_never_changed(photo):
    before = photo.copy()
    preprocess(photo, ImageConfig(rotate=180))
    np.testing.assert_array_equal(photo, before)


def test_one_tower_gives_three_channels(photo):
    config = ImageConfig(normalisations=(((0.5, 0.5, 0.5), (0.25, 0.5, 1.0)),), crop_area=1.0)
    white = preprocess(np.full_like(photo, 255), config)
    np.testing.assert_allclose(white[:, 0, 0], [2.0, 1.0, 0.5])


@pytest.mark.parametrize(
    ('image', 'complaint'),
    (
        (np.zeros((4, 4), np.uint8), 'got shape (4, 4)'),
        (np.zeros((4, 4, 4), np.uint8), 'got shape (4, 4, 4)'),
        (np.zeros((4, 4, 3), np.float32), 'float32'),
        (np.zeros((0, 4, 3), np.uint8), 'non-empty'),
        ([[0, 0, 0]], 'got shape None'),
    ),
)
def test_bad_image_is_refused_with_what_it_is(image, complaint):
    with pytest.raises(ObservationError) as error:
        preprocess(image)
    assert complaint in str(error.value)


def test_config_survives_plain_data():
    config = ImageConfig(size=96, jpeg_round_trip=False, rotate=180)
    assert ImageConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    'data',
    (
        {'sise': 3},
        {'size': 0},
        {'size': '224'},
        {'crop_area': 0.0},
        {'crop_area': None},
        {'rotate': 45},
        {'resize': 'area'},
        {'normalisations': [[0.5, 0.5]]},
        {'normalisations': []},
    ),
)
def test_bad_config_is_refused_naming_the_key(data):
    with pytest.raises(CheckpointError, match=next(iter(data))):
        ImageConfig.from_dict(data)


def test_own_path_skips_the_jpeg_and_multiplies_only_what_it_needs(monkeypatch):
    """Why it costs 2 ms: no encoding, and a sixteenth of a dense product, in float32."""

    def refused(_):
        raise AssertionError('the own path has no JPEG round trip')

    monkeypatch.setattr(images_module, 'jpeg_round_trip', refused)
    monkeypatch.setattr(images_module, '_pillow_bicubic', refused)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert preprocess(image, OWN_IMAGES).dtype == np.float32
    for size in image.shape[:2]:
        bands = _bands(size, 224)
        assert {band.weights.dtype for band in bands} == {np.dtype(np.float32)}
        assert sum(band.weights.size for band in bands) < size * 224 / 16
