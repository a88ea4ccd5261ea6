# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Frames of a source read as they are needed: the slow path, and the interface of both."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vla_adapter_ros.data.episodes import Episode, EpisodeSource, all_vectors
from vla_adapter_ros.processing.images import ImageConfig, to_model_size


class FrameStore(Protocol):
    """All frames of a data set in one row order: episodes one after the other.

    Attributes:
        episodes: the demonstrations.
        cameras: in the order of the images.
        state, actions: (N, P) and (N, A) float32.
    """

    episodes: Sequence[Episode]
    cameras: tuple[str, ...]
    state: np.ndarray
    actions: np.ndarray

    def images(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return (B, C, S, S, 3) uint8 RGB of the frames at `rows`."""
        ...


class LiveFrames:
    """Decodes and resizes each frame when it is asked for; no cache, any source.

    Args:
        source: the demonstrations.
        images: size and resize.
    """

    def __init__(self, source: EpisodeSource, images: ImageConfig) -> None:
        self._source, self._config = source, images
        self.episodes = source.episodes
        self.cameras = source.cameras
        self.state, self.actions = all_vectors(source)
        lengths = [episode.length for episode in source.episodes]
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        # Decoders keep a place in their file: one reader at a time.
        self._lock = threading.Lock()

    def images(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return (B, C, S, S, 3) uint8 RGB of the frames at `rows`."""
        size = self._config.size
        batch = np.empty((len(rows), len(self.cameras), size, size, 3), np.uint8)
        with self._lock:
            for place, row in zip(batch, rows, strict=True):
                episode = int(np.searchsorted(self._starts, row, 'right')) - 1
                frame = int(row - self._starts[episode])
                for c, camera in enumerate(self.cameras):
                    image = next(iter(self._source.images(episode, camera, [frame])))
                    place[c] = to_model_size(image, self._config, rotate=0)
        return batch
