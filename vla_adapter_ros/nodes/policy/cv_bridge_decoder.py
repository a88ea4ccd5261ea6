# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Raw images in encodings that our decoder does not know go through cv_bridge, where it is there.

Encodings that `robot/image_decoding.py` knows stay with it: a policy must see on the robot what it
saw in training.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.robot.camera_spec import (
    BRIDGED_BYTES_PER_PIXEL,
    BRIDGED_ENCODINGS,
    ENCODINGS,
    CameraSpec,
)
from vla_adapter_ros.robot.camera_view import decode_message

# Depth and measurements are not colour images, even where cv_bridge would scale them to 8 bits.
_NOT_COLOUR = re.compile(r'mono16|(8S|16|32|64).*')


class BridgeDecoder:
    """Decodes messages to (H, W, 3) uint8 RGB; cv_bridge is imported when it is first needed."""

    def __init__(self) -> None:
        self._bridge: Any = None

    def check(self, cameras: Iterable[CameraSpec]) -> None:
        """Raise ObservationError if a camera of the contract needs cv_bridge and it is missing."""
        for camera in cameras:
            if camera.encoding in BRIDGED_ENCODINGS:
                self._load(camera.encoding)

    def __call__(self, message: Any) -> np.ndarray:
        """Return (H, W, 3) uint8 RGB.

        Raises:
            ObservationError: as `decode_message`; or cv_bridge is needed and missing, does not
                know the encoding, or gives something else than an image of the message's size.
        """
        encoding = getattr(message, 'encoding', ENCODINGS[0])
        if encoding in ENCODINGS or _NOT_COLOUR.fullmatch(encoding):
            return decode_message(message)
        bridge = self._load(encoding)
        try:
            pixels = np.ascontiguousarray(bridge.imgmsg_to_cv2(_tight(message), 'rgb8'))
        except Exception as error:  # CvBridgeError, KeyError, TypeError, cv2.error by version
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise ObservationError(
                f'image encoding {encoding!r}: cv_bridge cannot convert it to rgb8: {reason}'
            ) from error
        if pixels.shape != (message.height, message.width, 3) or pixels.dtype != np.uint8:
            raise ObservationError(
                f'image encoding {encoding!r}: cv_bridge gives {pixels.dtype} {pixels.shape} of'
                f' {message.width}×{message.height} pixels'
            )
        return pixels

    def _load(self, encoding: str) -> Any:
        if self._bridge is None:
            try:
                from cv_bridge import CvBridge
            except ImportError as error:
                missing = error.name == 'cv_bridge'
                package = f'ros-{os.environ.get("ROS_DISTRO", "<distro>")}-cv-bridge'
                state = 'is not installed' if missing else f'cannot be imported ({error})'
                raise ObservationError(
                    f'image encoding {encoding!r}: the built-in decoder knows'
                    f' {", ".join(ENCODINGS)}; {package} adds others, but it {state}'
                ) from error
            self._bridge = CvBridge()
        return self._bridge


def _tight(message: Any) -> Any:
    """Return a message without padding at the ends of its rows: some versions read it."""
    width = message.width * BRIDGED_BYTES_PER_PIXEL.get(message.encoding, 0)
    size = message.step * message.height
    if not 0 < width < message.step or len(message.data) != size:
        return message
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    return type(message)(
        height=message.height, width=message.width, encoding=message.encoding, step=width,
        is_bigendian=message.is_bigendian, data=rows[:, :width].tobytes(),
    )  # fmt: skip
