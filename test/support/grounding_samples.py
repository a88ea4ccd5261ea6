# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Images of coloured squares with points, and a network small enough to learn them."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.training.experiments.grounding.scenes import GroundingScenes

SMALL = (
    'model={preset: tiny, use_film: true, film_segment_tokens: 6, num_queries: 2, '
    'vision: {width: 16, depth: 2, heads: 2, mlp_hidden: 16, patch: 8, stem: conv, '
    'keypoints: 4, pool: 2, '
    'image_size: 32}, language: {hidden: 32, layers: 1, heads: 2, kv_heads: 1, mlp_hidden: 32, '
    'embedding_scale: 0.7}}',
    'compute.threads=1',
)
COLOURS = {'red': (220, 20, 20), 'green': (20, 180, 40), 'blue': (20, 40, 220)}


def squares(count: int) -> GroundingScenes:
    """Return images of three coloured squares, each asked for by its colour."""
    rng = np.random.default_rng(1)
    images = np.full((count, 1, 32, 32, 3), 128, np.uint8)
    points = np.zeros((count, 3, 1, 2, 3), np.float32)
    for n in range(count):
        cells = rng.permutation(16)[:3]
        for i, colour in enumerate(COLOURS.values()):
            row, column = 8 * (cells[i] // 4) + 4, 8 * (cells[i] % 4) + 4
            images[n, 0, row : row + 4, column : column + 4] = colour
            points[n, i, 0, 0] = ((column + 2) / 32, (row + 2) / 32, 1.0)
    return GroundingScenes(images, points, [[f'reach the {c} block' for c in COLOURS]] * count)
