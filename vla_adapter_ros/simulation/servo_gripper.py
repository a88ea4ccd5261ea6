# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A gripper that goes to one target at one speed and is stopped by an object, without ROS."""

from __future__ import annotations

# It counts as stalled after standing short of its target for this long [s].
STALL_S = 0.1
_NEAR = 1e-3


class ServoGripper:
    """One servo; openings are open fractions, 0 closed to 1 open.

    Args:
        opening: where it stands.
        speed: open fraction per second.
        thing: opening at which an object between the fingers stops it; 0: nothing is there.
    """

    def __init__(self, opening: float = 1.0, speed: float = 2.0, thing: float = 0.0) -> None:
        self.opening = self.target = opening
        self.thing = thing
        self._speed = speed
        self._stood = 0.0

    @property
    def reached(self) -> bool:
        """Whether it stands at its target."""
        return abs(self.opening - self.target) < _NEAR

    @property
    def stalled(self) -> bool:
        """Whether it stands short of its target."""
        return not self.reached and self._stood >= STALL_S

    def go(self, target: float) -> None:
        """Move to an opening from now on."""
        self.target, self._stood = min(max(target, 0.0), 1.0), 0.0

    def stop(self) -> None:
        """Stay where it is."""
        self.go(self.opening)

    def step(self, seconds: float) -> None:
        """Move for a time."""
        reach = self._speed * seconds
        change = min(max(self.target - self.opening, -reach), reach)
        moved = max(self.opening + change, min(self.thing, self.opening))
        self._stood = self._stood + seconds if moved == self.opening else 0.0
        self.opening = moved
