# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Emergency stop topic and dead-man switch: when they stop, and that nothing goes on by itself."""

from __future__ import annotations

import numpy as np
import pytest

from support.loop_fakes import Bench
from vla_adapter_ros.control.operator_stop import OperatorStop


@pytest.fixture
def bench():
    bench = Bench()
    bench.hold_deadman = True
    run = bench.run

    def run_with_hand(seconds, until=lambda: False):
        # The hand says every 0.02 s that it holds the switch.
        for _ in range(round(seconds / 0.02)):
            if bench.hold_deadman:
                bench.operator.receive_deadman(True)
            if run(0.02, until):
                return True
        return False

    bench.run = run_with_hand
    return bench


def test_estop_trips_a_moving_arm_and_latches(bench):
    bench.move()
    sent = len(bench.out.commands)
    bench.operator.receive_estop(True)
    bench.run(0.02)
    assert bench.loop.safety.tripped
    assert 'emergency stop: ~/estop is true' in bench.loop.safety.trip_reason
    assert len(bench.out.commands) > sent, 'the brake'
    bench.run(1.0)
    assert not bench.loop.scheduler.moving(bench.now)


def test_estop_must_be_released_before_the_trip_can_be_cleared(bench):
    bench.start()
    bench.operator.receive_estop(True)
    bench.run(0.1)
    refused = bench.loop.clear_trip(bench.now)
    assert not refused.success and 'not cleared: emergency stop' in refused.message
    bench.operator.receive_estop(False)
    bench.run(0.5)
    assert bench.loop.safety.tripped, 'released is not cleared'
    assert bench.loop.clear_trip(bench.now).success
    bench.run(0.5)
    assert not bench.loop.enabled, 'cleared is not enabled'
    assert bench.loop.set_enabled(True, bench.now).success


def test_estop_pressed_before_activation_trips_then(bench):
    bench.operator.receive_estop(True)
    bench.activate(enable=True)
    assert bench.loop.safety.tripped and not bench.loop.enabled
    assert bench.out.commands == []


def test_estop_is_logged_once_not_in_every_cycle(bench):
    bench.activate()
    bench.operator.receive_estop(True)
    bench.run(1.0)
    assert len(bench.out.said('tripped: emergency stop')) == 1


def test_without_a_timeout_there_is_no_deadman_switch(bench):
    bench.hold_deadman = False
    bench.move()
    bench.run(1.0)
    assert bench.loop.enabled


def test_deadman_is_needed_to_enable(bench):
    bench.operator.deadman_timeout = 0.3
    bench.hold_deadman = False
    bench.activate()
    refused = bench.loop.set_enabled(True, bench.now)
    assert not refused.success and 'nothing heard on ~/deadman yet' in refused.message
    bench.operator.receive_deadman(False)
    assert '~/deadman is false' in bench.loop.set_enabled(True, bench.now).message
    bench.operator.receive_deadman(True)
    assert bench.loop.set_enabled(True, bench.now).success


@pytest.mark.parametrize('says_so', [True, False])
def test_released_deadman_stops_and_pressing_it_again_does_not_start(bench, says_so):
    bench.operator.deadman_timeout = 0.3
    bench.operator.receive_deadman(True)
    bench.move()
    bench.hold_deadman = False
    if says_so:
        bench.operator.receive_deadman(False)
    bench.run(0.02 if says_so else 0.4)
    assert not bench.loop.enabled and not bench.loop.safety.tripped
    assert 'dead-man switch' in bench.loop.reason
    bench.run(0.5)
    here = bench.loop.scheduler.commanded(bench.now)[0]
    bench.hold_deadman = True
    bench.run(1.0)
    assert not bench.loop.enabled
    assert np.array_equal(bench.loop.scheduler.commanded(bench.now)[0], here)
    assert bench.loop.set_enabled(True, bench.now).success


def test_a_frozen_deadman_publisher_is_no_hand():
    now = [10.0]
    switch = OperatorStop(clock=lambda: now[0])
    switch.deadman_timeout = 0.5
    switch.receive_deadman(True)
    assert switch.released == ''
    now[0] += 0.6
    assert switch.released == 'dead-man switch: ~/deadman silent for 0.60 s > 0.5 s'
