# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads LIBERO's HDF5 demonstrations, original and regenerated ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vla_adapter_ros.data.episodes import ActionKind, Episode, StatesActions, files_fingerprint
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.grippers import ACTION_NAMES, libero_training_actions

if TYPE_CHECKING:
    import h5py

VIEWS = {'third_person': 'agentview_rgb', 'wrist': 'eye_in_hand_rgb'}
FPS = 20.0  # [Hz]
# Suites with scenes put the scene before the task: KITCHEN_SCENE3_turn_on_the_stove_demo.
_SCENE = re.compile(r'^[A-Z_]+_SCENE\d+_')


class LiberoSource:
    """A folder of LIBERO .hdf5 files, or one file; see `EpisodeSource`.

    The simulator renders upside down; images are turned by 180°, as in the released models'
    training.

    Raises:
        DatasetError: no demonstrations, or a file is damaged.
    """

    fps = FPS
    cameras = tuple(VIEWS)
    contract = None
    action_kind: ActionKind = 'command'
    names = ACTION_NAMES

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._files = sorted(self.path.glob('*.hdf5')) if self.path.is_dir() else [self.path]
        self._demos: list[tuple[Path, str]] = []
        self.episodes: list[Episode] = []
        for file in self._files:
            with _open(file) as data:
                text = _instruction(file, data)
                for name in sorted(data['data'], key=_number):
                    length = len(data['data'][name]['actions'])
                    self.episodes.append(Episode(f'{file.stem}/{name}', length, text))
                    self._demos.append((file, name))
        if not self.episodes:
            raise DatasetError(f'{self.path}: no demonstrations in {len(self._files)} files')

    def states_actions(self, episode: int) -> StatesActions:
        """Return state and actions of all frames."""
        file, name = self._demos[episode]
        with _open(file) as data:
            demo = data['data'][name]
            try:
                state = np.hstack([demo['obs/ee_states'][:], demo['obs/gripper_states'][:]])
            except KeyError as error:
                raise DatasetError(f'{file}: {name}: {error.args[0]}') from error
            return libero_states_actions(state, demo['actions'][:])

    def images(self, episode: int, camera: str, frames: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield (H, W, 3) uint8 RGB upright images of the given frames."""
        file, name = self._demos[episode]
        with _open(file) as data:
            images = data['data'][name]['obs'][VIEWS[camera]]
            for frame in frames:
                yield np.ascontiguousarray(images[frame][::-1, ::-1])

    def fingerprint(self) -> str:
        """Return a hash of all files' names and sizes."""
        root = self.path if self.path.is_dir() else self.path.parent
        return files_fingerprint(root, self._files)


def libero_states_actions(state: np.ndarray, actions: np.ndarray) -> StatesActions:
    """Return proprioception (T, 8) and actions (T, 7) as the official loader does.

    Source: `libero_dataset_transform` (prismatic/vla/datasets/rlds/oxe/transforms.py).

    Args:
        state: (T, ≥ 8) tool position, axis-angle, …, two finger positions.
        actions: (T, 7) six controller commands, then the gripper.
    """
    proprioception = np.concatenate([state[:, :6], state[:, -2:]], axis=1)
    targets = libero_training_actions(actions)
    return StatesActions(proprioception.astype(np.float32), targets.astype(np.float32))


def _open(file: Path) -> h5py.File:
    import h5py

    try:
        data = h5py.File(file, 'r')
    except OSError as error:
        raise DatasetError(f'{file}: not a readable HDF5 file: {error}') from error
    if 'data' not in data:
        data.close()
        raise DatasetError(f'{file}: no group "data": not a LIBERO file')
    return data


def _number(name: str) -> int:
    digits = name.rpartition('_')[2]
    return int(digits) if digits.isdigit() else 0


def _instruction(file: Path, data: h5py.File) -> str:
    """Return the task: an attribute of original files; regenerated ones have it in their name."""
    described = data['data'].attrs.get('problem_info')
    if described is not None:
        found = json.loads(described)['language_instruction']
        text = ' '.join(found) if isinstance(found, list) else str(found)
        return text.strip().strip('"')
    name = file.stem.removesuffix('_demo')
    return _SCENE.sub('', name).replace('_', ' ').strip()
