# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The stop switches of an operator: an emergency stop topic and an optional dead-man switch.

Both are messages over a network: they stop the policy, they do not replace the switch that cuts
the power of the arm.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class OperatorStop:
    """Remembers what the switches said last; the control loop acts on it (loop.py).

    Args:
        estop_name: topic of the emergency stop, for messages to the user.
        deadman_name: topic of the dead-man switch.
        clock: a clock that is never set [s]; a person's hand does not follow simulated time.

    Attributes:
        deadman_timeout: motion needs the dead-man switch held, and said so within this time [s];
            0: there is none.
    """

    def __init__(
        self,
        estop_name: str = '~/estop',
        deadman_name: str = '~/deadman',
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.deadman_timeout = 0.0
        self._estop_name = estop_name
        self._deadman_name = deadman_name
        self._clock = clock
        self._pressed = False
        self._held = False
        self._heard: float | None = None

    def receive_estop(self, pressed: bool) -> None:
        """Take a message of the emergency stop: true is pressed."""
        self._pressed = pressed

    def receive_deadman(self, held: bool) -> None:
        """Take a message of the dead-man switch: true is held."""
        self._held, self._heard = held, self._clock()

    @property
    def pressed(self) -> str:
        """Why motion must trip, or ''."""
        return f'emergency stop: {self._estop_name} is true' if self._pressed else ''

    @property
    def released(self) -> str:
        """Why motion is not allowed for want of the dead-man switch, or ''."""
        if not self.deadman_timeout:
            return ''
        if self._heard is None:
            return f'dead-man switch: nothing heard on {self._deadman_name} yet'
        if not self._held:
            return f'dead-man switch released: {self._deadman_name} is false'
        silent = self._clock() - self._heard
        if silent > self.deadman_timeout:
            limit = self.deadman_timeout
            return f'dead-man switch: {self._deadman_name} silent for {silent:.2f} s > {limit:g} s'
        return ''
