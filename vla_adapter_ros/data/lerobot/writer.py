# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Writes LeRobot v3.0 datasets, one episode at a time, without the lerobot library.

    writer = DatasetWriter('datasets/pick', contract)
    writer.add_episode(observations, actions, 'pick up the red cube', {'success': True})
    writer.finalize()

Each episode is first staged as a folder of its own that appears only when complete. Several
processes may therefore add episodes to one path, a killed process loses only its current
episode, and opening the path again carries on. `finalize` joins what is staged into the
dataset; it can be called again after more episodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.data.files import read_json, remove_abandoned, remove_folder, storage_errors
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.metadata import read_lines
from vla_adapter_ros.data.lerobot.staging import (
    EPISODE,
    StagedEpisode,
    read_description,
    stage_episode,
)
from vla_adapter_ros.data.lerobot.video import QUALITY
from vla_adapter_ros.errors import DatasetError, readable
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.weights.files import make_folder, write_json

STAGING, SETTINGS = '.staging', 'settings.json'
# Rates this close are the same: 29.97 and 30 Hz, and step periods of few digits.
RATE_TOLERANCE = 1.5e-3
_KEY = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.+-]{0,199}')


class DatasetWriter:
    """Adds episodes to a LeRobot v3.0 dataset.

    Args:
        path: folder of the dataset.
        contract: robot contract; travels in the dataset. Its cameras are stored.
        fps: frames per second, an integer multiple of the contract's rate; None: that rate.
        image_size: side of the stored square images [px], resized as for the model; None: as
            the camera gives them. Images are stored upright: the contract's rotation is applied.
        storage: `video` (H.264) or `image` (PNG, lossless).
        append: add to an existing dataset. Without it a finished dataset is refused; one that was
            interrupted before `finalize` is always continued.
        quality: constant rate factor of the videos (lower is better and larger).
        conversion: how the episodes come about (JSON data); stored, and the same for all.

    Raises:
        DatasetError: the path holds a finished dataset or another kind of one.
    """

    def __init__(
        self,
        path: str | Path,
        contract: RobotContract,
        *,
        fps: int | None = None,
        image_size: int | None = None,
        storage: str = 'video',
        append: bool = False,
        quality: int = QUALITY,
        conversion: Mapping[str, Any] | None = None,
    ) -> None:
        if storage not in layout.STORAGES:
            raise DatasetError(f'storage: got {storage!r}, expected one of {layout.STORAGES}')
        self.path = Path(path)
        self.settings = layout.DatasetSettings(
            contract, frame_rate(contract, fps), image_size, storage, quality, conversion or {}
        )
        self._staging = self.path / STAGING
        if layout.is_dataset(self.path) and not append and not self._staging.is_dir():
            raise DatasetError(f'{self.path}: already holds a dataset; append to it or remove it')
        self._agree_with_existing()
        remove_abandoned(self.path)
        remove_abandoned(self._staging)

    def _agree_with_existing(self) -> None:
        extra = self.path / layout.EXTRA
        settings = self._staging / SETTINGS
        for place in (extra, settings):
            if place.is_file():
                with readable(place, DatasetError):
                    self.settings.check_stored(read_json(place), place)
        if layout.is_dataset(self.path) and not extra.is_file():
            raise DatasetError(f'{self.path}: was not written by this package (no {extra.name})')
        if not settings.is_file():
            make_folder(self._staging)
            write_json(settings, self.settings.to_dict())

    def keys(self) -> set[str]:
        """Return the keys of all episodes, staged and final."""
        staged = {path.name for path in self._staging.glob('*') if path.is_dir()}
        return {key for key in staged if _KEY.fullmatch(key)} | set(final_keys(self.path))

    def metadata(self) -> dict[str, dict[str, Any]]:
        """Return the metadata of all episodes, staged and final, by key."""
        found = final_metadata(self.path)
        for folder in self._staging.glob('*'):
            file = folder / EPISODE
            if _KEY.fullmatch(folder.name) and file.is_file():
                found[folder.name] = read_description(file)['metadata']
        return found

    def taken_out(self) -> dict[str, dict[str, Any]]:
        """Return what identifies the recordings that edits took out, by the key they had."""
        extra = self.path / layout.EXTRA
        with readable(extra, DatasetError):
            return dict(read_json(extra).get(layout.TAKEN_OUT, {})) if extra.is_file() else {}

    def add_episode(
        self,
        observations: Iterable[Observation],
        actions: np.ndarray | Sequence[np.ndarray],
        instruction: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
    ) -> str:
        """Add one episode.

        Args:
            observations: T observations at `fps`, images as the camera gives them; may be an
                iterator, so that an episode need not fit in memory.
            actions: (T, J + 1) absolute targets in contract order and units; `actions[t]` is to
                be reached one frame period after observation t.
            instruction: the task; None: the first observation's.
            metadata: JSON data kept with the episode (seed, success, operator, …).
            key: name of the episode, unique in the dataset; orders the episodes. Give one when
                several processes write. None: the next free number.

        Returns:
            The episode's key.

        Raises:
            DatasetError: lengths, shapes, sizes or values do not fit, or the disk is full;
                nothing of the episode is kept then, everything before it is.
        """
        key = self._next_key() if key is None else key
        if not _KEY.fullmatch(key):
            raise DatasetError(f'episode key: got {key!r}, expected letters, digits and _.+-')
        if key in self.keys():
            raise DatasetError(f'{self.path}: episode {key!r} already exists')
        episode = StagedEpisode(
            key=key,
            instruction=instruction,
            actions=np.asarray(actions, np.float64),
            metadata=dict(metadata or {}),
        )
        kept = f'episode {key!r} is not kept, the {len(self.keys())} before it are'
        with storage_errors(self._staging / key, kept):
            stage_episode(self._staging / key, episode, observations, self.settings)
        return key

    def _next_key(self) -> str:
        numbers = [int(key) for key in self.keys() if key.isdigit()]
        return f'{max(numbers, default=-1) + 1:06d}'

    def finalize(self) -> None:
        """Join the staged episodes into the dataset; call in one process.

        Raises:
            DatasetError: there is no episode, or the disk is full (all staged episodes are kept).
        """
        from vla_adapter_ros.data.lerobot.assembly import assemble

        with storage_errors(self.path, 'all staged episodes are kept; run again'):
            assemble(self.path, self._staging, self.settings)
        remove_folder(self._staging)

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        # After an error the staged episodes wait for the next run.
        if kind is None:
            self.finalize()


def frame_rate(contract: RobotContract, fps: int | None) -> int:
    """Return the dataset's frames per second.

    Raises:
        DatasetError: `fps` (or the contract's rate) is not within 0.15 % of an integer, or of a
            multiple of the contract's rate.
    """
    rate = 1.0 / contract.step_period
    chosen = rate if fps is None else float(fps)
    steps = chosen * contract.step_period
    whole = abs(chosen - round(chosen)) <= RATE_TOLERANCE * chosen
    if not whole or abs(steps - round(steps)) > RATE_TOLERANCE * steps or steps < 0.5:
        raise DatasetError(
            f'fps: got {chosen:g}, expected an integer multiple of the contract rate {rate:g} Hz '
            f'(step_period {contract.step_period:g} s)'
        )
    return round(chosen)


def final_keys(path: Path) -> list[str]:
    """Return the keys of the finished dataset's episodes, in order."""
    return list(final_metadata(path))


def final_metadata(path: Path) -> dict[str, dict[str, Any]]:
    """Return the metadata of the finished dataset's episodes by key, in order."""
    file = path / layout.EXTRA_EPISODES
    if not file.is_file():
        return {}
    with readable(file, DatasetError):
        return {line['key']: line['metadata'] for line in read_lines(file)}
