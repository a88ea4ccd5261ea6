# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the control loop says to the outside: answers to requests, commands, reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vla_adapter_ros.control.front_ends import JointCommand, TrajectoryCommand
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.motion_plan import MotionPlan


@dataclass(frozen=True)
class Outcome:
    """Answer to a request: whether it was done, and what a person should know."""

    success: bool
    message: str


class LoopOutputs(Protocol):
    """Where the loop's results go; called in the loop's thread."""

    def send(self, command: TrajectoryCommand | JointCommand) -> None:
        """Send one command to the driver."""
        ...

    def chunk(self, chunk: ActionChunk, sequence: int) -> None:
        """Publish the raw chunk."""
        ...

    def plan(self, plan: MotionPlan) -> None:
        """Show the plan that was just sent."""
        ...

    def instruction(self, instruction: str) -> None:
        """Publish the instruction in force."""
        ...

    def info(self, text: str) -> None:
        """Say something a person may want to know."""
        ...

    def warning(self, text: str) -> None:
        """Say that something is not as it should be."""
        ...

    def error(self, text: str) -> None:
        """Say that something went wrong."""
        ...

    def changed(self) -> None:
        """Publish the status now: it changed."""
        ...
