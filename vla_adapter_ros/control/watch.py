# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the control loop watches: its clock, the worker, the joint states.

These only judge; the loop acts (control_loop.py).
"""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.control.observation_inputs import Inputs
from vla_adapter_ros.motion.scheduler import ChunkScheduler
from vla_adapter_ros.robot.contract import RobotContract

# An arm found this far [rad] from its command after a gap was moved, or its driver restarted.
MOVED_WHILE_BLIND = 0.15
# The robot's clock may run this far ahead of the steady one between two looks [s]: simulated time
# comes in steps, and may be several times as fast as real time.
MAX_CLOCK_STEP = 0.5

GO, HOLD, TRIP, RESUME = 'go', 'hold', 'trip', 'resume'


class ClockWatch:
    """Finds jumps forward of the robot's clock by a second clock that never jumps.

    A pause of this process stops both and is no jump. Jumps back need no second clock: the
    scheduler finds them.
    """

    def __init__(self, max_step: float = MAX_CLOCK_STEP) -> None:
        self._max_step = max_step
        self._last: tuple[float, float] | None = None

    def jumped_from(self, now: float, steady: float) -> float | None:
        """Return the robot's time before a jump forward, or None if there was none."""
        last, self._last = self._last, (now, steady)
        if last is None or (now - last[0]) - (steady - last[1]) <= self._max_step:
            return None
        # The moment of the jump on the old time: the steady clock tells how much really passed.
        return last[0] + (steady - last[1])

    def reset(self) -> None:
        """Forget the last look: nobody looked for a while."""
        self._last = None


class WorkerWatch:
    """Finds an inference that takes longer than `timeout` [s], once."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.overdue = False

    @property
    def complaint(self) -> str:
        """What to say of an inference that is late."""
        return f'inference runs for more than {self.timeout:.2f} s'

    def became(self, busy_since: float | None, steady: float) -> str:
        """Return 'late' or 'back' when that has just become so, else ''."""
        before = self.overdue
        self.overdue = busy_since is not None and steady - busy_since > self.timeout
        if self.overdue == before:
            return ''
        return 'late' if self.overdue else 'back'


class StateWatch:
    """Judges the joint states of an arm that may move."""

    def __init__(self, contract: RobotContract) -> None:
        self._names = contract.joint_names
        self.blind = False

    def judge(self, inputs: Inputs, scheduler: ChunkScheduler, now: float) -> tuple[str, str]:
        """Return what to do (GO, HOLD, TRIP or RESUME) and why.

        RESUME: joint states are back and the arm rests; go on from where it is measured.
        """
        if fault := inputs.state_fault(now):
            return TRIP, fault
        if gap := inputs.state_gap(now):
            self.blind = True
            return HOLD, gap
        if not self.blind:
            return GO, ''
        if scheduler.moving(now):
            # The brake is not over yet: where the arm will rest is not where it is measured.
            return HOLD, 'braking'
        self.blind = False
        assert inputs.state is not None
        moved = np.abs(inputs.state - scheduler.commanded(now)[0])[:-1]
        joint = int(moved.argmax())
        if moved[joint] > MOVED_WHILE_BLIND:
            name, far = self._names[joint], moved[joint]
            return TRIP, f'{name} moved by {far:.2f} rad while joint states were missing'
        # A driver that was restarted stands where the arm is, not where it was told to be.
        return RESUME, ''
