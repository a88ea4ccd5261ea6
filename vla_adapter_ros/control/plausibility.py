# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Plausibility of joint states: drivers put fresh stamps on values that were not measured.

The Alicia-D's standalone node publishes zeros until the arm first answers and keeps stamping the
last values when the serial line dies; its servos may answer raw zeros (robot/alicia_d.py). The age
of a header does not show any of this.
"""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.robot import alicia_d
from vla_adapter_ros.robot.contract import RobotContract

# An arm that was last seen closer to its zero pose than this may have reached it [rad].
_NEAR_ZERO = 0.05


class PlausibilityMonitor:
    """Checks each joint state as it arrives; `reason` is empty while it is plausible.

    All times are receive times on the caller's clock.

    Args:
        contract: limits, and how strict (`supervision`).
        max_age: seconds since the last message was received.
    """

    def __init__(self, contract: RobotContract, max_age: float = 0.5) -> None:
        self._contract = contract
        self._bounds = contract.supervision
        self.max_age = max_age
        self.reset()

    def reset(self) -> None:
        """Start over, as after a restart of the driver."""
        self._received: float | None = None
        self._state: np.ndarray | None = None
        # The last state that was not all zero, if any.
        self._alive: np.ndarray | None = None
        self._changed_at = 0.0
        self._command_low: np.ndarray | None = None
        self._command_high: np.ndarray | None = None
        self._fault = 'no joint state received yet'
        self._rejected = False
        # Whether the newest message says where the arm is.
        self.trusted = False
        # Whether it is in doubt only because it is far from the one before.
        self.jumped = False

    def observe(self, state: np.ndarray, now: float, commanded: np.ndarray | None = None) -> str:
        """Take a joint state (J + 1,) received at `now`; returns why it is not plausible, or ''.

        Args:
            state: in contract order (joint_state.py has checked names and NaN).
            now: receive time [s].
            commanded: (J + 1,) commanded position, if the arm is commanded.
        """
        arm = state[:-1]
        self._fault = (
            self._absent_fault(arm)
            or self._range_fault(arm)
        )
        jump = '' if self._fault else self._jump_fault(arm, now)
        self.jumped, self._fault = bool(jump), self._fault or jump
        # The values of a driver without an arm are the last that were measured.
        self.trusted = not self._fault
        self._fault = self._fault or self._frozen_fault(arm, now, commanded)
        self._state, self._received, self._rejected = state.copy(), now, False
        return self._fault

    def reject(self, reason: str, now: float) -> None:
        """Record a message that could not be read (missing joint, NaN)."""
        self._fault, self.trusted, self.jumped = reason, False, False
        self._received, self._rejected = now, True

    def stale(self, now: float) -> bool:
        """Return whether joint states have stopped to come."""
        return self._received is not None and now - self._received > self.max_age

    def unreadable(self, now: float) -> bool:
        """Return whether messages come, of which the newest could not be read."""
        return self._rejected and not self.stale(now)

    def reason(self, now: float) -> str:
        """Return why the joint state cannot be trusted at `now`, or ''."""
        if self.stale(now):
            age = now - self._received
            return f'stale joint state {age:.2f} s > {self.max_age:.2f} s'
        return self._fault

    def _absent_fault(self, arm: np.ndarray) -> str:
        if arm.any():
            self._alive = arm.copy()
        elif self._alive is None and self._bounds.refuse_zeros_at_start:
            return 'joint state is exactly zero on all joints: the driver has no data yet'
        elif self._alive is not None and np.abs(self._alive).max() > _NEAR_ZERO:
            # The driver was restarted, while the arm stands elsewhere.
            return 'joint state is exactly zero on all joints: the driver lost the arm'
        if alicia_d.servos_answer_raw_zero(arm):
            return 'joint state is −π on all joints: the servos answer raw zero'
        return ''

    def _range_fault(self, arm: np.ndarray) -> str:
        margin = self._bounds.range_margin
        low, high = self._contract.lower[:-1], self._contract.upper[:-1]
        outside = (arm < low - margin) | (arm > high + margin)
        if not outside.any():
            return ''
        j = int(np.argmax(outside))
        name = self._contract.joint_names[j]
        return f'{name} measured at {arm[j]:.3f} rad, outside [{low[j]:.3f}, {high[j]:.3f}]'

    def _jump_fault(self, arm: np.ndarray, now: float) -> str:
        if self._state is None or self._received is None:
            return ''
        # Drivers refresh at 20 Hz behind a faster stamp: two messages may be 50 ms apart.
        gap = max(now - self._received, 0.05)
        change = np.abs(arm - self._state[:-1])
        j = int(change.argmax())
        if change[j] <= self._bounds.max_speed * gap:
            return ''
        name = self._contract.joint_names[j]
        return f'measured position of {name} jumped by {change[j]:.2f} rad'

    def _frozen_fault(self, arm: np.ndarray, now: float, commanded: np.ndarray | None) -> str:
        changed = self._state is None or not np.array_equal(arm, self._state[:-1])
        if changed or commanded is None or self._command_low is None or now < self._changed_at:
            self._changed_at = now
            self._command_low = self._command_high = (
                None if commanded is None else commanded[:-1].copy()
            )
            return ''
        self._command_low = np.minimum(self._command_low, commanded[:-1])
        self._command_high = np.maximum(self._command_high, commanded[:-1])
        travel = float((self._command_high - self._command_low).max())
        frozen = now - self._changed_at
        if frozen < self._bounds.frozen_after or travel < self._bounds.frozen_travel:
            return ''
        return f'joint state frozen for {frozen:.2f} s while commanded to move {travel:.2f} rad'
