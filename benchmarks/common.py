# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Shared by the benchmarks: images like a camera's, and the processor time of a process."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

_TICKS_PER_S = os.sysconf('SC_CLK_TCK')


def moving_images(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return (N, H, W, 3) uint8 RGB: a textured scene that moves, with camera noise."""
    import cv2

    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 255, (height // 16, width // 8, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    frames = np.empty((count, height, width, 3), np.uint8)
    for i in range(count):
        start = (4 * i) % width
        noise = generator.normal(0, 2, (height, width, 3))
        frames[i] = np.clip(scene[:, start : start + width] + noise, 0, 255)
    return frames


def cpu_seconds(process: int) -> float:
    """Return the processor time a process has used [s]."""
    fields = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
