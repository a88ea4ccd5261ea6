# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The clock on which motion lives, and what it makes of the stamps of messages.

The robot's clock stamps messages and may be set while the arm moves (NTP, `date -s`, a suspended
virtual machine). Plans, streams, ages and time limits live on the motion clock instead, which
never jumps. A stamp is converted once, when its message arrives: into the age that it had then.
"""

from __future__ import annotations

from typing import NamedTuple

# Simulated time advances in steps, and may be several times as fast as real time: it may gain
# this much on the steady clock between two calls [s]. More is a jump and does not count.
MAX_SIMULATED_STEP_S = 0.5


class MotionClock:
    """Seconds that only ever run forward, and never jump.

    They pass as on the steady clock, or, under simulated time, as on the robot's: an arm in a
    simulation at half speed needs twice as long for a motion.
    """

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._now = 0.0

    def now(self, robot: float, steady: float, simulated: bool = False) -> float:
        """Return the time [s].

        Args:
            robot: the robot's clock [s].
            steady: a clock that is never set [s].
            simulated: whether the robot's clock is simulated time.
        """
        if self._last is None:
            self._now = steady
        else:
            passed = steady - self._last[1]
            if simulated:
                step = robot - self._last[0]
                # A pause of this process affects both clocks and is not a jump.
                passed = step if 0.0 <= step <= passed + MAX_SIMULATED_STEP_S else 0.0
            self._now += max(passed, 0.0)
        self._last = robot, steady
        return self._now


class Arrival(NamedTuple):
    """When a message was made, and when it arrived.

    Attributes:
        stamp: when it was made, on the robot's clock; when it arrived if it has no stamp [s].
        age: on arrival [s]; negative: stamped in the future.
        now: when it arrived, on the motion clock [s].
    """

    stamp: float
    age: float
    now: float

    @staticmethod
    def of(stamp: float, robot: float, now: float) -> Arrival:
        """Return the arrival of a message.

        Args:
            stamp: of its header [s]; 0: it has none and counts as made when it arrived.
            robot: the robot's clock [s].
            now: the motion clock [s].
        """
        return Arrival(stamp, robot - stamp, now) if stamp > 0.0 else Arrival(robot, 0.0, now)

    @property
    def made(self) -> float:
        """When the message was made, on the motion clock [s]."""
        return self.now - max(self.age, 0.0)
