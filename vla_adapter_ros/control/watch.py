# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The watchdogs of the control loop: worker and joint states. The loop acts (loop.py)."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.control.observation_inputs import Inputs
from vla_adapter_ros.motion.scheduler import ChunkScheduler
from vla_adapter_ros.robot.contract import RobotContract

# After a gap in the joint states, an arm this far from its command was moved, or its driver was
# restarted [rad].
MOVED_WHILE_BLIND_RAD = 0.15

GO, HOLD, TRIP, RESUME = 'go', 'hold', 'trip', 'resume'


class WorkerWatch:
    """Detects an inference that takes longer than `timeout` [s], once."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.overdue = False

    @property
    def message(self) -> str:
        """The message for an inference that is late."""
        return f'inference has exceeded watchdog_timeout ({self.timeout:.2f} s)'

    def change(self, busy_since: float | None, steady: float) -> str:
        """Return 'late' or 'recovered' when that has just happened, else ''."""
        before = self.overdue
        self.overdue = busy_since is not None and steady - busy_since > self.timeout
        if self.overdue == before:
            return ''
        return 'late' if self.overdue else 'recovered'


class StateWatch:
    """Evaluates the joint states of an arm that may move."""

    def __init__(self, contract: RobotContract) -> None:
        self._names = contract.joint_names
        self.blind = False

    def evaluate(
        self, inputs: Inputs, scheduler: ChunkScheduler, now: float
    ) -> tuple[str, str]:
        """Return the action to take (GO, HOLD, TRIP or RESUME) and the reason.

        RESUME: joint states are back and the arm rests; continue from the measured position.
        """
        if fault := inputs.state_fault(now):
            return TRIP, fault
        if gap := inputs.state_gap(now):
            self.blind = True
            return HOLD, gap
        if not self.blind:
            return GO, ''
        if scheduler.moving(now):
            # The arm is still braking: it is not measured where it will rest.
            return HOLD, 'braking'
        self.blind = False
        assert inputs.state is not None
        moved = np.abs(inputs.state - scheduler.commanded(now)[0])[:-1]
        joint = int(moved.argmax())
        if moved[joint] > MOVED_WHILE_BLIND_RAD:
            name, distance = self._names[joint], moved[joint]
            return TRIP, f'{name} moved by {distance:.2f} rad while joint states were missing'
        # A restarted driver holds the measured position, not the commanded one.
        return RESUME, ''
