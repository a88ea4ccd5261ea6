# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Text for images that people look at: films, contact sheets, preflight, camera placement."""

from __future__ import annotations

import cv2
import numpy as np

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MARGIN = 6  # [px]


def caption_strip(text: str, width: int, height: int = 26) -> np.ndarray:
    """Return (height, width, 3) uint8: light text on a dark strip, small enough to fit."""
    # OpenCV's fonts have ASCII only.
    plain = text.encode('ascii', 'replace').decode()
    scale = height / 50
    (length, _), _ = cv2.getTextSize(plain, _FONT, scale, 1)
    scale *= min(1.0, (width - 2 * _MARGIN) / max(length, 1))
    (_, letters), _ = cv2.getTextSize(plain, _FONT, scale, 1)
    strip = np.full((height, width, 3), 28, np.uint8)
    place = (_MARGIN, (height + letters) // 2)
    cv2.putText(strip, plain, place, _FONT, scale, (235, 235, 235), 1, cv2.LINE_AA)
    return strip
