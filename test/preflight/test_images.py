# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A live image is compared numerically with the training data."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vla_adapter_ros.preflight.checks import FAIL, PASS, WARN
from vla_adapter_ros.preflight.image_check import (
    check_image,
    compare,
    dataset_references,
    image_sheet,
    reference_of,
)


def scene(seed=0, shift=0, light=1.0):
    """A table with a red block at the left and an arm at the top right, with sensor noise."""
    image = np.full((480, 640, 3), (150, 140, 120), np.float32)
    image[:160] = (90, 100, 110)
    image[40:260, 430:480] = (40, 40, 45)
    image[300:380, 120 + shift : 200 + shift] = (200, 40, 30)
    noise = np.random.default_rng(seed).normal(0, 6, image.shape)
    return np.clip(image * light + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def reference():
    return reference_of([scene(seed, shift=10 * seed) for seed in range(12)])


def test_same_view_passes_with_figures(reference):
    check = check_image('wrist', scene(99, shift=37), reference)
    assert check.verdict == PASS
    assert 'similarity 0.9' in check.detail
    assert 'brightness' in check.detail
    assert 'mean of 12 frames' in check.detail


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda image: np.rot90(image, 2), 'rotated by 180°'),
        (lambda image: cv2.resize(np.rot90(image, 1), (640, 480)), 'rotated by 90° clockwise'),
        (lambda image: image[:, ::-1], 'mirrored left to right'),
        (lambda image: image[..., ::-1], 'red and blue are swapped'),
        (lambda image: (image * 0.4).astype(np.uint8), 'darker than the data'),
        (lambda image: np.clip(image * 1.6, 0, 255).astype(np.uint8), 'brighter than the data'),
    ],
)
def test_changed_view_is_named(reference, change, words):
    check = check_image('wrist', np.ascontiguousarray(change(scene(99))), reference)
    assert check.verdict == WARN
    assert words in check.detail


def test_only_what_is_wrong_is_said(reference):
    detail = check_image('wrist', (scene(99) * 0.4).astype(np.uint8), reference).detail
    assert 'turned' not in detail
    assert 'swapped' not in detail
    assert 'scene or view differ' not in detail


def test_other_scene_is_noticed(reference):
    random = np.random.default_rng(3).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    other = cv2.resize(random, (640, 480), interpolation=cv2.INTER_CUBIC)
    assert check_image('wrist', other, reference).verdict == WARN


def test_blank_image_fails_even_without_a_reference():
    check = check_image('wrist', np.full((480, 640, 3), 8, np.uint8), None)
    assert check.verdict == FAIL
    assert 'lens cap' in check.detail


def test_brightness_may_vary_as_much_as_the_data(reference):
    lights = (0.6, 0.8, 1.0, 1.2, 1.4)
    lit = reference_of([scene(s, light=light) for s, light in enumerate(lights)])
    darker = (scene(99) * 0.75).astype(np.uint8)
    assert 'darker' in check_image('wrist', darker, reference).detail
    assert 'darker' not in check_image('wrist', darker, lit).detail


def test_size_of_the_data_does_not_matter(reference):
    small = cv2.resize(scene(99), (224, 224), interpolation=cv2.INTER_AREA)
    assert compare(small, reference).similarity == pytest.approx(
        compare(scene(99), reference).similarity, abs=0.02
    )


def test_grey_data_says_nothing_of_colour():
    grey = [np.repeat(scene(s).mean(-1, keepdims=True), 3, -1).astype(np.uint8) for s in range(3)]
    assert compare(scene(5)[..., ::-1].copy(), reference_of(grey)).colour == 0.0


def test_reference_is_spread_over_the_data_set():
    read = []

    def images(episode, camera, frames):
        read.append((episode, camera, list(frames)))
        return [scene(episode) for _ in frames]

    source = SimpleNamespace(
        cameras=('third_person', 'wrist'),
        episodes=[SimpleNamespace(length=50) for _ in range(4)],
        images=images,
    )
    found = dataset_references(source, frames=8)
    assert list(found) == ['third_person', 'wrist']
    assert found['wrist'].frames == 8
    assert [episode for episode, camera, _ in read if camera == 'wrist'] == [0, 1, 2, 3]
    assert read[0][2] == [0, 49]


def test_reference_of_a_recorded_data_set_fits_its_own_camera(tmp_path):
    from support.data_samples import contract, image, observations, targets
    from vla_adapter_ros.data.lerobot.writer import DatasetWriter
    from vla_adapter_ros.data.sources import open_source

    with DatasetWriter(tmp_path / 'set', contract(), storage='image') as writer:
        for seed in range(2):
            writer.add_episode(observations(20, seed=0), targets(20, seed))
    found = dataset_references(open_source(tmp_path / 'set'))
    assert set(found) == {'third_person', 'wrist'}
    assert found['wrist'].frames == 40
    assert check_image('third_person', image(0, 10), found['third_person']).verdict == PASS
    # The wrist camera sees another image: swapped cables are noticed.
    assert check_image('third_person', image(3, 10), found['third_person']).verdict == WARN


def test_sheet_shows_live_beside_mean(tmp_path, reference):
    path = tmp_path / 'sheet.png'
    image_sheet({'wrist': scene(1), 'third_person': scene(2)}, {'wrist': reference}, path)
    sheet = cv2.imread(str(path))
    assert sheet.shape == (720, 968, 3)
    left, right = sheet[60:360, :480], sheet[60:360, 488:]
    assert np.corrcoef(left.ravel(), right.ravel())[0, 1] > 0.8
    assert sheet[500, 700].tolist() == [64, 64, 64]  # no data for this camera
