# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Where the arm is measured, compared with where it was commanded to be a moment ago."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from vla_adapter_ros.robot.contract import RobotContract

# Commanded positions are kept at most this often [s]; control may run faster.
_SPACING_S = 0.005
# Joint states may be this old on arrival and still be compared with the command of their time [s].
_MAX_AGE_S = 1.0
# Drivers refresh at 20 Hz behind a faster stamp: speeds are measured over two refreshes [s].
_VELOCITY_SPAN_S = 0.1
# An arm is coming closer to a command that waits if it comes closer by this much [rad].
_PROGRESS_RAD = 0.02
# Fractions of `soft_tracking_error`: how far from the arm a command waits for it, and how close
# the arm must come to go on.
_REACH = 0.9
_CAUGHT_UP = 0.5

GO, WAIT, FAULT = 'go', 'wait', 'fault'


class CommandedEnvelope:
    """The positions commanded over the last `lag` seconds.

    An arm that lags behind its command by any constant time up to `lag` is always within the
    range of these positions, however it moves: no velocity has to be guessed.

    Args:
        joints: number of arm joints J.
        lag: [s].
    """

    def __init__(self, joints: int, lag: float) -> None:
        self._lag = lag
        rows = int((lag + _MAX_AGE_S) / _SPACING_S) + 2
        self._times = np.full(rows, -np.inf)
        self._positions = np.zeros((rows, joints))
        self._newest = 0

    def restart(self, position: np.ndarray, now: float) -> None:
        """Forget what was commanded before; the arm rests at `position` (J,)."""
        self._times[:] = -np.inf
        self._write(position, now)

    def record(self, position: np.ndarray, now: float) -> None:
        """Keep the position (J,) that is commanded now; call in every control cycle."""
        if now - self._times[self._newest] >= _SPACING_S:
            self._newest = (self._newest + 1) % len(self._times)
            self._write(position, now)

    @property
    def latest(self) -> tuple[np.ndarray, float]:
        """The position (J,) recorded last, and when [s]."""
        return self._positions[self._newest], float(self._times[self._newest])

    def excess(self, measured: np.ndarray, made: float) -> np.ndarray:
        """Return how far each joint is outside the range that was commanded (J,) [rad].

        Args:
            measured: (J,) position.
            made: when it was measured [s].
        """
        start = made - self._lag
        inside = self._times > start
        # The newest position before that was in force until the next.
        before = np.where(inside, -np.inf, self._times)
        first = int(before.argmax())
        inside[first] |= np.isfinite(before[first])
        positions = self._positions[inside]
        low, high = positions.min(axis=0), positions.max(axis=0)
        return np.maximum(np.maximum(low - measured, measured - high), 0.0)

    def _write(self, position: np.ndarray, now: float) -> None:
        self._times[self._newest] = now
        self._positions[self._newest] = position


