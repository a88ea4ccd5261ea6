# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Between those who command the arm and its servos: delayed commands, readings in counts."""

from __future__ import annotations

from collections import deque

import numpy as np

from vla_adapter_ros.simulation.scene import FINGER_STROKE
from vla_adapter_ros.simulation.servo_arm import GRIPPER_OPEN, in_counts


class ServoLink:
    """Commands reach the servos late; positions are read at a fixed rate, in whole counts.

    Vectors are (7,) in the driver's units and order (`ArmSimulation`), times simulation time [s].

    Args:
        delay: of a command [s].
        period: between two readings [s]; 0: exact positions at any time.
        phase: time of the first reading [s].
        offset: (7,) by which the servos rest beside their target.
    """

    def __init__(
        self,
        delay: float = 0.0,
        period: float = 0.0,
        phase: float = 0.0,
        offset: np.ndarray | float = 0.0,
    ) -> None:
        self._delay = delay
        self._period = period
        self._next = phase
        self._offset = offset
        self._waiting: deque[tuple[float, np.ndarray]] = deque()
        self._reading: np.ndarray | None = None

    @property
    def direct(self) -> bool:
        """Whether commands arrive at once and positions are exact."""
        return self._period == 0.0

    def send(self, control: np.ndarray, time: float) -> None:
        """Send a command."""
        self._waiting.append((time + self._delay, control + self._offset))

    def arrived(self, time: float) -> np.ndarray | None:
        """Return the newest command that has reached the servos since the last call, if any."""
        newest = None
        while self._waiting and self._waiting[0][0] <= time + 1e-9:
            newest = self._waiting.popleft()[1]
        return newest

    def read(self, positions: np.ndarray, time: float) -> None:
        """Take a reading of the true positions if one is due."""
        if self._reading is not None and time < self._next - 1e-9:
            return
        while self._next <= time + 1e-9:
            self._next += self._period
        travel = FINGER_STROKE / GRIPPER_OPEN
        gripper = round(positions[6] / travel) * travel
        self._reading = np.append(in_counts(positions[:6]), gripper)

    def reading(self, positions: np.ndarray) -> np.ndarray:
        """Return the last reading, a copy; without readings the true positions."""
        return positions if self._reading is None else self._reading.copy()
