# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the arm's own record says of its motion, by the stamps of the states.

When a state arrives says something about the machine and its load; when it was measured says
something about the arm.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import JointState

from support.ros_harness import wait_until
from vla_adapter_ros.nodes.common.messages import to_seconds

# An arm is at rest where it stays this long [s], from there to the end of its record.
REST_SECONDS = 0.75
# The record itself may be late: the middleware needs time to see that a process is gone [s].
RECORD_WITHIN = 20.0


class ArmRecord:
    """True joint positions [rad] over their stamps [s] on the system's clock.

    `resolution` is what the record cannot tell from rest [rad].
    """

    def __init__(self, names: Sequence[str], resolution: float = 0.0):
        self.names = list(names)
        self.resolution = resolution
        self.states: list[tuple[float, np.ndarray]] = []

    def add(self, message: JointState) -> None:
        """Keep one state; usable as the callback of a subscription."""
        values = dict(zip(message.name, message.position, strict=True))
        positions = np.array([values[name] for name in self.names])
        self.states.append((to_seconds(message.header.stamp), positions))

    @property
    def times(self) -> np.ndarray:
        return np.array([t for t, _ in self.states])

    @property
    def positions(self) -> np.ndarray:
        return np.array([q for _, q in self.states])

    def moves(self, speed: float = 0.05, window: float = 0.4) -> bool:
        """Whether a joint moved faster than `speed` [rad/s] in the last `window` [s] until now."""
        now = time.time()
        recent = [(t, q) for t, q in self.states[-200:] if t > now - window]
        if len(recent) < 5:
            return False
        travel = np.ptp([q for _, q in recent], axis=0).max() - self.resolution
        return bool(travel > speed * (recent[-1][0] - recent[0][0]))

    def rest_began(self, tolerance: float) -> float | None:
        """Stamp after which no joint was ever further than `tolerance` [rad] from the last state.

        None as long as that is less than REST_SECONDS before the end of the record.
        """
        states = list(self.states)
        end, resting = states[-1]
        began = states[0][0]
        for stamp, positions in reversed(states):
            if np.abs(positions - resting).max() > tolerance:
                began = stamp
                break
        return began if end - began > REST_SECONDS else None

    def assert_rest(self, within: float, tolerance: float) -> None:
        """Fail unless the arm comes to rest `within` seconds from now, and stays there."""
        now = time.time()

        def settled() -> float | None:
            # The record must tell of the time after this call, not of a rest before it.
            return self.states[-1][0] > now + REST_SECONDS and self.rest_began(tolerance)

        began = wait_until(settled, RECORD_WITHIN, 'a record of rest')
        assert began < now + within, f'rest came {began - now:.2f} s later, not in {within:g} s'