class MeasuredPose:
    """The joint state measured last, and how fast it changes."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, np.ndarray]] = deque(maxlen=256)
        self._changed = 0.0

    def observe(self, state: np.ndarray, made: float) -> None:
        """Take a joint state (J + 1,) measured at `made` [s]."""
        if self._recent and made - self._recent[-1][0] > 2.0 * _VELOCITY_SPAN_S:
            # The way across a gap is no speed.
            self._recent.clear()
        if not self._recent or (state[:-1] != self._recent[-1][1][:-1]).any():
            self._changed = made
        self._recent.append((made, state))
        while made - self._recent[0][0] > _VELOCITY_SPAN_S and len(self._recent) > 2:
            self._recent.popleft()

    def forget(self) -> None:
        """Where the arm is is not known any more."""
        self._recent.clear()

    @property
    def known(self) -> bool:
        """Whether the pose is known."""
        return bool(self._recent)

    @property
    def state(self) -> np.ndarray:
        """(J + 1,) in contract order; only if known."""
        return self._recent[-1][1]

    @property
    def made(self) -> float:
        """When it was measured [s]; only if known."""
        return self._recent[-1][0]

    @property
    def unchanged(self) -> float:
        """For how long all arm joints have read the same, bit by bit [s]; only if known."""
        return self.made - self._changed

    @property
    def velocity(self) -> np.ndarray:
        """(J,) speeds of the arm joints [rad/s]; zero until two states are known."""
        (begin, first), (end, last) = self._recent[0], self._recent[-1]
        if end - begin < 0.5 * _VELOCITY_SPAN_S:
            return np.zeros(len(last) - 1)
        return (last - first)[:-1] / (end - begin)


class ArmWatch:
    """Whether the arm follows its command, may be waited for, or does not follow.

    Args:
        contract: names and bounds (`supervision`).
    """

    def __init__(self, contract: RobotContract) -> None:
        self._names = contract.joint_names
        self._bounds = contract.supervision
        self.measured = MeasuredPose()
        self.commanded = CommandedEnvelope(len(self._names), self._bounds.lag)
        self._excess = np.zeros(len(self._names))
        # Why the command waits for the arm; '' if it does not.
        self.waiting = ''
        self._waiting_since = 0.0
        self._waiting_at = np.zeros(len(self._names))
        self._closest = math.inf

    def restart(self, position: np.ndarray, now: float) -> None:
        """Start over: the arm is commanded to rest at `position` (J,)."""
        self.commanded.restart(position, now)
        self._excess[:] = 0.0

    def compare(self) -> None:
        """Compare the newest measured state with what was commanded."""
        self._excess = self.commanded.excess(self.measured.state[:-1], self.measured.made)

    @property
    def strayed(self) -> str:
        """Which joint is not where it was commanded to be, in one sentence; '' if all are."""
        return self.away(self._bounds.soft_tracking_error)

    def away(self, bound: float) -> str:
        """Return which joint is farther than `bound` [rad] from where it was commanded, or ''."""
        joint = int(self._excess.argmax())
        if self._excess[joint] <= bound:
            return ''
        return (
            f'{self._names[joint]} is {self._excess[joint]:.2f} rad from its command '
            f'(blocked, or the driver is slower than the contract)'
        )

    @property
    def reach(self) -> float:
        """How far from the arm a command waits for it [rad]: less than what makes it wait."""
        return _REACH * self._bounds.soft_tracking_error

    def error(self, commanded: np.ndarray) -> np.ndarray:
        """Return how far the arm joints are from a command (J + 1,) in contract order [rad]."""
        return np.abs(self.measured.state - commanded)[:-1]

    def moved(self, commanded: np.ndarray) -> str:
        """Return which joint is not at the command (J + 1,) at which it is held, or ''."""
        error = self.error(commanded)
        joint = int(error.argmax())
        if error[joint] <= self._bounds.soft_tracking_error:
            return ''
        return f'{self._names[joint]} moved by {error[joint]:.2f} rad'

    def judge(self, commanded: np.ndarray, moving: bool, now: float) -> tuple[str, str]:
        """Return GO, WAIT (from now on) or FAULT, and why.

        Args:
            commanded: (J + 1,) now, in contract order.
            moving: whether the command still moves.
            now: [s].
        """
        if not self.measured.known:
            return GO, ''
        if beyond := self.away(self._bounds.hard_tracking_error):
            return FAULT, beyond
        strayed = self.strayed
        if not self.waiting:
            if not strayed:
                return GO, ''
            self.waiting, self._waiting_since = strayed, now
            self._waiting_at = self.measured.state[:-1].copy()
        elif dragged := self._dragged():
            return FAULT, dragged
        elif not strayed:
            blocked = not moving and self._is_blocked(float(self.error(commanded).max()), now)
            return (FAULT, self.waiting) if blocked else (GO, '')
        elif now - self._waiting_since > self._bounds.blocked_after:
            return FAULT, self.waiting
        # Anew, if the arm is moved away from the command that waits for it.
        self._closest = self.reach
        return WAIT, self.waiting

    def _dragged(self) -> str:
        """Return which joint was moved far away while the command waited for it, or ''."""
        moved = np.abs(self.measured.state[:-1] - self._waiting_at)
        joint = int(moved.argmax())
        if moved[joint] <= self._bounds.hard_tracking_error:
            return ''
        return (
            f'{self._names[joint]} is {moved[joint]:.2f} rad from its command '
            '(moved while the command waited for it)'
        )

    def _is_blocked(self, error: float, now: float) -> bool:
        """Judge an arm that is waited for: it has come, comes closer, or is blocked."""
        if error <= _CAUGHT_UP * self._bounds.soft_tracking_error:
            self.waiting = ''
        elif error < self._closest - _PROGRESS_RAD:
            self._closest, self._waiting_since = error, now
        else:
            return now - self._waiting_since > self._bounds.blocked_after
        return False
