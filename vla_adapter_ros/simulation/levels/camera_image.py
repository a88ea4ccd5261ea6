# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What lens, sensor and transport make of a rendered image: blur, exposure, noise, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vla_adapter_ros.simulation.levels.ranges import Level, Stream
from vla_adapter_ros.simulation.scene import CAMERA_NAMES

_ROWS = 240  # height of the image to which `blur` refers [px]


@dataclass(frozen=True)
class _Effects:
    blur: float  # standard deviation [px at 240 rows]
    curve: np.ndarray  # (256,) uint8, of exposure and gamma
    noise: float  # standard deviation [of 255]
    jpeg: int  # quality; 0: none


class CameraImages:
    """The effects of one episode, each camera's own; at `nominal` images stay as they are.

    Args:
        level: how much varies.
        seed: of the episode's look.
    """

    def __init__(self, level: Level, seed: int) -> None:
        self._seed = seed
        self._effects: dict[str, _Effects] = {}
        if level.varies:
            rng = level.random(seed, Stream.IMAGE)
            self._effects = {camera: _draw(rng, level) for camera in CAMERA_NAMES}

    def seen(self, camera: str, image: np.ndarray, time: float) -> np.ndarray:
        """Return what a camera makes of a rendered image.

        Args:
            camera: its name.
            image: (H, W, 3) uint8 RGB; stays as it is.
            time: simulation time [s]; the noise of a moment is always the same.
        """
        effects = self._effects.get(camera)
        if effects is None:
            return image
        if effects.blur > 0.0:
            sigma = effects.blur * image.shape[0] / _ROWS
            image = cv2.GaussianBlur(image, (0, 0), max(sigma, 0.1))
        image = cv2.LUT(image, effects.curve)
        moment = round(1e3 * time)
        rng = np.random.default_rng((self._seed, CAMERA_NAMES.index(camera), moment))
        noise = rng.standard_normal(image.shape, np.float32) * effects.noise
        image = np.clip(image + noise, 0.0, 255.0).astype(np.uint8)
        if effects.jpeg:
            quality = [cv2.IMWRITE_JPEG_QUALITY, effects.jpeg]
            _, packet = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
            image = cv2.cvtColor(cv2.imdecode(packet, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return image


def _draw(rng: np.random.Generator, level: Level) -> _Effects:
    gain = 2.0 ** rng.uniform(-level.exposure, level.exposure)
    gamma = rng.uniform(*level.gamma)
    curve = 255.0 * np.clip(gain * np.linspace(0.0, 1.0, 256) ** gamma, 0.0, 1.0)
    return _Effects(
        blur=rng.uniform(*level.blur),
        curve=np.uint8(np.round(curve)),
        noise=rng.uniform(*level.noise),
        jpeg=int(rng.integers(level.jpeg[0], level.jpeg[1] + 1)),
    )
