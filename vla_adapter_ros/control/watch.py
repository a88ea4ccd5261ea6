# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The watchdogs of the control loop: worker and joint states. The loop acts (loop.py)."""

from __future__ import annotations

from vla_adapter_ros.control.gate import CommandGate
from vla_adapter_ros.control.observation_inputs import Inputs

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

    def __init__(self) -> None:
        self.blind = False

    def evaluate(self, inputs: Inputs, gate: CommandGate, now: float) -> tuple[str, str]:
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
        if gate.scheduler.moving(now):
            # The arm is still braking: it is not measured where it will rest.
            return HOLD, 'braking'
        self.blind = False
        if moved := gate.moved(now):
            return TRIP, moved
        # A restarted driver holds the measured position, not the commanded one.
        return RESUME, ''
