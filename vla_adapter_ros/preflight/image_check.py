# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Does the camera show the scene of the training data? Compared numerically with its mean image.

A camera that was rotated, moved, re-exposed or read with red and blue swapped gives a policy
inputs that it never saw; nothing crashes, but the arm moves wrongly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vla_adapter_ros.data.episodes import EpisodeSource
from vla_adapter_ros.preflight.checks import FAIL, PASS, WARN, Check
from vla_adapter_ros.processing.captions import caption_strip

# Side of the compared images [px], and frames in a mean image.
_SIDE = 32
_FRAMES = 60
# Brightness may differ by its variation in the data, and at least by this [grey levels].
_BRIGHTNESS = 20.0
# Another orientation must correlate this much better to be reported.
_TURN_MARGIN = 0.15
# Correlation below which the scene or view is another one.
_SIMILAR = 0.5
# Below this the mean image has too little colour to compare [grey levels].
_COLOUR = 3.0
# Agreement of red minus blue below which they are swapped.
_SWAPPED = -0.3
# Standard deviation of an image without content (lens cap, dark room) [grey levels].
_BLANK = 4.0

_TURNS = {
    'upright': lambda image: image,
    'rotated by 90° clockwise': lambda image: np.rot90(image, -1),
    'rotated by 180°': lambda image: np.rot90(image, 2),
    'rotated by 90° counter-clockwise': lambda image: np.rot90(image, 1),
    'mirrored left to right': lambda image: image[:, ::-1],
    'mirrored top to bottom': lambda image: image[::-1],
}


@dataclass(frozen=True)
class Reference:
    """Images of one camera during recording, summarised.

    Attributes:
        mean: (32, 32, 3) float32 mean image, RGB.
        brightness: mean grey level.
        spread: standard deviation of the grey level over frames.
        frames: number of frames.
    """

    mean: np.ndarray
    brightness: float
    spread: float
    frames: int


@dataclass(frozen=True)
class Comparison:
    """A live image against its reference.

    Attributes:
        brightness: grey levels brighter than the data.
        similarity: correlation of the grey images, −1 … 1.
        turn: orientation in which the live image fits best.
        turn_similarity: correlation in that orientation.
        colour: agreement of red minus blue, −1 … 1; 0 if the data has no colour.
        contrast: standard deviation of the live image [grey levels].
    """

    brightness: float
    similarity: float
    turn: str
    turn_similarity: float
    colour: float
    contrast: float


def reference_of(frames: list[np.ndarray]) -> Reference:
    """Return the reference of (H, W, 3) uint8 RGB frames."""
    small = np.stack([_small(frame) for frame in frames])
    levels = small.mean(axis=(1, 2, 3))
    return Reference(
        small.mean(axis=0), float(levels.mean()), float(levels.std()), len(frames)
    )


def dataset_references(source: EpisodeSource, frames: int = _FRAMES) -> dict[str, Reference]:
    """Return a reference for each camera from frames spread over the dataset."""
    total = len(source.episodes)
    chosen = np.unique(np.linspace(0, total - 1, min(total, frames)).astype(int))
    each = max(1, frames // len(chosen))
    found = {}
    for camera in source.cameras:
        images: list[np.ndarray] = []
        for number in chosen:
            length = source.episodes[number].length
            places = np.unique(np.linspace(0, length - 1, each).astype(int))
            images += source.images(int(number), camera, places.tolist())
        found[camera] = reference_of(images)
    return found


def compare(image: np.ndarray, reference: Reference) -> Comparison:
    """Compare a live (H, W, 3) uint8 RGB image, upright as the policy gets it."""
    small = _small(image)
    grey, mean = small.mean(axis=-1), reference.mean.mean(axis=-1)
    fits = {name: _correlation(turn(grey), mean) for name, turn in _TURNS.items()}
    turn = max(fits, key=lambda name: fits[name])
    live_colour = small[..., 0] - small[..., 2]
    data_colour = reference.mean[..., 0] - reference.mean[..., 2]
    colour = 0.0
    if np.sqrt((data_colour**2).mean()) > _COLOUR:
        norms = np.linalg.norm(live_colour) * np.linalg.norm(data_colour)
        colour = float((live_colour * data_colour).sum() / norms) if norms > 0 else 0.0
    return Comparison(
        brightness=float(grey.mean()) - reference.brightness,
        similarity=fits['upright'],
        turn=turn,
        turn_similarity=fits[turn],
        colour=colour,
        contrast=float(grey.std()),
    )


def check_image(camera: str, image: np.ndarray, reference: Reference | None) -> Check:
    """Return the verdict on a live image; without a reference only a blank image fails."""
    name = f'{camera} image'
    if text := blank_problem(image):
        return Check(name, FAIL, text)
    if reference is None:
        return Check(name, WARN, 'not compared: pass the dataset with --dataset')
    result = compare(image, reference)
    faults = _faults(result, reference)
    figures = (
        f'similarity {result.similarity:.2f}, brightness {result.brightness:+.0f} grey levels'
        f' against the mean of {reference.frames} frames'
    )
    return Check(name, WARN if faults else PASS, '; '.join([*faults, figures]))


def blank_problem(image: np.ndarray) -> str:
    """Return the message for an (H, W, 3) uint8 image without content, or ''."""
    contrast = float(_small(image).mean(axis=-1).std())
    if contrast >= _BLANK:
        return ''
    return (
        f'the image is blank (contrast {contrast:.1f} grey levels): lens cap, no light, or'
        f' exposure far off'
    )


def _faults(result: Comparison, reference: Reference) -> list[str]:
    faults = []
    if result.colour < _SWAPPED:
        faults.append('red and blue are swapped: the camera node declares a wrong encoding')
    if result.turn_similarity > result.similarity + _TURN_MARGIN:
        faults.append(
            f'similarity would be {result.turn_similarity:.2f} if it were {result.turn}: rotate'
            f' the camera or set `rotate` in the robot contract'
        )
    elif result.similarity < _SIMILAR:
        faults.append('scene or view differ from the data: place camera and table as recorded')
    allowed = max(_BRIGHTNESS, 3.0 * reference.spread)
    if abs(result.brightness) > allowed:
        word = 'brighter' if result.brightness > 0 else 'darker'
        faults.append(f'{word} than the data: set exposure and light as recorded')
    return faults


def image_sheet(
    images: Mapping[str, np.ndarray], references: Mapping[str, Reference], path: Path
) -> None:
    """Write the live images (left) beside the mean images of the data (right) as a PNG."""
    rows = []
    for camera, image in images.items():
        live = cv2.resize(image, (480, 360), interpolation=cv2.INTER_AREA)
        if camera in references:
            mean = np.clip(references[camera].mean, 0, 255).astype(np.uint8)
            mean = cv2.resize(mean, (480, 360), interpolation=cv2.INTER_CUBIC)
        else:
            mean = np.full_like(live, 64)
        row = np.hstack([live, np.full((360, 8, 3), 255, np.uint8), mean])
        caption = caption_strip(f'{camera}: live | mean of the data', row.shape[1])
        row[: len(caption)] = caption
        rows.append(row)
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def _small(image: np.ndarray) -> np.ndarray:
    """Return (32, 32, 3) float32; the mean over areas ignores noise and small movements."""
    return cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / norms if norms > 0 else 0.0
