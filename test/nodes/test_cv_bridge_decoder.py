# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""cv_bridge is used where it is there and gives our pixels; whatever else it does, images come.

The stand-ins are modules named cv_bridge on the path: of the real one only the boundary counts.
"""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from sensor_msgs.msg import CompressedImage, Image

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.nodes.policy import cv_bridge_decoder
from vla_adapter_ros.nodes.policy.cv_bridge_decoder import BridgeDecoder, choose_decoder
from vla_adapter_ros.robot.camera_spec import ENCODINGS
from vla_adapter_ros.robot.camera_view import decode_message

SOUND = '''
from vla_adapter_ros.robot.camera_view import decode_message
class CvBridge:
    used = 0
    def imgmsg_to_cv2(self, message, wanted):
        assert wanted == 'rgb8'
        CvBridge.used += 1
        return decode_message(message)
'''
RED_IS_BLUE = SOUND.replace(
    'return decode_message(message)',
    "return decode_message(message)[..., ::-1 if message.encoding == 'bgr8' else 1]",
)
RAISES = SOUND.replace('assert wanted', "raise KeyError(message.encoding)\n        assert wanted")
MISSING_BINARY = "raise ImportError('numpy.core.multiarray failed to import')"
CRASHES = 'import os, signal; os.kill(os.getpid(), signal.SIGSEGV)'


@pytest.fixture
def install(tmp_path, monkeypatch):
    def put(source: str):
        (tmp_path / 'cv_bridge.py').write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        path = [str(tmp_path), *filter(None, sys.path)]
        monkeypatch.setenv('PYTHONPATH', ':'.join(path))
        importlib.invalidate_caches()

    monkeypatch.delitem(sys.modules, 'cv_bridge', raising=False)
    yield put
    sys.modules.pop('cv_bridge', None)


def image(encoding='bgr8', padding=0) -> Image:
    step = 3 * 12 + padding
    pixels = np.random.default_rng(1).integers(0, 256, 6 * step, dtype=np.uint8)
    return Image(height=6, width=12, encoding=encoding, step=step, data=pixels.tobytes())


def choose():
    said = []
    return choose_decoder(said.append), said


def test_a_sound_one_is_used_for_packed_raw_images_without_a_word(install):
    install(SOUND)
    decode, said = choose()
    assert isinstance(decode, BridgeDecoder) and decode.encodings == set(ENCODINGS) and not said
    import cv_bridge

    np.testing.assert_array_equal(decode(image()), decode_message(image()))
    assert cv_bridge.CvBridge.used == 1
    decode(image(padding=2))
    assert cv_bridge.CvBridge.used == 1, 'padded rows are ours'


def test_an_encoding_that_comes_out_otherwise_is_named_and_decoded_by_ourselves(install):
    install(RED_IS_BLUE)
    decode, said = choose()
    assert decode.encodings == set(ENCODINGS) - {'bgr8'}
    assert len(said) == 1 and 'of bgr8' in said[0]
    np.testing.assert_array_equal(decode(image('bgr8')), decode_message(image('bgr8')))


@pytest.mark.parametrize(
    ('source', 'why'),
    [
        (RAISES, 'other pixels, or none'),
        (MISSING_BINARY, 'numpy.core.multiarray failed to import'),
        (CRASHES, 'exit code -11'),
    ],
)
def test_a_broken_one_is_one_warning_and_the_own_decoder(install, source, why):
    install(source)
    decode, said = choose()
    assert decode is decode_message
    assert len(said) == 1 and why in said[0] and '\n' not in said[0]


def test_what_it_cannot_decode_is_refused_in_our_words(install):
    install(SOUND)
    decode, _ = choose()
    with pytest.raises(ObservationError, match='more than 8 bits'):
        decode(Image(height=6, width=12, encoding='16UC1', step=24, data=bytes(144)))
    short = image()
    short.data = short.data[:-1]
    with pytest.raises(ObservationError, match='expected step × height'):
        decode(short)
    with pytest.raises(ObservationError, match='expected JPEG or PNG'):
        decode(CompressedImage(format='jpeg', data=b'no'))


def test_without_cv_bridge_nothing_is_tried_or_said(monkeypatch):
    monkeypatch.setattr(cv_bridge_decoder, 'find_spec', lambda name: None)
    assert choose() == (decode_message, [])
