# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Training augmentation against TensorFlow's operations (see test_images.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vla_adapter_ros.processing import augment as ours
from vla_adapter_ros.processing.augment import AugmentConfig, augment, normalise_pixels
from vla_adapter_ros.processing.images import ImageConfig, crop_and_normalise
from vla_adapter_ros.processing.pixels import to_device

GOLDEN = Path(__file__).parents[1] / 'golden'


@pytest.fixture(scope='module')
def tensorflow():
    return np.load(GOLDEN / 'tensorflow_images.npz')


def planes(images):
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


@pytest.mark.parametrize('name', ('brightness', 'contrast', 'saturation', 'hue'))
def test_colour_change_equals_tensorflows(tensorflow, name):
    images = planes(tensorflow['augment_images']).float() / 255.0
    change = torch.from_numpy(tensorflow[f'augment_{name}_by'])
    result = getattr(ours, f'adjust_{name}')(images, change)
    expected = planes(tensorflow[f'augment_{name}'])
    assert (result - expected).abs().max() < 2e-6
    assert (result - images).abs().max() > 0.01


def test_colours_without_hue_or_at_the_edge_of_the_cube_are_no_exception():
    levels = torch.tensor([0.0, 0.2, 1.0])
    grey = levels.view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    for change in (ours.adjust_hue, ours.adjust_saturation):
        for by in (0.0, 0.05, 1.2):
            assert torch.equal(change(grey, torch.full((3,), by)), grey)
    # A third of a turn hands each channel's value to the next one.
    cube = torch.cartesian_prod(levels, levels, levels).view(1, -1, 1, 3).permute(0, 3, 1, 2)
    for turns in (1, 2, 4):
        turned = ours.adjust_hue(cube, torch.tensor([turns / 3]))
        assert (turned - cube.roll(turns, dims=1)).abs().max() < 1e-5


def test_crop_equals_tensorflows(tensorflow):
    images = planes(tensorflow['augment_images']).float() / 255.0
    offsets = torch.from_numpy(tensorflow['augment_crop_offsets'])
    result = ours.crop_and_resize(images, offsets, 0.9**0.5)
    assert (result - planes(tensorflow['augment_crop'])).abs().max() < 2e-5


def test_no_change_asked_leaves_images_alone(tensorflow):
    images = planes(tensorflow['augment_images'])
    still = AugmentConfig(1.0, 0.0, (1.0, 1.0), (1.0, 1.0), 0.0)
    difference = augment(images, still).int() - images.int()
    assert difference.abs().max() <= 1


def test_every_image_gets_its_own_draw_and_a_seed_repeats_them(tensorflow):
    images = planes(tensorflow['augment_images'])[:1].expand(4, -1, -1, -1)
    first = augment(images, AugmentConfig(), torch.Generator().manual_seed(3))
    again = augment(images, AugmentConfig(), torch.Generator().manual_seed(3))
    assert torch.equal(first, again)
    assert first.dtype == torch.uint8
    assert not torch.equal(first[0], first[1])


def test_crops_leave_the_diagonal_unless_the_official_fault_is_asked_for(monkeypatch):
    seen = []

    def spy(images, offsets, side):
        seen.append(offsets)
        return images

    monkeypatch.setattr(ours, 'crop_and_resize', spy)
    images = torch.zeros(64, 3, 4, 4, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    augment(images, AugmentConfig(), generator)
    augment(images, AugmentConfig(diagonal_crops=True), generator)
    free, diagonal = seen
    assert (free[:, 0] - free[:, 1]).abs().max() > 0.01
    assert torch.equal(diagonal[:, 0], diagonal[:, 1])
    for offsets in seen:
        assert offsets.min() >= 0
        assert offsets.max() <= 1 - 0.9**0.5


def test_normalised_pixels_equal_those_of_evaluation(tensorflow):
    image = tensorflow['shrink_resized']
    config = ImageConfig(size=56, crop_area=1.0)
    batch = normalise_pixels(planes(image[None]), config)
    np.testing.assert_array_equal(batch[0].numpy(), crop_and_normalise(image, config))


def test_copies_to_a_gpu_are_pinned_and_do_not_wait():
    class Recorded:
        calls = ()

        def pin_memory(self):
            self.calls += ('pinned',)
            return self

        def to(self, device, non_blocking=False):
            self.calls += (device.type, non_blocking)
            return self

    assert to_device(Recorded(), torch.device('cuda')).calls == ('pinned', 'cuda', True)
    assert to_device(Recorded(), torch.device('cpu')).calls == ('cpu', False)
