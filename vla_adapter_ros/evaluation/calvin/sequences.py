# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The 1,000 chains of the CALVIN challenge, and the scene each begins with.

The chains are data: `get_sequences(1000)` of CALVIN draws 7 million task orders to find them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

SEQUENCES = 1000
DATA = Path(__file__).parent / 'data' / 'sequences.json'
HASH_PRIME, HASH_MASK = 0x01000193, 0xFFFFFFFF
# Tool centre x, y, z [m], Euler angles [rad], gripper's width [m], 7 joints [rad], gripper action.
ROBOT_START = (
    0.02586889, -0.2313129, 0.5712808, 3.09045411, -0.02908596, 1.50013585, 0.07999963,
    -1.21779124, 1.03987629, 2.11978254, -2.34205014, -0.87015899, 1.64119093, 0.55344928, 1.0,
)  # fmt: skip
BLOCKS = ('red_block', 'blue_block', 'pink_block')
# Positions [m].
SLIDER_SPOTS = {
    'slider_left': (-2.40851662e-01, 9.24044687e-02, 4.60990009e-01),
    'slider_right': (7.03416330e-02, 9.24044687e-02, 4.60990009e-01),
}
TABLE_SPOTS = (
    (5.00000896e-02, -1.20000177e-01, 4.59990009e-01),
    (2.29995412e-01, -1.19995140e-01, 4.59990010e-01),
)
YAW_RANGE = (math.pi / 2 - math.pi / 8, math.pi / 2 + math.pi / 8)  # [rad]
SLIDER_LEFT, DRAWER_OPEN, SWITCH_ON = 0.28, 0.22, 0.088  # [m]


@dataclass(frozen=True)
class Sequence:
    """One chain.

    Attributes:
        condition: thing → where it is, or 0 and 1 for lamps; the order of the keys matters.
        tasks: five names.
    """

    condition: Mapping[str, int | str]
    tasks: tuple[str, ...]


@cache
def sequences() -> tuple[Sequence, ...]:
    """Return the 1,000 chains in the official order."""
    return tuple(Sequence(condition, tuple(tasks)) for condition, tasks in json.loads(
        DATA.read_text(encoding='utf-8')))  # fmt: skip


def scene_seed(condition: Mapping[str, int | str]) -> int:
    """Return the seed of a condition: as pyhash computes FNV-1 of 32 bits.

    Not the textbook's: it begins at 0 and reads the text as UTF-16. Another hash puts the blocks
    on other spots in more than half of the scenes.
    """
    value = 0
    for byte in str(condition.values()).encode('utf-16-le'):
        value = (value * HASH_PRIME & HASH_MASK) ^ byte
    return value


def start_state(condition: Mapping[str, int | str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the state of the robot (15,) and of the scene (24,) that a condition describes.

    The scene is slider, drawer, button, switch [m], light bulb, LED (0 or 1), then position [m]
    and Euler angles [rad] of the red, the blue and the pink block.
    """
    # The same numbers as np.random.seed() gives, without touching the process's generator.
    random = np.random.RandomState(scene_seed(condition))
    table = [np.array(spot) for spot in TABLE_SPOTS]
    random.shuffle(table)
    scene = np.zeros(24)
    scene[0] = SLIDER_LEFT if condition['slider'] == 'left' else 0.0
    scene[1] = DRAWER_OPEN if condition['drawer'] == 'open' else 0.0
    scene[3] = SWITCH_ON if condition['lightbulb'] == 1 else 0.0
    scene[4], scene[5] = condition['lightbulb'], condition['led']
    red_on_table = condition['red_block'] not in SLIDER_SPOTS
    spots = (table[0], table[1] if red_on_table else table[0], table[1])
    for i, (block, spot) in enumerate(zip(BLOCKS, spots, strict=True)):
        pose = scene[6 + 6 * i : 12 + 6 * i]
        pose[:3] = SLIDER_SPOTS.get(str(condition[block]), spot)
        pose[5] = random.uniform(*YAW_RANGE)
    return np.array(ROBOT_START), scene
