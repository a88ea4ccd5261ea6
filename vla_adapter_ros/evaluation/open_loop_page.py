# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Open-loop predictions beside the pictures that they were computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vla_adapter_ros.data.show.page import PageEpisode, picture_frames

if TYPE_CHECKING:
    from vla_adapter_ros.data.training.dataset import Dataset
    from vla_adapter_ros.evaluation.open_loop import EpisodeChunks

# Where the rate of a dataset is not known [Hz].
_USUAL_RATE = 10.0
_JOINT_SPACES = ('joint_position', 'joint_delta')


def predicted_episode(
    dataset: Dataset, episode: EpisodeChunks, names: Sequence[str]
) -> PageEpisode:
    """Return an episode with its recorded and predicted chunks, joints as absolute positions.

    Args:
        dataset: that of the predictions.
        episode: predictions at every frame.
        names: of the action dimensions.
    """
    indices = np.array(dataset.indices_of(episode.episode))
    fps = dataset.fps or _USUAL_RATE
    frames = picture_frames(len(indices), fps)
    images = dataset.batch(indices[frames]).images
    state = dataset.batch(indices).proprioception.astype(float)
    chunks = {'recorded': episode.recorded, 'predicted': episode.predicted}
    if dataset.action_space == 'joint_delta':
        chunks = {name: absolute_targets(values, state) for name, values in chunks.items()}
    about = dataset.store.episodes[episode.episode]
    return PageEpisode(
        key=about.key,
        instruction=episode.instruction,
        success=about.success,
        fps=fps,
        names=names,
        length=len(indices),
        state=state if dataset.action_space in _JOINT_SPACES else state[:, :0],
        actions=np.zeros((len(indices), 0)),
        action_shift=0,
        picture_frames=frames,
        pictures={camera: images[:, i] for i, camera in enumerate(dataset.cameras)},
        chunk_frames=episode.frames - episode.frames[0],
        chunks=chunks,
        chunk_step=dataset.stride,
    )


def absolute_targets(chunks: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Return joint targets for offsets (T, K, A) from the state (T, P) at the observation."""
    targets = chunks.copy()
    targets[:, :, :-1] += state[:, None, : chunks.shape[2] - 1]
    return targets
