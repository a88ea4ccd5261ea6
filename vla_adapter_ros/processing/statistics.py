# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Dataset statistics, and normalisation of proprioception and actions with them.

Formulas in float64 as the official code has them: `_unnormalize_actions` of
`modeling_prismatic.py`, `normalize_proprio` of `openvla_utils.py`, and for training
`normalize_action_and_proprio` of `rlds/utils/data_utils.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.errors import CheckpointError, ObservationError

# Mode → the two statistics it uses.
_NEEDED = {'bounds_q99': ('q01', 'q99'), 'bounds': ('min', 'max'), 'normal': ('mean', 'std')}
MODES = tuple(_NEEDED)
_NAMES = ('mean', 'std', 'min', 'max', 'q01', 'q99')
# Of the official formula, against division by zero; part of it also where not needed.
EPSILON = 1e-8


@dataclass(frozen=True)
class VectorStatistics:
    """Statistics of one vector over a dataset; each entry (D,).

    Attributes:
        mean, std, min, max, q01, q99: per dimension, in physical units.
        mask: True where the dimension is normalised; False passes it unchanged (grippers in
            [0, 1]). None normalises all.
    """

    mean: np.ndarray
    std: np.ndarray
    min: np.ndarray
    max: np.ndarray
    q01: np.ndarray
    q99: np.ndarray
    mask: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Number of dimensions D."""
        return len(self.mean)

    @staticmethod
    def from_data(values: np.ndarray, mask: np.ndarray | None = None) -> VectorStatistics:
        """Compute the statistics of (N, D) values. Quantiles are over all rows together."""
        values = np.asarray(values, np.float64)
        q01, q99 = np.quantile(values, [0.01, 0.99], axis=0)
        return VectorStatistics(
            values.mean(0), values.std(0), values.min(0), values.max(0), q01, q99, mask
        )

    @staticmethod
    def from_dict(data: Mapping[str, Any], place: str) -> VectorStatistics:
        """Read the official layout. Raises CheckpointError naming the missing or unequal entries.

        Absent entries become NaN: published files have not always all six, and a normalisation
        needs two of them (`Normaliser` refuses if it is those).
        """
        given = {name: np.asarray(data[name], float) for name in _NAMES if name in data}
        if not given:
            raise CheckpointError(f'{place}: expected {list(_NAMES)}, got {sorted(data)}')
        size = next(iter(given.values())).size
        vectors = {name: given.get(name, np.full(size, np.nan)) for name in _NAMES}
        mask = None if data.get('mask') is None else np.asarray(data['mask'], bool)
        for name, vector in {**vectors, 'mask': np.ones(size) if mask is None else mask}.items():
            if vector.shape != (size,):
                raise CheckpointError(f'{place}.{name}: got shape {vector.shape}, not ({size},)')
        return VectorStatistics(**vectors, mask=mask)

    def to_dict(self) -> dict[str, Any]:
        """Return the official layout as plain JSON data."""
        known = {name: getattr(self, name) for name in _NAMES}
        data: dict[str, Any] = {n: v.tolist() for n, v in known.items() if np.isfinite(v).all()}
        if self.mask is not None:
            data['mask'] = self.mask.tolist()
        return data


@dataclass(frozen=True)
class Statistics:
    """Action and proprioception statistics of one dataset, named by its key."""

    key: str
    action: VectorStatistics
    proprio: VectorStatistics
    num_transitions: int = 0
    num_trajectories: int = 0

    @staticmethod
    def from_dict(data: Mapping[str, Any], key: str | None = None) -> Statistics:
        """Read the official layout {key: {action, proprio, …}}.

        Args:
            data: as in `dataset_statistics.json` (or `norm_stats` of a config).
            key: which dataset; may be left out if there is only one. LIBERO's suites may be
                named without their `_no_noops`.

        Raises:
            CheckpointError: several and none chosen, or not there; the message lists them.
        """
        chosen = choose_key(data, key)
        entry = data[chosen]
        for part in ('action', 'proprio'):
            if not isinstance(entry, Mapping) or part not in entry:
                raise CheckpointError(f'statistics {chosen!r}: no {part!r} entry')
        return Statistics(
            chosen,
            VectorStatistics.from_dict(entry['action'], f'statistics {chosen!r}.action'),
            VectorStatistics.from_dict(entry['proprio'], f'statistics {chosen!r}.proprio'),
            int(entry.get('num_transitions', 0)),
            int(entry.get('num_trajectories', 0)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the official layout, {key: {…}}."""
        return {
            self.key: {
                'action': self.action.to_dict(),
                'proprio': self.proprio.to_dict(),
                'num_transitions': self.num_transitions,
                'num_trajectories': self.num_trajectories,
            }
        }


def choose_key(data: Mapping[str, Any], key: str | None) -> str:
    """Return the statistics key to use. Raises CheckpointError listing them if unclear."""
    keys = sorted(data)
    if not keys:
        raise CheckpointError('statistics: empty')
    if key is None:
        if len(keys) == 1:
            return keys[0]
        raise CheckpointError(
            f'statistics: {len(keys)} keys and none chosen; choose one of {keys}'
        )
    for candidate in (key, f'{key}_no_noops'):
        if candidate in data:
            return candidate
    raise CheckpointError(f'statistics: no key {key!r}; there are {keys}')


class Normaliser:
    """Maps vectors between physical units and the model's [-1, 1].

    Args:
        statistics: of the vector.
        mode: `bounds_q99` (1 % and 99 % quantiles), `bounds` (min, max) or `normal` (mean, std).
        zero_constant: normalise dimensions with min == max to 0, as official training does. The
            official evaluation does not for proprioception, and maps it to -1. A dimension that
            the mask excludes stays unchanged: official training zeroes that too, and a gripper
            that was open in all demonstrations would be closed. If False, excluded dimensions are
            clipped too, as the official evaluation does with proprioception.
    """

    def __init__(
        self, statistics: VectorStatistics, mode: str = 'bounds_q99', zero_constant: bool = False
    ) -> None:
        if mode not in MODES:
            raise CheckpointError(f'normalisation: got {mode!r}, expected one of {MODES}')
        self.mode = mode
        self.size = statistics.size
        first, second = _NEEDED[mode]
        low, other = getattr(statistics, first), getattr(statistics, second)
        if not np.isfinite(low + other).all():
            raise CheckpointError(
                f'normalisation {mode}: the statistics have no finite {first} and {second}'
            )
        everything = np.ones(self.size, bool)
        self._mask = everything if statistics.mask is None else statistics.mask
        spread = other if mode == 'normal' else other - low
        if (spread[self._mask] < 0).any():
            what = f'{second} below {"0" if mode == "normal" else first}'
            raise CheckpointError(f'normalisation {mode}: the statistics have {what}')
        self._low = low
        self._scale = spread + EPSILON
        constant = statistics.min == statistics.max
        self._zero = constant & self._mask if zero_constant else ~everything
        clipped = self._mask if zero_constant else everything
        self._limit = np.where(clipped & (mode != 'normal'), 1.0, np.inf)

    def normalise(self, values: np.ndarray) -> np.ndarray:
        """Return float64 values of shape (…, D), clipped to [-1, 1] in the bounds modes."""
        values = self._checked(values)
        if self.mode == 'normal':
            normalized = (values - self._low) / self._scale
        else:
            normalized = 2.0 * (values - self._low) / self._scale - 1.0
        normalized = np.where(self._mask, normalized, values)
        return np.where(self._zero, 0.0, np.clip(normalized, -self._limit, self._limit))

    def denormalise(self, values: np.ndarray) -> np.ndarray:
        """Return (…, D) physical units, float64. Never clips: limits are the safety filter's."""
        values = self._checked(values)
        if self.mode == 'normal':
            physical = values * self._scale + self._low
        else:
            physical = 0.5 * (values + 1.0) * self._scale + self._low
        return np.where(self._mask, physical, values)

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Return factor and offset (D,) with physical = normalised · factor + offset."""
        low, high = self.denormalise(np.stack([np.zeros(self.size), np.ones(self.size)]))
        return high - low, low

    def limits(self) -> np.ndarray:
        """Return the least and the largest normalised value (2, D) that `normalise` gives."""
        high = np.where(self._zero, 0.0, self._limit)
        return np.stack([-high, high])

    def _checked(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, np.float64)
        if values.shape[-1:] != (self.size,):
            raise ObservationError(
                f'vector: got shape {values.shape}, the statistics have {self.size} dimensions'
            )
        return values
