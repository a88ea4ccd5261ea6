# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the scheduler asks before a chunk becomes motion; the safety filter answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vla_adapter_ros.motion.motion_plan import MotionPlan

OK, CLAMPED, TRIP = 'ok', 'clamped', 'trip'


@dataclass(frozen=True)
class Verdict:
    """Result of a check.

    Attributes:
        state: `ok`, `clamped` or `trip`.
        reasons: one line each; empty when ok.
        targets: (K, J + 1) safe targets; None after a trip.
        speed: share of the velocity limits to move with.
    """

    state: str
    reasons: tuple[str, ...] = ()
    targets: np.ndarray | None = None
    speed: float = 1.0


class PlanCheck(Protocol):
    """Makes targets safe and checks finished plans (control/safety.py)."""

    def check_targets(self, targets: np.ndarray, commanded: np.ndarray) -> Verdict:
        """Return safe targets for (K, J + 1) targets, from where the arm is commanded to be."""
        ...

    def check_plan(self, plan: MotionPlan) -> str | None:
        """Return why a finished plan must not be executed, or None."""
        ...
