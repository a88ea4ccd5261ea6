# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Writes episodes as rerun recordings (.rrd), where the optional rerun-sdk is installed."""

from __future__ import annotations

from pathlib import Path

from vla_adapter_ros.data.episodes import EpisodeSource
from vla_adapter_ros.errors import DatasetError

JPEG_QUALITY = 80


def write_rrd(source: EpisodeSource, number: int, path: Path) -> None:
    """Write images, states and actions of one episode on one timeline.

    Raises:
        DatasetError: rerun-sdk is not installed.
    """
    try:
        import rerun as rr
    except ImportError as error:
        raise DatasetError('rerun is not installed: pip install rerun-sdk') from error
    episode, vectors = source.episodes[number], source.vectors(number)
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
            image = rr.Image(next(stream)).compress(jpeg_quality=JPEG_QUALITY)
            recording.log(f'images/{camera}', image)
        for name, values in (('state', vectors.state), ('action', vectors.actions)):
            for column, value in enumerate(values[frame]):
                label = source.names[column] if column < len(source.names) else str(column)
                recording.log(f'{name}/{label}', rr.Scalars(float(value)))
    recording.flush()
