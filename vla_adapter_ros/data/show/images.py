# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Demonstrations drawn: a contact sheet, plots of states and actions, rerun recordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vla_adapter_ros.data.episodes import EpisodeSource
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.captions import caption_strip

CAPTION_HEIGHT = 18  # [px]
RERUN_JPEG_QUALITY = 80


def contact_sheet(
    source: EpisodeSource, episodes: Sequence[int], columns: int = 8, width: int = 160
) -> np.ndarray:
    """Return one image (H, W, 3) uint8 RGB: two rows an episode, its views over time.

    Args:
        source: the demonstrations.
        episodes: which.
        columns: frames of each episode, spread evenly.
        width: of one image [px].
    """
    import cv2

    strips = []
    for number in episodes:
        episode = source.episodes[number]
        frames = np.linspace(0, episode.length - 1, columns).round().astype(int)
        text = f'{episode.key}: {episode.instruction}'
        strips.append(caption_strip(text, columns * width, CAPTION_HEIGHT))
        for camera in source.cameras:
            views = [
                cv2.resize(
                    view, (width, round(width * view.shape[0] / view.shape[1])),
                    interpolation=cv2.INTER_AREA,
                )
                for view in source.images(number, camera, frames.tolist())
            ]  # fmt: skip
            strips.append(np.concatenate(views, axis=1))
    return np.concatenate(strips)


def plot_episode(source: EpisodeSource, number: int, path: Path) -> None:
    """Draw states and actions of one episode over time, one panel a dimension."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    episode, vectors = source.episodes[number], source.states_actions(number)
    targets = source.action_kind == 'joint_target'
    size = max(vectors.state.shape[1], vectors.actions.shape[1])
    rows = -(-size // 2)
    figure = Figure(figsize=(11, 1.9 * rows), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 2, sharex=True, squeeze=False).flat
    times = np.arange(episode.length) / source.fps
    for i, axis in enumerate(axes):
        if i < vectors.state.shape[1]:
            axis.plot(times, vectors.state[:, i], lw=1.4, label='state')
        if i < vectors.actions.shape[1]:
            # A target is due one frame after the frame it belongs to.
            shift = 1 / source.fps if targets else 0.0
            axis.plot(times + shift, vectors.actions[:, i], lw=1.0, label='action')
        axis.set_ylabel(source.names[i] if i < len(source.names) else str(i))
        axis.grid(alpha=0.3)
    axes[0].legend(loc='best', fontsize=8)
    figure.supxlabel('time [s]')
    figure.suptitle(f'{episode.key}: {episode.instruction}', fontsize=10)
    figure.savefig(path, dpi=90)


def write_rrd(source: EpisodeSource, number: int, path: Path) -> None:
    """Write images, states and actions of one episode on one timeline.

    Raises:
        DatasetError: rerun-sdk is not installed.
    """
    try:
        import rerun as rr
    except ImportError as error:
        raise DatasetError('rerun is not installed: pip install rerun-sdk') from error
    episode, vectors = source.episodes[number], source.states_actions(number)
    recording = rr.RecordingStream('vla_adapter_ros', recording_id=episode.key)
    recording.save(str(path))
    recording.log('instruction', rr.TextDocument(episode.instruction), static=True)
    for name, values in (('state', vectors.state), ('action', vectors.actions)):
        for column in range(values.shape[1]):
            label = source.names[column] if column < len(source.names) else str(column)
            recording.log(f'{name}/{label}', rr.SeriesLines(names=label), static=True)
    streams = {c: iter(source.images(number, c, range(episode.length))) for c in source.cameras}
    for frame in range(episode.length):
        recording.set_time('time', duration=frame / source.fps)
        for camera, stream in streams.items():
            image = rr.Image(next(stream)).compress(jpeg_quality=RERUN_JPEG_QUALITY)
            recording.log(f'images/{camera}', image)
        for name, values in (('state', vectors.state), ('action', vectors.actions)):
            for column, value in enumerate(values[frame]):
                label = source.names[column] if column < len(source.names) else str(column)
                recording.log(f'{name}/{label}', rr.Scalars(float(value)))
    recording.flush()
