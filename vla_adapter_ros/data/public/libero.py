# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads LIBERO's HDF5 demonstrations, original and regenerated ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vla_adapter_ros.data.codecs import rgb_image
from vla_adapter_ros.data.episodes import ActionKind, Episode, StatesActions, files_fingerprint
from vla_adapter_ros.errors import DatasetError, readable
from vla_adapter_ros.processing.grippers import ACTION_NAMES, libero_training_actions

if TYPE_CHECKING:
    import h5py

VIEWS = {'third_person': 'agentview_rgb', 'wrist': 'eye_in_hand_rgb'}
FPS = 20.0  # [Hz]
MOST_BYTES = 1 << 26  # of one image, or of a demonstration's states
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
            with _opened(file) as data:
                text = _instruction(file, data)
                for name in sorted(data['data'], key=_number):
                    demo = data['data'][name]
                    every = _image_every(file, demo)
                    length, key = len(demo['actions']), f'{file.stem}/{name}'
                    self.episodes.append(Episode(key, length, text, image_every=every))
                    self._demos.append((file, name))
        if not self.episodes:
            raise DatasetError(f'{self.path}: no demonstrations in {len(self._files)} files')

    def states_actions(self, episode: int) -> StatesActions:
        """Return state and actions of all frames."""
        file, name = self._demos[episode]
        with _opened(file) as data:
            demo = data['data'][name]
            parts = [_whole(demo, f'obs/{part}_states', file) for part in ('ee', 'gripper')]
            return libero_states_actions(np.hstack(parts), _whole(demo, 'actions', file))

    def images(self, episode: int, camera: str, frames: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield (H, W, 3) uint8 RGB upright images of the given frames."""
        file, name = self._demos[episode]
        with _opened(file) as data:
            images = data['data'][name]['obs'][VIEWS[camera]]
            _check_size(images, images.size // max(1, len(images)), file)
            every, last, pixels = self.episodes[episode].image_every, -1, None
            for frame in frames:
                if frame // every != last:
                    last = frame // every
                    pixels = np.ascontiguousarray(images[last][::-1, ::-1])
                yield rgb_image(pixels, f'{file}: {name}: frame {frame}: {camera}')

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


@contextmanager
def _opened(file: Path) -> Iterator[h5py.File]:
    import h5py

    with readable(file, DatasetError), h5py.File(file, 'r') as data:
        if 'data' not in data:
            raise DatasetError(f'{file}: no group "data": not a LIBERO file')
        yield data


def _whole(demo: h5py.Group, name: str, file: Path) -> np.ndarray:
    """Return a table of a demonstration, (T, …)."""
    if name not in demo:
        raise DatasetError(f'{file}: {demo.name} has no {name}')
    _check_size(demo[name], demo[name].size, file)
    return demo[name][:]


def _check_size(data: h5py.Dataset, count: int, file: Path) -> None:
    """Refuse what a few bytes may claim: chunks that were never written take no room in a file."""
    if (size := count * data.dtype.itemsize) > MOST_BYTES:
        raise DatasetError(f'{file}: {data.name} has {size} bytes, at most {MOST_BYTES}')


def _image_every(file: Path, demo: h5py.Group) -> int:
    """Return the steps between two images; 1 but in demonstrations made by this package."""
    every = demo.attrs.get('image_every', 1)
    if not isinstance(every, int | np.integer) or every < 1:
        raise DatasetError(f'{file}: {demo.name}: image_every {every}, expected at least 1')
    return int(every)


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
