# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the control loop answers, and who receives its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vla_adapter_ros.control.gate import Driver
from vla_adapter_ros.inference.chunk import ActionChunk


@dataclass(frozen=True)
class Outcome:
    """Answer to a request: whether it succeeded, and a message for the user."""

    success: bool
    message: str


class LoopOutputs(Driver, Protocol):
    """Receives the loop's results; called in the loop's thread."""

    def heartbeat(self, stamp: float) -> None:
        """Say up to which time [s] of the robot's clock the loop has acted; in every cycle.

        It is that of the cycle, and while an inference runs that of its observation.
        """
        ...

    def chunk(self, chunk: ActionChunk, sequence: int) -> None:
        """Publish the unmodified chunk."""
        ...

    def instruction(self, instruction: str) -> None:
        """Publish the instruction in force."""
        ...

    def info(self, text: str) -> None:
        """Log for information."""
        ...

    def warning(self, text: str) -> None:
        """Log a warning."""
        ...

    def error(self, text: str, trace: str = '') -> None:
        """Log an error, and the traceback of a fault in somebody's code."""
        ...

    def changed(self) -> None:
        """Publish the status now: it changed."""
        ...

    def stamp(self) -> float:
        """Return the robot's clock [s], for what is published."""
        ...
