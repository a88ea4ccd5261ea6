# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The motion clock: it runs forward and never jumps, whatever the robot's clock does."""

from __future__ import annotations

import pytest

from vla_adapter_ros.control.clock import Arrival, MotionClock


@pytest.mark.parametrize('step', [-1e9, -30.0, -0.4, 0.45, 30.0, 1e9])
def test_a_step_of_the_wall_clock_does_not_change_it(step):
    clock = MotionClock()
    before = clock.now(1000.0, 5.0)
    assert clock.now(1000.02 + step, 5.02) - before == pytest.approx(0.02)


def test_under_simulated_time_it_runs_as_fast_as_the_simulation():
    clock = MotionClock()
    before = clock.now(10.0, 5.0, simulated=True)
    for i in range(1, 11):
        now = clock.now(10.0 + 0.01 * i, 5.0 + 0.02 * i, simulated=True)
    assert now - before == pytest.approx(0.1)
    # A simulation that pauses.
    assert clock.now(10.1, 9.0, simulated=True) == now


@pytest.mark.parametrize('step', [-10.0, 30.0])
def test_a_simulation_that_is_reset_does_not_move_it(step):
    clock = MotionClock()
    before = clock.now(10.0, 5.0, simulated=True)
    assert clock.now(10.0 + step, 5.02, simulated=True) == before
    assert clock.now(10.01 + step, 5.03, simulated=True) == pytest.approx(before + 0.01)


def test_a_pause_of_the_process_counts_under_simulated_time_too():
    clock = MotionClock()
    before = clock.now(10.0, 5.0, simulated=True)
    assert clock.now(13.0, 8.0, simulated=True) - before == pytest.approx(3.0)


def test_a_change_of_the_clock_at_run_time_is_no_jump():
    clock = MotionClock()
    before = clock.now(1.7e9, 5.0)
    assert clock.now(3.0, 5.02, simulated=True) - before == pytest.approx(0.0)
    assert clock.now(3.02, 5.04, simulated=True) - before == pytest.approx(0.02)


def test_an_age_is_taken_once_on_arrival():
    assert Arrival.of(1000.0, 1000.25, 7.0).made == pytest.approx(6.75)
    # Without a stamp, and slightly in the future: as old as its arrival.
    assert Arrival.of(0.0, 1000.25, 7.0) == Arrival(1000.25, 0.0, 7.0)
    assert Arrival.of(1000.3, 1000.25, 7.0).made == 7.0
