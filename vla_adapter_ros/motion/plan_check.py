# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The checks that the scheduler calls before a chunk becomes motion (control/safety.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vla_adapter_ros.motion.plan import MotionPlan

OK, CLAMPED, TRIP = 'ok', 'clamped', 'trip'


@dataclass(frozen=True)
class Verdict:
    """Result of a check.

    Attributes:
        state: `ok`, `clamped` or `trip`.
        reasons: one line each; empty when ok.
        targets: (K, J + 1) targets within the limits; None after a trip.
        velocity_scale: fraction of the velocity limits to use.
    """

    state: str
    reasons: tuple[str, ...] = ()
    targets: np.ndarray | None = None
    velocity_scale: float = 1.0


class PlanCheck(Protocol):
    """Clamps targets and checks finished plans."""

    def check_targets(self, targets: np.ndarray, commanded: np.ndarray) -> Verdict:
        """Return clamped (K, J + 1) targets, given the commanded (J + 1,) position."""
        ...

    def check_plan(self, plan: MotionPlan) -> str | None:
        """Return why a finished plan must not be executed, or None."""
        ...
