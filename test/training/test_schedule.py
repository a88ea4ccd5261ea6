# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Warm-up and decay really take effect, and depend on the step alone."""

from __future__ import annotations

import pytest

from vla_adapter_ros.training.config import ScheduleConfig
from vla_adapter_ros.training.optimizer import rate_factor


def test_warmup_rises_linearly_then_cosine_falls_to_the_floor():
    plan = ScheduleConfig(kind='cosine', warmup=0.1, floor=0.05)
    rates = [rate_factor(s, 1000, plan) for s in range(1000)]
    assert 0 < rates[0] < 0.011
    assert rates[:101] == sorted(set(rates[:101]))
    assert rates[100] == pytest.approx(1.0)
    assert rates[100:] == sorted(set(rates[100:]), reverse=True)
    assert rates[550] == pytest.approx(0.525, abs=0.01)
    assert rates[-1] == pytest.approx(0.05)


def test_step_schedule_drops_to_a_tenth():
    plan = ScheduleConfig(kind='step', warmup=0.0, decay_at=0.5)
    assert [rate_factor(s, 10, plan) for s in (0, 4, 5, 9)] == [1.0, 1.0, 0.1, 0.1]


def test_constant_without_warmup_is_the_official_effective_rate():
    plan = ScheduleConfig(kind='constant', warmup=0.0)
    assert {rate_factor(s, 50, plan) for s in range(50)} == {1.0}


@pytest.mark.parametrize('steps', [1, 2, 3])
def test_very_short_runs_have_finite_positive_first_rate(steps):
    assert rate_factor(0, steps, ScheduleConfig()) > 0
