# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the policy sees of a camera's message: encoding, size and crop of the contract."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import simplejpeg

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.robot.camera_spec import CameraSpec
from vla_adapter_ros.robot.camera_view import crop_to_view, message_encoding, policy_image

CAMERA = CameraSpec(width=64, height=48, rotate=0, mount='wrist')
PIXELS = np.random.default_rng(3).integers(0, 256, (48, 64, 3)).astype(np.uint8)


def raw(encoding='rgb8', pixels=PIXELS):
    data = pixels if encoding == 'rgb8' else pixels[..., ::-1]
    height, width = pixels.shape[:2]
    return SimpleNamespace(
        encoding=encoding, height=height, width=width, step=3 * width, is_bigendian=0,
        data=data.tobytes(),
    )  # fmt: skip


def jpeg(text):
    return SimpleNamespace(format=text, data=simplejpeg.encode_jpeg(PIXELS, quality=95))


def test_without_a_crop_the_image_passes_without_a_copy():
    assert crop_to_view(PIXELS, CAMERA) is PIXELS


def test_the_crop_is_x_y_width_height_of_the_cameras_image():
    seen = policy_image(raw('bgr8'), replace(CAMERA, crop=(8, 4, 40, 30)))
    np.testing.assert_array_equal(seen, PIXELS[4:34, 8:48])
    assert seen.flags.c_contiguous


def test_the_size_is_that_of_the_camera_not_of_the_crop():
    cropped = replace(CAMERA, crop=(0, 0, 40, 40))
    with pytest.raises(ObservationError, match='image is 40×40 pixels, the contract says 64×48'):
        policy_image(raw(pixels=np.ascontiguousarray(PIXELS[:40, :40])), cropped)


def test_an_encoding_that_the_contract_does_not_name_is_refused_by_name():
    for camera in (CAMERA, replace(CAMERA, encoding='bgr8')):
        np.testing.assert_array_equal(policy_image(raw('bgr8'), camera), PIXELS)
    with pytest.raises(ObservationError, match="is 'bgr8', the contract says 'rgb8'"):
        policy_image(raw('bgr8'), replace(CAMERA, encoding='rgb8'))


@pytest.mark.parametrize(
    ('text', 'encoding'),
    [('bgr8; jpeg compressed bgr8', 'bgr8'), ('jpeg', ''), ('jpg', ''), ('', '')],
)
def test_a_compressed_image_tells_its_encoding_if_its_format_does(text, encoding):
    assert message_encoding(jpeg(text)) == encoding
    wanted = replace(CAMERA, encoding='rgb8')
    if encoding:
        with pytest.raises(ObservationError, match="is 'bgr8'"):
            policy_image(jpeg(text), wanted)
    else:
        assert policy_image(jpeg(text), wanted).shape == (48, 64, 3)


def grey_jpeg(text):
    pixels = np.ascontiguousarray(PIXELS[..., :1])
    return SimpleNamespace(format=text, data=simplejpeg.encode_jpeg(pixels, colorspace='GRAY'))


@pytest.mark.parametrize('text', ['yuv422_yuy2; jpeg compressed ', 'bayer_rggb8; jpeg compressed',
                                  'jpeg', ''])  # fmt: skip
def test_a_grey_jpeg_of_a_colour_camera_is_refused(text):
    with pytest.raises(ObservationError, match='is grey') as error:
        policy_image(grey_jpeg(text), CAMERA)
    assert 'image_transport: raw' in str(error.value) and '\n' not in str(error.value)


def test_a_grey_jpeg_of_a_grey_camera_is_its_image():
    assert policy_image(grey_jpeg('mono8; jpeg compressed '), CAMERA).shape == (48, 64, 3)
    grey = replace(CAMERA, encoding='mono8')
    assert policy_image(grey_jpeg('jpeg'), grey).shape == (48, 64, 3)
