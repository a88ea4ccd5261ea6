# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One run of an instruction: how it ends, and that motion is disabled and at rest then."""

from __future__ import annotations

import math

import pytest

from support.loop_fakes import TICK, Bench
from vla_adapter_ros.control.instruction_run import InstructionRun


@pytest.fixture
def bench():
    bench = Bench()
    bench.activate(instruction='')
    return bench


def begin(bench, limit=2.0):
    run = InstructionRun(bench.loop, 'Stack the blocks', limit)
    assert run.start(bench.now) is None
    return run


def go_on(bench, run, seconds, during=lambda: None):
    for _ in range(round(seconds / TICK)):
        if bench.worker.busy_since is not None:
            bench.worker.answer(bench.chunk())
        bench.run(TICK)
        if (end := run.update(bench.now)) is not None:
            return end
        during()
    return None


def assert_over(bench):
    assert not bench.loop.enabled
    assert not bench.loop.scheduler.moving(bench.now)


def test_it_runs_until_its_time_limit(bench):
    run = begin(bench)
    seen = []
    end = go_on(bench, run, 5.0, lambda: seen.append(run.progress(bench.now)))
    assert (end.kind, end.message) == ('TIME_LIMIT', 'time limit of 2 s reached')
    assert 2.0 <= end.elapsed < 2.5
    assert end.chunks == bench.loop.chunks > 0
    assert bench.loop.instruction == 'stack the blocks'
    assert seen == sorted(seen) and seen[0] < 0.1 and max(seen) <= 1.0
    assert_over(bench)


def test_cancel_holds_and_ends_at_rest(bench):
    run = begin(bench)
    assert go_on(bench, run, 1.0) is None
    assert bench.loop.scheduler.moving(bench.now)
    run.cancel(bench.now)
    end = go_on(bench, run, 1.0)
    assert end.kind == 'CANCELLED'
    assert_over(bench)


@pytest.mark.parametrize(
    ('interrupt', 'kind', 'said'),
    [
        (lambda b: b.loop.fail('a test', b.now), 'TRIPPED', 'a test'),
        (lambda b: b.loop.stop('stop was called', b.now), 'STOPPED', 'stop was called'),
        (lambda b: b.loop.set_enabled(False, b.now), 'STOPPED', 'motion was disabled'),
        (lambda b: b.loop.deactivate(b.now), 'STOPPED', 'the node was deactivated'),
        (lambda b: b.operator.receive_estop(True), 'TRIPPED', 'emergency stop'),
        (lambda b: b.loop.set_dry_run(True, b.now), 'STOPPED', 'motion was disabled'),
    ],
)
def test_whatever_stops_the_arm_ends_the_run(bench, interrupt, kind, said):
    run = begin(bench)
    assert go_on(bench, run, 0.5) is None
    interrupt(bench)
    end = go_on(bench, run, 1.0)
    assert end.kind == kind and said in end.message
    assert not bench.loop.enabled
    bench.run(1.0)
    assert not bench.loop.enabled


def test_a_pause_of_the_inputs_does_not_end_it_but_counts(bench):
    run = begin(bench)
    assert go_on(bench, run, 0.5) is None
    bench.images = False
    assert go_on(bench, run, 0.7) is None
    bench.images = True
    end = go_on(bench, run, 2.0)
    assert end.kind == 'TIME_LIMIT' and end.elapsed < 2.5


@pytest.mark.parametrize(
    ('instruction', 'limit', 'said'),
    [
        ('', 2.0, 'instruction'),
        ('stack', 0.0, 'time_limit: got 0, expected a finite number of seconds above 0'),
        ('stack', -1.0, 'time_limit: got -1'),
        ('stack', math.nan, 'time_limit: got nan'),
        ('stack', math.inf, 'time_limit: got inf'),
    ],
)
def test_a_bad_goal_is_refused_in_one_sentence(bench, instruction, limit, said):
    end = InstructionRun(bench.loop, instruction, limit).start(bench.now)
    assert end.kind == 'REFUSED' and said in end.message
    assert not bench.loop.enabled and bench.loop.instruction == ''


def test_what_enable_refuses_is_refused_here_with_its_sentence(bench):
    bench.loop.fail('a test', bench.now)
    end = InstructionRun(bench.loop, 'stack', 2.0).start(bench.now)
    assert end.kind == 'REFUSED' and end.message == 'tripped: a test; call ~/clear_trip first'
    assert bench.loop.instruction == ''
