# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The observation a policy sees, in physical units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Observation:
    """Images and joints of one moment, and the instruction.

    Attributes:
        images: camera name → (H, W, 3) uint8 RGB, C-contiguous, with the contract's crop, not yet
            rotated; contract order.
        proprioception: (P,) float64 in contract order: joint positions [rad], then the gripper's
            open fraction (0 closed, 1 open).
        instruction: the user's text, trimmed.
        stamp: time of the observation [s] on the clock of the caller (the oldest input's stamp).
        resized: the images are what `ProcessingConfig.resized_views` returns: already rotated, and
            of the network's size. They must not be rotated a second time.
    """

    images: Mapping[str, np.ndarray]
    proprioception: np.ndarray
    instruction: str
    stamp: float
    resized: bool = False
