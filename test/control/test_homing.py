# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The way home: at ramp speed, within limits, and over with whatever interrupts it."""

from __future__ import annotations

import numpy as np
import pytest

from support.loop_fakes import TICK, Bench
from vla_adapter_ros.control.homing import Homing
from vla_adapter_ros.control.status import loop_status

AWAY = np.array([0.5, -0.4, 1.0, 0.3, -0.8, 0.2, 0.7])


@pytest.fixture(params=['alicia_d', 'alicia_d_standalone'])
def bench(request):
    bench = Bench(request.param)
    bench.arm[:] = AWAY
    bench.activate()
    return bench


def go(bench, seconds=20.0, until=lambda: False):
    """Ask for the way home and run; returns the end, or None if `until` came first."""
    homing = Homing(bench.loop)
    outcome = homing.start(bench.now)
    if not outcome.success:
        return outcome
    for _ in range(round(seconds / TICK)):
        bench.run(TICK)
        if (end := homing.update(bench.now)) is not None:
            return end
        if until():
            return None
    raise AssertionError('never ended')


def test_the_arm_arrives_at_ramp_speed_and_motion_is_disabled(bench):
    home = bench.contract.home_from(AWAY)
    fastest, before = 0.0, None

    def watch():
        nonlocal fastest, before
        if before is not None:
            fastest = max(fastest, np.abs(bench.arm - before)[:-1].max() / TICK)
        before = bench.arm.copy()

    end = go(bench, until=watch)
    assert end.success and end.message == 'at home; motion is disabled'
    assert bench.arm == pytest.approx(home, abs=1e-3)
    assert bench.arm[-1] == pytest.approx(AWAY[-1], abs=1e-3), 'the gripper stays'
    assert 0.1 < fastest <= 0.2 * bench.contract.max_velocity[0] + 1e-3
    assert not bench.loop.enabled and bench.worker.jobs == []
    assert loop_status(bench.loop, bench.now).state == 'READY'


def test_speed_scale_makes_the_way_longer(bench):
    bench.loop.scheduler.speed_scale = 0.5
    outcome = bench.loop.travel(bench.contract.home_from, bench.now)
    slow = bench.loop.scheduler.plan.end - bench.now
    bench.loop.stop('test', bench.now)
    bench.run(0.5)
    bench.loop.scheduler.speed_scale = 1.0
    assert bench.loop.travel(bench.contract.home_from, bench.now).success
    fast = bench.loop.scheduler.plan.end - bench.now
    assert outcome.success and slow == pytest.approx(2.0 * fast, rel=0.1)


def test_status_says_so_meanwhile_and_enable_is_refused(bench):
    assert bench.loop.travel(bench.contract.home_from, bench.now).success
    bench.run(0.1)
    status = loop_status(bench.loop, bench.now)
    assert status.state == 'RUNNING' and 'moving to a pose' in status.reason
    assert 'call ~/stop first' in bench.loop.set_enabled(True, bench.now).message


def interrupt_stop(bench):
    bench.loop.stop('stop was called', bench.now)


def interrupt_estop(bench):
    bench.operator.receive_estop(True)


def interrupt_states(bench):
    bench.states = False


def interrupt_deactivate(bench):
    bench.loop.deactivate(bench.now)


@pytest.mark.parametrize(
    ('interrupt', 'said'),
    [
        (interrupt_stop, 'stop was called'),
        (interrupt_estop, 'emergency stop'),
        (interrupt_states, 'stale joint states'),
        (interrupt_deactivate, 'the node was deactivated'),
    ],
)
def test_an_interruption_ends_it_and_it_does_not_go_on(bench, interrupt, said):
    homing = Homing(bench.loop)
    assert homing.start(bench.now).success
    bench.run(1.0)
    assert homing.update(bench.now) is None
    interrupt(bench)
    end = None
    for _ in range(50):
        bench.run(TICK)
        end = end or homing.update(bench.now)
    assert end is not None and not end.success and said in end.message
    assert not bench.loop.enabled
    bench.states = True
    here = bench.loop.scheduler.commanded(bench.now)[0]
    bench.run(2.0)
    assert np.array_equal(bench.loop.scheduler.commanded(bench.now)[0], here)


def test_an_arm_that_does_not_follow_is_not_at_home(bench):
    bench.follows = False
    end = go(bench)
    assert not end.success and 'not at home' in end.message
    assert not bench.loop.enabled


def test_refused_without_home_while_enabled_and_while_tripped(bench):
    bench.loop.fail('a test', bench.now)
    assert 'call ~/clear_trip first' in go(bench).message
    bench.loop.clear_trip(bench.now)
    bench.run(0.1)
    assert bench.loop.set_enabled(True, bench.now).success
    assert go(bench).message == 'motion is enabled: call ~/stop first'
    other = Bench('generic_jtc')
    other.loop.active = True
    assert 'has no key home' in Homing(other.loop).start(0.0).message
    assert not other.out.commands
