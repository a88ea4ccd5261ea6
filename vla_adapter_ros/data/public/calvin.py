# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads CALVIN's language-annotated demonstrations (episode_*.npz)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from vla_adapter_ros.data.codecs import rgb_image
from vla_adapter_ros.data.episodes import ActionKind, Episode, StatesActions
from vla_adapter_ros.data.public.pickled import read_pickled
from vla_adapter_ros.errors import DatasetError, readable
from vla_adapter_ros.processing.grippers import ACTION_NAMES, calvin_training_actions

VIEWS = {'third_person': 'rgb_static', 'wrist': 'rgb_gripper'}
ANNOTATIONS = 'lang_annotations/auto_lang_ann.npy'
FPS = 30.0  # [Hz]
MOST_BYTES = 1 << 26  # of one array; a camera image has 120,000


class CalvinSource:
    """A `training` or `validation` folder of CALVIN; see `EpisodeSource`.

    Raises:
        DatasetError: the annotations or a step are missing or damaged.
    """

    fps = FPS
    cameras = tuple(VIEWS)
    contract = None
    action_kind: ActionKind = 'command'
    names = ACTION_NAMES

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        annotations = self.path / ANNOTATIONS
        found = read_pickled(annotations)
        with readable(annotations, DatasetError):
            texts, spans = found['language']['ann'], found['info']['indx']
            self._spans = [(int(first), int(last)) for first, last in spans]
            self.episodes = [
                Episode(f'{first:07d}_{last:07d}', last - first + 1, str(text).strip())
                for (first, last), text in zip(self._spans, texts, strict=True)
            ]
        for episode in self.episodes:
            if episode.length < 1:
                raise DatasetError(f'{annotations}: {episode.key} ends before it begins')

    def _step(self, episode: int, frame: int, *names: str) -> list[np.ndarray]:
        """Return arrays of one step by their names."""
        file = self.path / f'episode_{self._spans[episode][0] + frame:07d}.npz'
        with readable(file, DatasetError), np.load(file) as step:
            for name in names:
                size = step.zip.getinfo(f'{name}.npy').file_size
                if size > MOST_BYTES:
                    raise DatasetError(f'{file}: {name} has {size} bytes, at most {MOST_BYTES}')
            return [step[name] for name in names]

    def states_actions(self, episode: int) -> StatesActions:
        """Return state and actions of all frames."""
        count = self.episodes[episode].length
        steps = [self._step(episode, frame, 'robot_obs', 'rel_actions') for frame in range(count)]
        with readable(f'{self.path}: {self.episodes[episode].key}', DatasetError):
            state, actions = map(np.stack, zip(*steps, strict=True))
            return calvin_states_actions(state, actions)

    def images(self, episode: int, camera: str, frames: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield (H, W, 3) uint8 RGB images of the given frames."""
        for frame in frames:
            (pixels,) = self._step(episode, frame, VIEWS[camera])
            where = f'{self.path}: {self.episodes[episode].key}: frame {frame}: {camera}'
            yield rgb_image(np.ascontiguousarray(pixels), where)

    def fingerprint(self) -> str:
        """Return a hash of the annotations and of the number of steps.

        The steps are not looked at one by one: there are up to 1.8 million of them.
        """
        with os.scandir(self.path) as entries:
            steps = sum(entry.name.endswith('.npz') for entry in entries)
        annotations = (self.path / ANNOTATIONS).read_bytes()
        return hashlib.sha256(annotations + f' {steps}'.encode()).hexdigest()[:16]


def calvin_states_actions(state: np.ndarray, actions: np.ndarray) -> StatesActions:
    """Return proprioception (T, 8) and actions (T, 7) as the official loader does.

    Source: `calvin_dataset_transform` (prismatic/vla/datasets/rlds/oxe/transforms.py).

    Args:
        state: (T, 15) robot_obs: tool position, Euler angles, gripper width, joints, gripper
            action.
        actions: (T, 7) relative commands, then the gripper.
    """
    proprioception = np.concatenate([state[:, :7], state[:, -1:]], axis=1)
    targets = calvin_training_actions(actions)
    return StatesActions(proprioception.astype(np.float32), targets.astype(np.float32))
