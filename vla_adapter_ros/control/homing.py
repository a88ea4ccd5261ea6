# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The motion to the home pose of the contract, from the request to its end: `~/home`."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.control.loop import ControlLoop
from vla_adapter_ros.control.loop_outputs import Outcome

# The arm may arrive this much later than commanded [s], and this far from home [rad].
_SETTLE_S = 2.0
_TOLERANCE_RAD = 0.05


class Homing:
    """One motion home; the caller asks `update` after every control cycle.

    It ends with motion disabled: at home, or where it was interrupted. It does not go on by
    itself after an interruption, however short.

    Args:
        loop: of the node.
    """

    def __init__(self, loop: ControlLoop) -> None:
        self._loop = loop

    def start(self, now: float) -> Outcome:
        """Start to move; the message says how long it takes, or why it does not move."""
        loop = self._loop
        if loop.contract.home is None:
            return Outcome(False, f'the contract of robot {loop.contract.name} has no key home')
        outcome = loop.travel(loop.contract.home_from, now)
        self._goal = loop.contract.home_from(loop.inputs.state) if outcome.success else None
        self._plan = loop.scheduler.plan if outcome.success else None
        return outcome

    def update(self, now: float) -> Outcome | None:
        """Return the end, or None while the arm is on its way."""
        loop = self._loop
        if not loop.active:
            return Outcome(False, 'not at home: the node was deactivated')
        if not loop.enabled:
            why = loop.safety.trip_reason or loop.reason or 'motion was disabled'
            return Outcome(False, f'not at home: {why}')
        if loop.reason or loop.scheduler.plan is not self._plan:
            why = loop.reason or loop.gate.waiting or 'the motion was interrupted'
            loop.stop(why, now)
            return Outcome(False, f'not at home: {why}')
        if now < self._plan.end:
            return None
        away = np.abs(loop.inputs.state - self._goal)[:-1]
        joint = int(away.argmax())
        if away[joint] > _TOLERANCE_RAD:
            if now < self._plan.end + _SETTLE_S:
                return None
            why = f'{loop.contract.joint_names[joint]} is {away[joint]:.2f} rad away from home'
            loop.stop(why, now)
            return Outcome(False, f'not at home: {why}')
        loop.stop('at home', now)
        return Outcome(True, 'at home; motion is disabled')
