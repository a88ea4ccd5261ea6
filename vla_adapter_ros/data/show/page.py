# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One HTML file with episodes: pictures beside plots of joints, for any browser.

Everything is inside it: no server, nothing is loaded, it can be sent to somebody.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.data.codecs import encode_jpeg
from vla_adapter_ros.data.episodes import EpisodeSource

# Pictures are scaled down to this height [px] and taken at most this often [Hz].
_HEIGHT, _RATE = 180, 5.0
_TEMPLATE = Path(__file__).with_name('page.html')


@dataclass(frozen=True)
class PageEpisode:
    """What is shown of one episode.

    Attributes:
        key: its name.
        instruction: the task.
        success: as marked, or None.
        fps: frames per second.
        names: of the dimensions.
        length: T, frames.
        state: (T, P), or (T, 0) if there is none to compare with.
        actions: (T, A), or (T, 0) if there are chunks instead.
        action_shift: frames after which an action is due.
        picture_frames: (N,) frames of the pictures, ascending.
        pictures: camera → N images (H, W, 3) uint8 RGB.
        chunk_frames: (C,) frames of observations with chunks, ascending.
        chunks: 'recorded' and 'predicted' → (C, K, A); row k is due k + 1 steps after its frame.
        chunk_step: frames in one step of a chunk.
    """

    key: str
    instruction: str
    success: bool | None
    fps: float
    names: Sequence[str]
    length: int
    state: np.ndarray
    actions: np.ndarray
    action_shift: int
    picture_frames: np.ndarray
    pictures: Mapping[str, Iterable[np.ndarray]]
    chunk_frames: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    chunks: Mapping[str, np.ndarray] = field(default_factory=dict)
    chunk_step: int = 1


def picture_frames(length: int, fps: float) -> np.ndarray:
    """Return the frames (N,) of an episode whose pictures are shown."""
    return np.arange(0, length, max(1, round(fps / _RATE)))


def recorded_episode(source: EpisodeSource, number: int) -> PageEpisode:
    """Return an episode of a dataset as it was recorded."""
    episode, vectors = source.episodes[number], source.states_actions(number)
    frames = picture_frames(episode.length, source.fps)
    targets = source.action_kind == 'joint_target'
    size = max(vectors.state.shape[1], vectors.actions.shape[1])
    names = [*source.names, *(str(i) for i in range(len(source.names), size))][:size]
    return PageEpisode(
        key=episode.key,
        instruction=episode.instruction,
        success=episode.success,
        fps=source.fps,
        names=names,
        length=episode.length,
        state=vectors.state,
        actions=vectors.actions,
        action_shift=int(targets),
        picture_frames=frames,
        pictures={c: source.images(number, c, frames.tolist()) for c in source.cameras},
    )


def write_page(path: Path, episodes: Iterable[PageEpisode]) -> None:
    """Write the page; at least one episode."""
    data = json.dumps([_content(episode) for episode in episodes], separators=(',', ':'))
    # No text of a dataset may end the element that it is in.
    data = data.replace('<', '\\u003c')
    template = _TEMPLATE.read_text(encoding='utf-8')
    path.write_text(template.replace('@DATA@', data), encoding='utf-8')


def _content(episode: PageEpisode) -> dict[str, Any]:
    return {
        'key': episode.key,
        'instruction': episode.instruction,
        'success': episode.success,
        'fps': episode.fps,
        'length': episode.length,
        'names': list(episode.names),
        'state': _numbers(episode.state.T),
        'action': _numbers(episode.actions.T),
        'action_shift': episode.action_shift,
        'picture_frames': episode.picture_frames.tolist(),
        'pictures': {
            camera: [_data_url(image) for image in images]
            for camera, images in episode.pictures.items()
        },
        'chunk_frames': episode.chunk_frames.tolist(),
        'chunks': {name: _numbers(values) for name, values in episode.chunks.items()},
        'chunk_step': episode.chunk_step,
    }


def _numbers(values: np.ndarray) -> list[Any]:
    """Return nested lists of short numbers; None where a value is not finite."""
    rounded = np.round(values.astype(float), 4)
    return np.where(np.isfinite(rounded), rounded, None).tolist()


def _data_url(image: np.ndarray) -> str:
    import cv2

    height, width = image.shape[:2]
    if height > _HEIGHT:
        size = (round(width * _HEIGHT / height), _HEIGHT)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return f'data:image/jpeg;base64,{base64.b64encode(encode_jpeg(image)).decode()}'
