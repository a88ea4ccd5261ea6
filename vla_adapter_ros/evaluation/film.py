# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Films of both camera views, and plots of joints."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from vla_adapter_ros.data.codecs import decode_image, encode_jpeg
from vla_adapter_ros.processing.captions import caption_strip

_COLOURS, _PALETTE_FRAMES = 128, 8


def side_by_side(
    images: Sequence[np.ndarray], caption: str = '', height: int = 240
) -> np.ndarray:
    """Return (height + caption, W, 3) uint8 RGB with the views next to each other."""
    scaled = [
        cv2.resize(
            image, (round(image.shape[1] * height / image.shape[0]), height),
            interpolation=cv2.INTER_AREA,
        )
        for image in images
    ]
    row = np.concatenate(scaled, axis=1)
    if not caption:
        return row
    return np.concatenate([row, caption_strip(caption, row.shape[1])])


def write_gif(path: Path, frames: Sequence[np.ndarray], frames_per_second: float) -> None:
    """Write (H, W, 3) uint8 RGB frames as a looping GIF, atomically.

    Raises:
        ValueError: there are no frames.
    """
    from PIL import Image

    if not frames:
        raise ValueError(f'{path}: no frames to write')
    # One palette for the complete film: per-frame palettes flicker and double the size.
    samples = frames[:: max(1, len(frames) // _PALETTE_FRAMES)]
    palette = Image.fromarray(np.concatenate(samples)).quantize(_COLOURS)
    quantised = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    temporary = path.with_suffix('.tmp.gif')
    quantised[0].save(
        temporary, save_all=True, append_images=quantised[1:], loop=0,
        duration=round(1000 / frames_per_second), optimize=False,
    )
    os.replace(temporary, path)


def packed(frames: Sequence[np.ndarray]) -> list[str]:
    """Return (H, W, 3) uint8 RGB frames as text, for JSON: JPEG in base64."""
    return [base64.b64encode(encode_jpeg(frame)).decode('ascii') for frame in frames]


def unpacked(texts: Sequence[str]) -> list[np.ndarray]:
    """Return the frames of `packed`."""
    return [decode_image(base64.b64decode(text)) for text in texts]


def plot_joints(
    path: Path,
    measured: tuple[np.ndarray, np.ndarray],
    commanded: tuple[np.ndarray, np.ndarray],
    names: Sequence[str],
    title: str,
    events: Mapping[float, str] | None = None,
) -> None:
    """Plot measured and commanded positions, one panel a joint.

    Args:
        path: PNG to write.
        measured: times (N,) [s] and positions (N, J) in contract units.
        commanded: times (M,) [s] and positions (M, J).
        names: J joint names.
        title: what the plot shows.
        events: time [s] → label, drawn as vertical lines.
    """
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    columns = 2
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(11, 2.1 * rows), sharex=True, squeeze=False, layout='constrained'
    )
    for j, axis in enumerate(axes.flat):
        if j >= len(names):
            axis.set_visible(False)
            continue
        axis.plot(measured[0], measured[1][:, j], lw=1.6, label='measured')
        if len(commanded[0]):
            axis.plot(commanded[0], commanded[1][:, j], '.', ms=2.5, label='commanded points')
        for when in events or {}:
            axis.axvline(when, color='0.5', lw=0.8, ls='--')
        unit = 'open fraction' if j == len(names) - 1 else 'rad'
        axis.set_ylabel(f'{names[j]} [{unit}]')
        axis.grid(alpha=0.3)
    axes.flat[0].legend(loc='best', fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel('time [s]')
    figure.suptitle(title)
    figure.savefig(path, dpi=100)
    plt.close(figure)
