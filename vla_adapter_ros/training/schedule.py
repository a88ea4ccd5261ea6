# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Learning rate as a pure function of the step: nothing to save, nothing to lose on resume."""

from __future__ import annotations

import math

from vla_adapter_ros.training.config import ScheduleConfig


def rate_factor(step: int, steps: int, schedule: ScheduleConfig) -> float:
    """Return the fraction of the peak rate used by optimiser step `step` (0-based) of `steps`.

    Warm-up is linear and its first step is already above 0; the cosine then falls from 1 to the
    floor at the last step (paper §4: cosine, 10 % warm-up). The official code resets its rate to
    the base value at every step, so neither its warm-up nor its decay takes effect; `constant`
    without warm-up is that behaviour.
    """
    warmup = round(schedule.warmup * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule.kind == 'constant':
        return 1.0
    if schedule.kind == 'step':
        return 1.0 if step < schedule.decay_at * steps else 0.1
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return schedule.floor + (1 - schedule.floor) * cosine
