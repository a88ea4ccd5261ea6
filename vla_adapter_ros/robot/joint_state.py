# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From joint state messages to vectors in contract order, however they are split over messages.

Arm, gripper, mobile base and head may be published by one node or by several, on one topic: each
joint keeps its newest value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.robot.contract import RobotContract

# Names shown of what is published, and kinds of message remembered.
_MOST_NAMES = 16
_MOST_KINDS = 64
# Kinds of message that did not come for this many times the age of a joint are forgotten.
_RECENT_AGES = 10.0
# A joint that goes this far [rad, open fraction] and exactly back, twice, has two sources.
_ALTERNATION = 0.05
_SAME = 2e-3


class TwoSourcesError(ObservationError):
    """A joint alternates between two values: two nodes publish it."""


@dataclass(frozen=True)
class JointReading:
    """A complete joint state.

    Attributes:
        state: (J + 1,) float64: arm joints [rad], then the gripper's open fraction. It is not
            clipped: drivers measure values slightly outside [0, 1].
        stamp: of the oldest arm joint; the gripper may be older by the reader's `max_age`.
    """

    state: np.ndarray
    stamp: Any


@dataclass
class _Kind:
    """Messages with the same names: (index there, index in the contract) of our joints."""

    pairs: list[tuple[int, int]]
    has_arm: bool
    received: float = 0.0


class JointStateReader:
    """Keeps the newest value of each of the contract's joints, by the driver's names.

    Args:
        contract: names the joints.
        max_age: a joint that was received this much before the newest message is missing.
            Times passed to `receive` have the same unit: seconds, or nanoseconds of a recording.
    """

    def __init__(self, contract: RobotContract, max_age: float = 0.5) -> None:
        self._contract = contract
        self._max_age = max_age
        self._joints = contract.driver_names
        self._labels = [
            name if name == driver else f'{driver} ({name})'
            for name, driver in zip(contract.names, self._joints, strict=True)
        ]
        self.reset()

    def reset(self) -> None:
        """Forget all values and names: the clock or the driver has changed."""
        self._kinds: dict[tuple[str, ...], _Kind] = {}
        # By joint. Lists: of so few numbers Python is faster than NumPy.
        self._values = [math.nan] * len(self._joints)
        self._stamps: list[Any] = [None] * len(self._joints)
        self._received = [-math.inf] * len(self._joints)
        self._newest = -math.inf
        self._before = [self._values] * 3

    def receive(
        self, names: Sequence[str], positions: Sequence[float], stamp: Any, now: float
    ) -> JointReading | None:
        """Take a message; returns the state if it moved on and all joints are there.

        Messages without joints of the contract are ignored. Messages of the gripper alone are
        kept, but do not make an arm look newer than it is.

        Args:
            names: of the message, in any order, with any others.
            positions: as many.
            stamp: of the measurement, or when it was received if the message has none: a number,
                or what orders like one.
            now: when it was received.

        Raises:
            TwoSourcesError: a joint alternates between two values.
            ObservationError: a joint of the contract is repeated or not finite, or there are not
                as many positions as names.
        """
        kind = self._kind(tuple(names))
        kind.received = now
        if kind.pairs:
            self._check(kind, names, positions)
        self._newest = now
        if not kind.pairs:
            return None
        for source, place in kind.pairs:
            self._values[place] = positions[source]
            self._stamps[place], self._received[place] = stamp, now
        if not kind.has_arm or now - min(self._received) > self._max_age:
            return None
        values = self._values.copy()
        values[-1] = self._contract.gripper.to_fraction(values[-1])
        self._check_alternation(values)
        return JointReading(np.array(values), min(self._stamps[:-1]))

    def _check(self, kind: _Kind, names: Sequence[str], positions: Sequence[float]) -> None:
        """Refuse a message as a whole: half of one would make the other joints look missing."""
        if len(positions) != len(names):
            raise ObservationError(
                f'joint state: {len(names)} names but {len(positions)} positions'
            )
        for source, place in kind.pairs:
            if not math.isfinite(value := positions[source]):
                label = self._labels[place]
                raise ObservationError(f'joint state: {label} is {value}, expected a number')

    def missing(self, now: float) -> str:
        """Return which joints are missing, what is published, and what to do; '' if complete."""
        missing = self._missing(now)
        if not missing or self._newest == -math.inf:
            return ''
        labels = ', '.join(self._labels[place] for place in missing)
        last = max(self._received[place] for place in missing)
        if self._newest - last < self._max_age:
            return ''  # Nothing at all is published any more.
        if min(self._received) > -math.inf:
            return f'joint states: {labels} no longer published; other joints still are'
        return (
            f'joint states: no {labels}; published are {self._published()}. If the driver has '
            'another name for it, state driver_name in the robot contract; if it is on another '
            'topic, remap that to joint_states'
        )

    def shared(self, publishers: Sequence[str]) -> str:
        """Return why several publishers of the topic cannot be told apart, or ''.

        Publishers of different joints may share it: each then sends messages of its own kind.
        """
        if len(publishers) < 2:
            return ''
        newest, horizon = self._newest, _RECENT_AGES * self._max_age
        kinds = {frozenset(n) for n, k in self._kinds.items() if newest - k.received < horizon}
        ours = [name for kind in kinds for name in kind if name in self._joints]
        repeated = sorted({name for name in ours if ours.count(name) > 1})
        if len(kinds) >= len(publishers) and not repeated:
            return ''
        what = f'both with {", ".join(repeated)}' if repeated else 'not each with other joints'
        return f'{len(publishers)} nodes publish it ({", ".join(publishers)}), {what}: stop one'

    def _kind(self, names: tuple[str, ...]) -> _Kind:
        kind = self._kinds.get(names)
        if kind is not None:
            return kind
        repeated = [name for name in self._joints if names.count(name) > 1]
        if repeated:
            raise ObservationError(f'joint state: {", ".join(repeated)} named more than once')
        pairs = [(names.index(j), place) for place, j in enumerate(self._joints) if j in names]
        kind = _Kind(pairs, any(place < len(self._joints) - 1 for _, place in pairs))
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        self._kinds[names] = kind
        return kind

    def _missing(self, now: float) -> list[int]:
        return [
            place
            for place, received in enumerate(self._received)
            if now - received > self._max_age
        ]

    def _published(self) -> str:
        names = list(dict.fromkeys(name for kind in self._kinds for name in kind))
        more = f' and {len(names) - _MOST_NAMES} more' if len(names) > _MOST_NAMES else ''
        return (', '.join(names[:_MOST_NAMES]) or 'no joints') + more

    def _check_alternation(self, values: list[float]) -> None:
        third, second, last = self._before
        self._before = [second, last, values]
        for j, (value, before) in enumerate(zip(values, last)):
            if abs(value - before) <= _ALTERNATION:
                continue
            if abs(value - second[j]) < _SAME and abs(before - third[j]) < _SAME:
                raise TwoSourcesError(
                    f'joint state: {self._labels[j]} alternates between {before:.3f} and '
                    f'{value:.3f}: two nodes publish it'
                )
