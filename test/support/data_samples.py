# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Small real demonstrations for the data tests: images that tell their frame, smooth joints."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract

WIDTH, HEIGHT = 64, 48


def contract(
    width: int = WIDTH, height: int = HEIGHT, rotate: int = 0, crop=None, **changes
) -> RobotContract:
    """The Alicia-D's contract with small cameras."""
    data = resolve_contract('alicia_d').to_dict()
    for camera in data['cameras'].values():
        camera.update(width=width, height=height, rotate=rotate, crop=crop)
    return RobotContract.from_dict(data | changes)


def image(seed: int, frame: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A smooth image whose red level is 4 × the frame number everywhere."""
    rows, columns = np.mgrid[0:height, 0:width]
    green = 128 + 80 * np.sin(columns / 9 + seed)
    blue = 128 + 80 * np.cos(rows / 7 + seed)
    red = np.full_like(green, 4 * frame % 256)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def frame_of(pixels: np.ndarray) -> int:
    """The frame number that an image shows (0..63), also after lossy coding."""
    return round(float(pixels[..., 0].mean()) / 4)


def states(length: int, seed: int = 0) -> np.ndarray:
    """(T, 7) smooth joint positions [rad] and an open fraction."""
    generator = np.random.default_rng(seed)
    phase, speed = generator.uniform(0, 6, 7), generator.uniform(0.5, 1.5, 7)
    joints = 0.5 * np.sin(phase + speed * np.arange(length)[:, None] / 10)
    joints[:, 6] = (np.arange(length) // 7 % 2).astype(float)
    return joints


def observations(
    length: int, seed: int = 0, text: str = 'pick up the cube', **size: int
) -> Iterator[Observation]:
    """Yield `length` observations at 10 Hz."""
    for frame, state in enumerate(states(length, seed)):
        views = {
            'third_person': image(seed, frame, **size),
            'wrist': image(seed + 1, frame, **size),
        }
        yield Observation(views, state, text, frame / 10)


def targets(length: int, seed: int = 0) -> np.ndarray:
    """(T, 7) absolute targets: the next state."""
    return states(length + 1, seed)[1:]
