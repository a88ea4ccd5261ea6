# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""cv_bridge converts what our decoder does not know; what that knows stays with it.

The stand-in has the real interface (`CvBridge().imgmsg_to_cv2(message, 'rgb8')`) and, like the
oldest versions, reads rows as if they had no padding. The last test takes the real one where it is
installed.
"""

from __future__ import annotations

import sys
import types

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from sensor_msgs.msg import CompressedImage, Image

from support.motion_helpers import changed_robot
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.nodes.policy.cv_bridge_decoder import BridgeDecoder
from vla_adapter_ros.robot.camera_spec import BRIDGED_ENCODINGS, ENCODINGS
from vla_adapter_ros.robot.camera_view import decode_message
from vla_adapter_ros.robot.contract import RobotContract

HEIGHT, WIDTH = 6, 12


class FakeBridge:
    made = 0

    def __init__(self) -> None:
        FakeBridge.made += 1

    def imgmsg_to_cv2(self, message, desired_encoding='passthrough'):
        assert desired_encoding == 'rgb8'
        data = np.frombuffer(message.data, np.uint8)
        if message.encoding == 'bayer_rggb8':
            mosaic = data[: message.height * message.width].reshape(message.height, -1)
            return cv2.cvtColor(mosaic, cv2.COLOR_BayerBG2RGB)
        if message.encoding == 'rgb16':
            return (data.view('<u2') >> 8).astype(np.uint8).reshape(message.height, -1, 3)
        if message.encoding == 'nv12':
            planes = data.reshape(message.height * 3 // 2, message.width)
            return cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV12)
        if message.encoding == 'half':
            return np.zeros((message.height // 2, message.width, 3), np.uint8)
        raise KeyError((message.encoding, desired_encoding))


@pytest.fixture
def bridge(monkeypatch):
    """A module cv_bridge whose converter is the stand-in."""
    module = types.ModuleType('cv_bridge')
    module.CvBridge = FakeBridge
    monkeypatch.setitem(sys.modules, 'cv_bridge', module)
    monkeypatch.setattr(FakeBridge, 'made', 0)
    return FakeBridge


@pytest.fixture
def no_bridge(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv_bridge', None)
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')


def image(encoding: str, depth: int = 1, padding: int = 0, rows: int = HEIGHT) -> Image:
    step = depth * WIDTH + padding
    data = np.random.default_rng(1).integers(0, 256, rows * step, dtype=np.uint8)
    return Image(
        height=HEIGHT, width=WIDTH, encoding=encoding, step=step, data=data.tobytes()
    )


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_what_the_built_in_decoder_knows_stays_with_it(bridge, encoding):
    from vla_adapter_ros.robot.camera_spec import BYTES_PER_PIXEL

    message = image(encoding, BYTES_PER_PIXEL[encoding], padding=2)
    np.testing.assert_array_equal(BridgeDecoder()(message), decode_message(message))
    assert bridge.made == 0


def test_a_mosaic_is_converted_padded_rows_too(bridge):
    decode = BridgeDecoder()
    tight = image('bayer_rggb8')
    pixels = decode(tight)
    mosaic = np.frombuffer(tight.data, np.uint8).reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(pixels, cv2.cvtColor(mosaic, cv2.COLOR_BayerBG2RGB))
    padded = image('bayer_rggb8', padding=4)
    rows = np.frombuffer(padded.data, np.uint8).reshape(HEIGHT, WIDTH + 4)[:, :WIDTH]
    np.testing.assert_array_equal(
        decode(padded), cv2.cvtColor(np.ascontiguousarray(rows), cv2.COLOR_BayerBG2RGB)
    )
    assert bridge.made == 1


def test_16_bit_colour_and_planar_yuv_are_converted(bridge):
    decode = BridgeDecoder()
    for message in (image('rgb16', 6), image('nv12', 1, rows=HEIGHT * 3 // 2)):
        pixels = decode(message)
        assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.dtype == np.uint8
        assert np.ptp(pixels) > 100


def test_without_cv_bridge_the_error_names_encoding_decoder_and_remedy(no_bridge):
    with pytest.raises(ObservationError) as caught:
        BridgeDecoder()(image('bayer_rggb8'))
    said = str(caught.value)
    assert said.startswith("image encoding 'bayer_rggb8': the built-in decoder knows rgb8, bgr8,")
    assert said.endswith('; ros-jazzy-cv-bridge adds others, but it is not installed')


def test_a_cv_bridge_that_cannot_be_imported_says_why(monkeypatch, tmp_path):
    (tmp_path / 'cv_bridge.py').write_text("raise ImportError('numpy.core.multiarray failed')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'cv_bridge', raising=False)
    with pytest.raises(ObservationError, match=r'cannot be imported \(numpy.core.multiarray fai'):
        BridgeDecoder()(image('bayer_rggb8'))


@pytest.mark.parametrize(
    ('encoding', 'said'),
    [
        ('x264', "image encoding 'x264': cv_bridge cannot convert it to rgb8: .*x264"),
        ('half', r"image encoding 'half': cv_bridge gives uint8 \(3, 12, 3\) of 12×6 pixels"),
    ],
)
def test_what_cv_bridge_cannot_convert_is_refused(bridge, encoding, said):
    with pytest.raises(ObservationError, match=said):
        BridgeDecoder()(image(encoding))


def test_depth_and_damaged_messages_are_refused_as_by_the_built_in_decoder(bridge):
    decode = BridgeDecoder()
    for encoding in ('16UC1', 'mono16', '32FC1'):
        with pytest.raises(ObservationError, match='more than 8 bits'):
            decode(image(encoding, 4))
    short = image('bgr8', 3)
    short.data = short.data[:-1]
    with pytest.raises(ObservationError, match='expected step × height'):
        decode(short)
    with pytest.raises(ObservationError, match='expected JPEG or PNG'):
        decode(CompressedImage(format='jpeg', data=b'no'))
    assert bridge.made == 0


@pytest.mark.parametrize('encoding', BRIDGED_ENCODINGS)
def test_a_contract_may_ask_for_it_and_configuring_then_needs_cv_bridge(no_bridge, encoding):
    data = changed_robot().to_dict()
    data['cameras']['wrist']['encoding'] = encoding
    cameras = RobotContract.from_dict(data).cameras.values()
    with pytest.raises(ObservationError, match=f"'{encoding}': the built-in decoder knows"):
        BridgeDecoder().check(cameras)
    BridgeDecoder().check(changed_robot().cameras.values())


def test_the_real_cv_bridge_where_it_is_installed():
    pytest.importorskip('cv_bridge', reason='cv_bridge is not installed', exc_type=ImportError)
    message = image('bayer_bggr8', padding=4)
    rows = np.frombuffer(message.data, np.uint8).reshape(HEIGHT, WIDTH + 4)[:, :WIDTH]
    expected = cv2.cvtColor(np.ascontiguousarray(rows), cv2.COLOR_BayerRG2RGB)
    np.testing.assert_array_equal(BridgeDecoder()(message), expected)
