# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Things on the table that no instruction names, in shapes and colours of no object."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vla_adapter_ros.simulation.levels.ranges import Level, Stream

# Body → height of its centre above the table [m].
CLUTTER = {'slab': 0.006, 'lozenge': 0.01, 'rod': 0.009, 'post': 0.018}
_SPACING = 0.075  # from everything else [m]
_AREA = ((0.15, 0.42), (-0.24, 0.24))  # x, y [m]
_ATTEMPTS = 60


def place_clutter(
    level: Level, seed: int, taken: Sequence[tuple[float, float]], margin: float = _SPACING
) -> dict[str, tuple[float, float, float]]:
    """Draw clutter where nothing else is; what does not fit is left out.

    Args:
        level: how much there is.
        seed: of the episode's look.
        taken: points (x, y) [m] that must stay free.
        margin: distance [m] from those.

    Returns:
        Body → (x, y) [m] and yaw [rad].
    """
    if not level.varies:
        return {}
    rng = level.random(seed, Stream.CLUTTER)
    wanted = int(rng.integers(level.clutter[0], level.clutter[1] + 1))
    bodies = [list(CLUTTER)[int(i)] for i in rng.permutation(len(CLUTTER))[:wanted]]
    placed: dict[str, tuple[float, float, float]] = {}
    points = list(taken)
    for body in bodies:
        for _ in range(_ATTEMPTS):
            x, y = (float(rng.uniform(*side)) for side in _AREA)
            if all(math.hypot(x - a, y - b) >= margin for a, b in points):
                placed[body] = (x, y, float(rng.uniform(-math.pi, math.pi)))
                points.append((x, y))
                break
    return placed
