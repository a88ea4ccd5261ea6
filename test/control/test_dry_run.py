# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Dry run: the policy runs on what is measured, plans are shown, and nothing is sent."""

from __future__ import annotations

import numpy as np
import pytest

from support.loop_fakes import Bench
from support.motion_helpers import HOME
from vla_adapter_ros.control.clock import Arrival
from vla_adapter_ros.control.dry_run import as_if_live
from vla_adapter_ros.control.status import loop_status
from vla_adapter_ros.inference.chunk import ActionChunk

ROBOTS = ('alicia_d', 'alicia_d_standalone')


@pytest.fixture(params=ROBOTS)
def bench(request):
    bench = Bench(request.param)
    # A real arm that is not commanded stays where it is.
    bench.follows = False
    bench.plans = []
    bench.out.plan = bench.plans.append
    return bench


def rehearse(bench, seconds=3.0):
    """Answer every inference with a chunk towards somewhere else."""
    steps = np.outer(np.arange(1, 9), [0.05] * 6 + [0.0])
    for _ in range(round(seconds / 0.1)):
        if bench.worker.busy_since is not None:
            chunk = ActionChunk(bench.arm + steps, bench.worker.jobs[-1].stamp, 0.1, 'stack')
            bench.worker.answer(chunk)
        bench.run(0.1)


def test_chunks_are_planned_from_the_measured_pose_and_nothing_is_sent(bench):
    bench.loop.set_dry_run(True, bench.now)
    bench.activate()
    assert 'DRY RUN' in bench.loop.set_enabled(True, bench.now).message
    rehearse(bench)
    assert bench.out.chunks >= 3 and len(bench.plans) >= 3
    assert bench.out.commands == []
    for plan in bench.plans:
        assert plan.arm.positions[0] == pytest.approx(bench.arm[:-1], abs=1e-3)
        assert plan.steps == 8
    assert not bench.loop.safety.tripped, bench.loop.safety.trip_reason
    status = loop_status(bench.loop, bench.now)
    assert status.state == 'RUNNING' and status.dry_run
    assert 'DRY RUN' in status.reason
    assert bench.out.said('DRY RUN: nothing is sent')


def test_the_arm_may_be_moved_by_hand_meanwhile(bench):
    bench.loop.set_dry_run(True, bench.now)
    bench.activate(enable=True)
    rehearse(bench, 1.0)
    for _ in range(20):
        bench.arm[:6] += 0.03
        rehearse(bench, 0.1)
    assert not bench.loop.safety.tripped, bench.loop.safety.trip_reason
    assert bench.plans[-1].arm.positions[0] == pytest.approx(bench.arm[:-1], abs=0.1)
    assert bench.out.commands == []


def test_the_end_of_a_dry_run_disables_motion_and_starts_from_the_arm(bench):
    bench.loop.set_dry_run(True, bench.now)
    bench.activate(enable=True)
    assert len(bench.out.said('DRY RUN: nothing is sent')) == 2, 'begun, and activated'
    rehearse(bench, 1.0)
    bench.loop.set_dry_run(False, bench.now)
    assert not bench.loop.enabled
    bench.run(2.0)
    assert not bench.loop.enabled and bench.out.commands == []
    assert bench.loop.set_enabled(True, bench.now).success
    assert bench.loop.scheduler.commanded(bench.now)[0] == pytest.approx(bench.arm, abs=1e-6)
    bench.run(0.3)
    assert bench.loop.scheduler.commanded(bench.now)[0] == pytest.approx(bench.arm, abs=1e-3)


def test_a_dry_run_begun_in_motion_brakes_first(bench):
    bench.follows = True
    bench.move()
    bench.loop.set_dry_run(True, bench.now)
    assert not bench.loop.enabled and not bench.loop.gate.quiet(bench.now)
    bench.run(1.0)
    assert bench.loop.gate.quiet(bench.now)
    sent = len(bench.out.commands)
    bench.follows = False
    assert bench.loop.set_enabled(True, bench.now).success
    rehearse(bench, 1.0)
    assert bench.out.chunks >= 2 and len(bench.out.commands) == sent


def test_faults_of_the_inputs_show_as_they_would(bench):
    bench.loop.set_dry_run(True, bench.now)
    bench.activate(enable=True)
    rehearse(bench, 0.5)
    bench.states = False
    rehearse(bench, 1.0)
    assert 'stale joint states' in loop_status(bench.loop, bench.now).reason
    bench.states = True
    rehearse(bench, 0.5)
    bench.arm[1] = 2.5
    bench.run(0.1)
    assert bench.loop.safety.tripped and bench.out.commands == []


def test_deadman_switch_is_not_needed_and_home_is_refused(bench):
    bench.operator.deadman_timeout = 0.2
    bench.loop.set_dry_run(True, bench.now)
    bench.activate()
    assert bench.loop.set_enabled(True, bench.now).success
    bench.run(0.5)
    assert bench.loop.enabled
    bench.loop.set_enabled(False, bench.now)
    refused = bench.loop.travel(lambda state: HOME, bench.now)
    assert not refused.success and 'dry run' in refused.message


def test_a_played_recording_is_as_good_as_live_in_a_dry_run_only(bench):
    bench.delay = 600.0  # recorded ten minutes ago
    bench.loop.set_dry_run(True, bench.now)
    bench.activate(enable=True)
    rehearse(bench, 1.0)
    assert bench.out.chunks >= 2
    assert bench.worker.jobs[-1].stamp == pytest.approx(bench.robot_time - 600.0, abs=1.0)
    bench.loop.set_dry_run(False, bench.now)
    bench.run(0.5)
    assert 'stale' in bench.loop.set_enabled(True, bench.now).message


@pytest.mark.parametrize(('age', 'counts'), [(0.3, 0.3), (-2.0, -2.0), (11.0, 0.0), (-9e8, 0.0)])
def test_only_stamps_of_a_recording_are_replaced(age, counts):
    arrival = as_if_live(Arrival(1000.0, age, 5.0))
    assert (arrival.stamp, arrival.age, arrival.now) == (1000.0, counts, 5.0)
