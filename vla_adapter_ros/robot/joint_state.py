# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From a joint state message's names and positions to a vector in contract order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.robot.contract import RobotContract


class JointStateReader:
    """Indexes joint states by name: their order is not guaranteed (Humble's broadcaster)."""

    def __init__(self, contract: RobotContract) -> None:
        self._contract = contract
        self._names: tuple[str, ...] | None = None
        self._index = np.zeros(0, dtype=int)

    def read(self, names: Sequence[str], positions: Sequence[float]) -> np.ndarray:
        """Return (J + 1,) float64: arm joints [rad], then the gripper's open fraction.

        Other joints in the message are ignored. The open fraction is not clipped: drivers measure
        values slightly outside [0, 1].

        Raises:
            ObservationError: a joint is missing or named repeated, lengths differ, or a value is
                not finite.
        """
        if len(positions) != len(names):
            raise ObservationError(
                f'joint state: {len(names)} names but {len(positions)} positions'
            )
        if self._names != (key := tuple(names)):
            self._index = self._find(key)
            self._names = key
        state = np.asarray(positions, dtype=float)[self._index]
        if not np.isfinite(state).all():
            bad = int(np.flatnonzero(~np.isfinite(state))[0])
            raise ObservationError(
                f'joint state: {self._contract.names[bad]} is {state[bad]}, expected a number'
            )
        state[-1] = self._contract.gripper.to_fraction(state[-1])
        return state

    def _find(self, names: tuple[str, ...]) -> np.ndarray:
        expected = self._contract.names
        missing = [name for name in expected if name not in names]
        if missing:
            raise ObservationError(
                f'joint state: missing {", ".join(missing)}; got {", ".join(names) or "no joints"}'
            )
        repeated = [name for name in expected if names.count(name) > 1]
        if repeated:
            raise ObservationError(f'joint state: {", ".join(repeated)} named more than once')
        return np.array([names.index(name) for name in expected])
