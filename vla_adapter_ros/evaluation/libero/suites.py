# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The suites of LIBERO: their limits, and the success rates that were published."""

from __future__ import annotations

from dataclasses import dataclass

TASKS = 10
EPISODES = 50  # of each task: one per initial state


@dataclass(frozen=True)
class Suite:
    """One suite.

    Attributes:
        title: as the paper calls it.
        max_steps: of an episode after waiting; at 20 Hz.
        paper: success rates [%] of VLA-Adapter and VLA-Adapter-Pro; None where none are given.
        tasks: how many.
    """

    title: str
    max_steps: int
    paper: tuple[float, float] | None
    tasks: int = TASKS


SUITES = {
    'libero_spatial': Suite('Spatial', 220, (97.8, 99.6)),
    'libero_object': Suite('Object', 280, (99.2, 99.6)),
    'libero_goal': Suite('Goal', 300, (97.2, 98.2)),
    'libero_10': Suite('Long', 520, (95.0, 96.4)),
    'libero_90': Suite('90', 400, None, tasks=90),
}
PUBLISHED = tuple(name for name, suite in SUITES.items() if suite.paper)  # `--suite all`
