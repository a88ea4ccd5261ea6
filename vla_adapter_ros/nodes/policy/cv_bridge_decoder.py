# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""cv_bridge for raw images where it is there and sound, our own decoder where not.

cv_bridge's binaries break with numpy 2 on some distributions, up to a crash of the process, and a
policy must see on the robot what it saw in training, decoded by `robot/image_decoding.py`. So
cv_bridge is tried in a process of its own at start-up, and used for those encodings alone of which
it gives the same pixels.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Collection
from importlib.util import find_spec
from typing import Any

import numpy as np

from vla_adapter_ros.robot.camera_spec import BYTES_PER_PIXEL, ENCODINGS
from vla_adapter_ros.robot.camera_view import Decoder, decode_message
from vla_adapter_ros.robot.image_decoding import check_layout

_TIMEOUT = 30.0
_WIDTH, _HEIGHT = 12, 6


def choose_decoder(warn: Callable[[str], None]) -> Decoder:
    """Return how raw image messages are decoded here; `warn` gets at most one line."""
    if find_spec('cv_bridge') is None:
        return decode_message
    sound, fault = try_in_a_process()
    if other := [encoding for encoding in ENCODINGS if encoding not in sound]:
        reason = fault or f'it gives other pixels, or none, of {", ".join(other)}'
        warn(f'cv_bridge is not used for all images: {reason}; the own decoder is')
    return BridgeDecoder(sound) if sound else decode_message


def try_in_a_process() -> tuple[list[str], str]:
    """Return the encodings that cv_bridge decodes as we do, and why there are none."""
    try:
        done = subprocess.run(
            [sys.executable, '-m', __spec__.name if __spec__ else __name__],
            capture_output=True, text=True, timeout=_TIMEOUT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f'its trial did not run ({type(error).__name__})'
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f'exit code {done.returncode}'])[-1]
        return [], f'its trial failed ({last})'
    return json.loads(done.stdout.splitlines()[-1]), ''


class BridgeDecoder:
    """Decodes with cv_bridge what it is sound for, everything else with our own decoder."""

    def __init__(self, encodings: Collection[str]) -> None:
        from cv_bridge import CvBridge

        self._bridge = CvBridge()
        self.encodings = frozenset(encodings)

    def __call__(self, message: Any) -> np.ndarray:
        """Return (H, W, 3) uint8 RGB; raises ObservationError as `decode_message`."""
        encoding = getattr(message, 'encoding', '')
        # Of padded rows, some versions read the padding.
        padded = encoding and message.step != message.width * BYTES_PER_PIXEL.get(encoding, 0)
        if padded or encoding not in self.encodings:
            return decode_message(message)
        check_layout(
            message.encoding, message.height, message.width, message.step, len(message.data)
        )
        try:
            return np.ascontiguousarray(self._bridge.imgmsg_to_cv2(message, 'rgb8'))
        except Exception:
            return decode_message(message)


def sound_encodings() -> list[str]:
    """Return the encodings of which cv_bridge gives the same pixels as our decoder."""
    from sensor_msgs.msg import Image

    decoder = BridgeDecoder(ENCODINGS)
    random = np.random.default_rng(0)
    sound = []
    for encoding in ENCODINGS:
        step = _WIDTH * BYTES_PER_PIXEL[encoding]
        message = Image(height=_HEIGHT, width=_WIDTH, encoding=encoding, step=step)
        message.data = random.integers(0, 256, _HEIGHT * step, dtype=np.uint8).tobytes()
        try:
            bridged = decoder._bridge.imgmsg_to_cv2(message, 'rgb8')
            same = np.array_equal(bridged, decode_message(message))
        except Exception:
            same = False
        if same:
            sound.append(encoding)
    return sound


if __name__ == '__main__':
    print(json.dumps(sound_encodings()))
