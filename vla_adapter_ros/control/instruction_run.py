# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One run of the policy on one instruction, with a time limit: the action `~/run_instruction`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vla_adapter_ros.control.loop import ControlLoop
from vla_adapter_ros.errors import VLAAdapterError

TIME_LIMIT, CANCELLED, TRIPPED = 'TIME_LIMIT', 'CANCELLED', 'TRIPPED'
STOPPED, REFUSED = 'STOPPED', 'REFUSED'


@dataclass(frozen=True)
class RunEnd:
    """How a run ended, as in action/RunInstruction.action; `elapsed` in seconds."""

    kind: str
    message: str
    elapsed: float = 0.0
    chunks: int = 0


class InstructionRun:
    """From the goal to its result; the caller asks `update` after every control cycle.

    A run never leaves motion enabled: it ends at rest. A policy has no signal of success, so a
    run ends by its time limit unless somebody or a fault stops it.

    Args:
        loop: of the node.
        instruction: as the client gave it.
        time_limit: [s] on the motion clock.
    """

    def __init__(self, loop: ControlLoop, instruction: str, time_limit: float) -> None:
        self._loop = loop
        self.instruction = instruction
        self._time_limit = time_limit
        self._started = 0.0
        self._chunks_before = loop.chunks
        self._ending: tuple[str, str] | None = None

    def start(self, now: float) -> RunEnd | None:
        """Enable motion for the instruction; returns the end if that is refused."""
        if not (math.isfinite(self._time_limit) and self._time_limit > 0.0):
            got = f'time_limit: got {self._time_limit:g}'
            return RunEnd(REFUSED, f'{got}, expected a finite number of seconds above 0')
        try:
            self.instruction = self._loop.clean_instruction(self.instruction)
        except VLAAdapterError as error:
            return RunEnd(REFUSED, str(error))
        enabled = self._loop.set_enabled(True, now)
        if not enabled.success:
            return RunEnd(REFUSED, enabled.message)
        self._loop.set_instruction(self.instruction, now)
        self._started = now
        return None

    def cancel(self, now: float) -> None:
        """Hold; the run ends once the arm rests."""
        self._stop(CANCELLED, 'cancelled by the client', now)

    def update(self, now: float) -> RunEnd | None:
        """Return the end of the run, or None while it goes on."""
        loop = self._loop
        if self._ending is None:
            if not loop.active:
                self._ending = STOPPED, 'the node was deactivated'
            elif loop.safety.tripped:
                self._ending = TRIPPED, loop.safety.trip_reason
            elif not loop.enabled:
                self._ending = STOPPED, loop.reason or 'motion was disabled'
            elif self.elapsed(now) >= self._time_limit:
                text = f'time limit of {self._time_limit:g} s reached'
                self._stop(TIME_LIMIT, text, now)
        stopping = loop.active and not loop.gate.quiet(now)
        if self._ending is None or stopping:
            return None
        return RunEnd(*self._ending, self.elapsed(now), self.chunks)

    def elapsed(self, now: float) -> float:
        """Return how long it has run [s]."""
        return max(now - self._started, 0.0)

    def progress(self, now: float) -> float:
        """Return the fraction of the time limit that has passed, 0 to 1."""
        return min(self.elapsed(now) / self._time_limit, 1.0)

    @property
    def chunks(self) -> int:
        """Chunks that the policy has computed since the start."""
        return self._loop.chunks - self._chunks_before

    def _stop(self, kind: str, why: str, now: float) -> None:
        if self._ending is None:
            self._ending = kind, why
            self._loop.stop(f'{why} ({self.instruction!r})', now)
