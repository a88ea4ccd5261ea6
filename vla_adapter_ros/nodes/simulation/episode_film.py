# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A film of what the simulated cameras publish during an episode."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.evaluation.film import side_by_side
from vla_adapter_ros.evaluation.rollout import FILM_PERIOD, FILM_SIZE


class EpisodeFilm:
    """Keeps one picture of all cameras for each FILM_PERIOD of simulated time.

    Args:
        cameras: in the order in which their images of one moment are published.

    Attributes:
        frames: (H, W, 3) uint8 RGB, the views beside each other.
    """

    def __init__(self, cameras: Sequence[str]) -> None:
        self._cameras = cameras
        self._views: list[np.ndarray] = []
        self._next = -math.inf
        self._wanted = False
        self.frames: list[np.ndarray] = []

    def add(self, camera: str, pixels: np.ndarray, stamp: float) -> None:
        """Take a published image.

        Args:
            camera: its name.
            pixels: (H, W, 3) uint8 RGB, only lent.
            stamp: of the image [s].
        """
        if camera == self._cameras[0]:
            self._views, self._wanted = [], stamp >= self._next - 1e-9
            if self._wanted:
                # On a grid of its own: images come up to a period of theirs later.
                self._next = max(self._next, stamp - FILM_PERIOD) + FILM_PERIOD
        if not self._wanted:
            return
        self._views.append(pixels.copy())
        if camera == self._cameras[-1]:
            self.frames.append(side_by_side(self._views, height=FILM_SIZE[0]))
            self._wanted = False
