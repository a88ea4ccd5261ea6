# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Patterns of table tops and objects, computed: grain, cloth, tiles, stripes and stains.

The scene has empty textures named `pattern_0` …, which `fill_patterns` fills before the model is
rendered. They are grey: a geom's own colour tints them.
"""

from __future__ import annotations

import mujoco
import numpy as np

PATTERNS = 6
_SEED = 4100


def pattern_name(number: int) -> str:
    """Return the name of a pattern's texture and material."""
    return f'pattern_{number}'


def fill_patterns(model: mujoco.MjModel) -> None:
    """Draw all patterns into the model's textures; the same every time."""
    for number in range(PATTERNS):
        texture = model.texture(pattern_name(number)).id
        size = int(model.tex_width[texture])
        pixels = np.uint8(np.clip(255.0 * _pattern(number, size), 0, 255))
        first = int(model.tex_adr[texture])
        channels = int(model.tex_nchannel[texture])
        flat = np.repeat(pixels[..., None], channels, axis=2).ravel()
        model.tex_data[first : first + flat.size] = flat


def _pattern(number: int, size: int) -> np.ndarray:
    """Return a (size, size) grey pattern, 0 to 1."""
    rng = np.random.default_rng((_SEED, number))
    y, x = np.mgrid[0:size, 0:size] / size
    stains = _stains(rng, size)
    if number == 0:  # wood: rings bent by stains
        return 0.82 + 0.12 * np.sin(2 * np.pi * (9 * y + 1.3 * stains))
    if number == 1:  # boards with dark joints
        joints = (4 * x) % 1.0 < 0.06
        return np.where(joints, 0.45, 0.85 + 0.08 * np.sin(2 * np.pi * (23 * y + stains)))
    if number == 2:  # cloth
        return 0.8 + 0.1 * np.sin(2 * np.pi * 16 * x) + 0.1 * np.sin(2 * np.pi * 16 * y)
    if number == 3:  # tiles
        return np.where(((6 * x).astype(int) + (6 * y).astype(int)) % 2 == 0, 0.95, 0.7)
    if number == 4:  # speckles
        return np.where(rng.random((size, size)) < 0.12, 0.55, 0.9)
    return 0.8 + 0.2 * stains  # stone


def _stains(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return smooth random patches (size, size), -1 to 1, that continue at the edges."""
    y, x = 2.0 * np.pi * np.mgrid[0:size, 0:size] / size
    total = np.zeros((size, size))
    for a in range(1, 5):
        for b in range(1, 5):
            total += rng.normal() * np.sin(a * x + b * y + rng.uniform(0, 6.28)) / (a * b)
    return total / np.abs(total).max()
