# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What leaves for the driver, compared with where the arm is measured to be."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import vla_adapter_ros
from support.loop_fakes import TICK, Bench
from support.motion_helpers import HOME

FRONT_ENDS = ('alicia_d', 'alicia_d_standalone')
BOUNDS = Bench().contract.supervision


@pytest.fixture(params=FRONT_ENDS)
def bench(request):
    return Bench(request.param)


def positions(bench, command):
    """(N, J) targets of the arm in a command, and the time by which each is due (N,)."""
    if bench.contract.front_end.kind == 'joint_commands':
        return command.positions[None, :6], np.array([TICK])
    return command.positions, command.times


def assert_gentle(bench, sent):
    """Nothing sent since `sent` asks more of the measured arm than its limits allow."""
    for command, arm in zip(bench.out.commands[sent:], bench.out.arms[sent:], strict=True):
        if command.names[0] != 'Joint1':
            continue
        targets, times = positions(bench, command)
        away = np.abs(targets - arm[:-1]).max(axis=1)
        allowed = bench.contract.max_velocity[0] * times * 1.01
        streamed = bench.contract.front_end.kind == 'joint_commands'
        # The standalone driver drives to each target at a speed of its own.
        if streamed:
            allowed = 2.0 * BOUNDS.soft_tracking_error + BOUNDS.lag
        assert (away <= allowed).all()


def lose_driver(bench, offset):
    """The driver dies in motion; the arm is elsewhere when it is back."""
    bench.move()
    bench.states = False
    bench.run(1.0)
    bench.arm = bench.arm + offset
    bench.states, bench.follows = True, False


MOVED = np.array([0, 0.9, 0, 0, 0, 0, 0])


def test_an_arm_that_was_moved_while_states_were_missing_is_not_thrown_back(bench):
    lose_driver(bench, MOVED)
    sent = len(bench.out.commands)
    bench.run(1.0)
    assert 'Joint2 moved by' in bench.loop.safety.trip_reason
    after = bench.out.commands[sent:]
    assert after, 'the stop is sent'
    for command in after:
        if command.names[0] == 'Joint1':
            targets = positions(bench, command)[0]
            np.testing.assert_allclose(
                targets, np.tile(bench.arm[:-1], (len(targets), 1)), atol=1e-3
            )
    assert_gentle(bench, sent)


def test_nothing_is_streamed_while_nobody_knows_where_the_arm_is():
    bench = Bench('alicia_d_standalone')
    bench.move()
    bench.states = False
    bench.run(0.2 + 0.25 + 0.3)  # until they are missed, the brake, and some more
    sent = len(bench.out.commands)
    bench.run(2.0)
    assert len(bench.out.commands) == sent and bench.loop.enabled


def blocked(bench, speed=0.08):
    """The arm drives joint 2 into an obstacle; chunks go on for as long as they are asked for."""
    bench.follows = True
    bench.move(speed)
    wall = bench.arm[1] + 0.05
    pushed = 0.0

    def obstacle(arm):
        arm[1] = min(arm[1], wall)

    bench.obstacle = obstacle
    for _ in range(150):
        if bench.worker.busy_since is not None:
            bench.worker.answer(bench.chunk(speed))
        bench.run(TICK)
        pushed = max(pushed, bench.loop.scheduler.commanded(bench.now)[0][1] - wall)
    return wall, pushed


def test_a_blocked_arm_is_not_pushed_on_and_then_relieved(bench):
    wall, pushed = blocked(bench)
    # An arm whose command waits for it reads the same all the time.
    reason = bench.loop.safety.trip_reason
    assert ('Joint2 is' in reason and 'blocked' in reason) or 'frozen' in reason
    # Beyond the wall by the soft bound, and what it moves within the lag and a control cycle.
    assert pushed <= BOUNDS.soft_tracking_error + (BOUNDS.lag + 2 * TICK) * 1.0 + 0.01
    held = bench.loop.scheduler.commanded(bench.now)[0]
    assert held[1] == pytest.approx(wall, abs=2e-3)
    last = [c for c in bench.out.commands if c.names[0] == 'Joint1'][-1]
    assert positions(bench, last)[0][-1][1] == pytest.approx(wall, abs=2e-3)


def test_a_stop_while_the_command_waits_relieves_the_arm_too(bench):
    bench.move(0.08)
    wall = bench.arm[1] + 0.05
    bench.obstacle = lambda arm: arm.__setitem__(1, min(arm[1], wall))
    bench.worker.answer(bench.chunk(0.08)) if bench.worker.busy_since is not None else None
    assert bench.run(2.0, lambda: bool(bench.loop.gate.waiting))
    bench.run(0.36)
    assert bench.loop.scheduler.commanded(bench.now)[0][1] - wall > 0.04
    bench.loop.stop('stop was called', bench.now)
    bench.run(1.0)
    assert bench.loop.scheduler.commanded(bench.now)[0][1] == pytest.approx(wall, abs=2e-3)


def test_motion_is_not_enabled_again_before_the_stop_is_over(bench):
    bench.move(0.08)
    bench.loop.set_enabled(False, bench.now)
    assert 'still stopping' in bench.loop.set_enabled(True, bench.now).message
    bench.run(0.4)
    assert bench.loop.set_enabled(True, bench.now).success


def test_activating_again_after_a_pause_sends_no_old_target():
    bench = Bench('alicia_d_standalone')
    bench.move(0.05)
    bench.loop.deactivate(bench.now)
    sent = len(bench.out.commands)
    bench.robot_time += 60.0
    bench.steady += 60.0
    bench.activate()
    bench.run(1.0)
    assert len(bench.out.commands) == sent


def test_an_arm_that_is_only_slow_is_waited_for_and_motion_goes_on(bench):
    bench.speed = 0.35
    bench.move(0.08)
    reasons = set()
    for _ in range(400):
        if bench.worker.busy_since is not None:
            bench.worker.answer(bench.chunk(0.08))
        bench.run(TICK)
        reasons.add(bench.loop.reason)
        error = np.abs(bench.loop.scheduler.commanded(bench.now)[0] - bench.arm)[:-1]
        assert error.max() <= BOUNDS.soft_tracking_error + BOUNDS.lag + 0.1
    assert any('waiting for the arm' in reason for reason in reasons)
    assert not bench.loop.safety.tripped
    assert bench.arm[0] - HOME[0] > 0.8, 'it gets on'


def test_an_arm_that_is_dragged_far_away_trips_immediately_and_is_left_where_it_is(bench):
    bench.move()
    sent = len(bench.out.commands)
    bench.follows = False
    for _ in range(10):
        bench.arm[2] += 0.06
        bench.run(TICK)
    assert bench.loop.safety.tripped or bench.loop.gate.waiting
    for _ in range(30):
        bench.arm[2] += 0.06 if bench.arm[2] < 2.0 else 0.0
        bench.run(TICK)
    assert bench.loop.safety.tripped
    assert_gentle(bench, sent)


def test_a_chunk_is_refused_while_the_arm_is_not_where_it_is_commanded(bench):
    bench.move()
    assert bench.run(1.0, lambda: bench.worker.busy_since is not None)
    # Somebody else moves the arm meanwhile: 0.3 rad, slowly enough for a real arm.
    bench.follows = False
    sent = len(bench.out.commands)
    for _ in range(15):
        bench.arm[0] += 0.02
        bench.run(TICK)
    bench.worker.answer(bench.chunk())
    bench.run(TICK)
    assert bench.loop.gate.waiting or bench.loop.safety.tripped
    assert_gentle(bench, sent)


def test_after_a_measured_jump_nothing_is_sent_until_it_is_confirmed_then_hold_there(bench):
    bench.move(0.05)
    sent = len(bench.out.commands)
    bench.follows = False
    bench.arm = bench.arm + np.array([0, 0, 0.9, 0, 0, 0, 0])
    bench.run(TICK)
    assert 'jumped' in bench.loop.safety.trip_reason
    bench.run(0.2)
    assert len(bench.out.commands) == sent, 'it may be false'
    bench.run(0.4)
    arm = [c for c in bench.out.commands[sent:] if c.names[0] == 'Joint1']
    # A stream stays silent: the driver holds its last target.
    assert bool(arm) == (bench.contract.front_end.kind == 'joint_trajectory')
    for command in arm:
        np.testing.assert_allclose(positions(bench, command)[0][-1], bench.arm[:-1], atol=0.1)
    assert_gentle(bench, sent)


def test_a_false_position_for_a_moment_is_never_held(bench):
    bench.move(0.05)
    sent = len(bench.out.commands)
    true = bench.arm.copy()
    bench.follows = False
    bench.arm = true + np.array([0, 0, 0.9, 0, 0, 0, 0])
    bench.run(0.06)
    bench.arm = true
    bench.run(1.0)
    for command in bench.out.commands[sent:]:
        if command.names[0] == 'Joint1':
            assert np.abs(positions(bench, command)[0] - true[:-1]).max() < 0.2


def test_a_jump_during_a_brake_ends_the_stream_too():
    bench = Bench('alicia_d_standalone')
    bench.move(0.08)
    bench.images = False
    bench.worker.fail('CUDA error')
    bench.run(TICK)
    assert bench.loop.scheduler.plan.kind == 'hold' and bench.loop.scheduler.moving(bench.now)
    sent = len(bench.out.commands)
    bench.follows = False
    bench.arm = bench.arm + np.array([0, 0, 0.9, 0, 0, 0, 0])
    bench.run(1.0)
    assert_gentle(bench, sent)


@pytest.mark.parametrize('distance', [0.9, 0.3], ids=['jumps', 'is pushed'])
def test_a_stop_that_is_streamed_ends_if_the_arm_is_elsewhere_meanwhile(distance):
    bench = Bench('alicia_d_standalone')
    lose_driver(bench, MOVED)
    bench.run(0.04)
    assert bench.loop.safety.tripped and not bench.loop.gate.quiet(bench.now)
    bench.arm = bench.arm - np.array([0, 0, distance, 0, 0, 0, 0])
    sent = len(bench.out.commands)
    bench.run(1.0)
    assert_gentle(bench, sent)
    assert len(bench.out.commands) - sent <= 1


def test_after_a_jump_that_nobody_confirms_the_brake_is_along_the_commanded_path():
    bench = Bench()
    bench.move(0.05)
    bench.follows = False
    home, sent = bench.arm.copy(), len(bench.out.commands)
    for i in range(20):  # two publishers, in turn
        bench.arm = home + (0.9 if i % 2 == 0 else 0.0) * np.eye(7)[2]
        bench.run(TICK)
    (hold,) = [c for c in bench.out.commands[sent:] if c.names[0] == 'Joint1']
    np.testing.assert_allclose(hold.positions[-1], home[:-1], atol=0.25)


@pytest.mark.parametrize('fault', ['zeros', 'nan', 'outside'])
def test_values_that_cannot_be_end_in_a_brake_along_the_commanded_path(bench, fault):
    bench.move(0.05)
    before = bench.loop.scheduler.commanded(bench.now)[0]
    sent = len(bench.out.commands)
    bench.follows, bench.noise = False, 0.0
    bench.arm = {'zeros': np.zeros(7), 'nan': np.full(7, np.nan), 'outside': HOME + 9.0}[fault]
    bench.run(1.0)
    assert bench.loop.safety.tripped
    for command in bench.out.commands[sent:]:
        if command.names[0] == 'Joint1':
            targets = positions(bench, command)[0]
            assert np.abs(targets - before[:-1]).max() < 0.15
    silent = len(bench.out.commands)
    bench.run(1.0)
    assert len(bench.out.commands) == silent


def test_a_stop_at_rest_sends_nothing(bench):
    bench.start()
    bench.run(0.5)
    sent = len(bench.out.commands)
    bench.loop.stop('stop was called', bench.now)
    bench.run(0.5)
    assert len(bench.out.commands) == sent


def test_a_plan_that_breaks_a_limit_does_not_leave_and_trips(bench):
    bench.move(0.05)
    plan = bench.loop.scheduler.plan
    plan.arm.velocities[:-1] *= 3.0
    sent = len(bench.out.commands)
    assert not bench.loop.gate._send(plan, bench.now)
    assert 'must not leave' in bench.loop.safety.trip_reason
    assert_gentle(bench, sent)


@pytest.mark.parametrize(
    ('meanwhile', 'expected'), [(0.0, 0.0), (1.0, 1.0)], ids=['closed', 'as it was']
)
def test_a_gripper_that_was_closed_while_motion_was_disabled_stays_closed(
    bench, meanwhile, expected
):
    bench.move()
    bench.loop.set_enabled(False, bench.now)
    bench.run(0.5)
    bench.follows = False
    bench.arm[-1] = meanwhile
    bench.run(0.3)
    assert bench.loop.set_enabled(True, bench.now).success
    bench.run(0.1)
    assert bench.loop.scheduler.commanded(bench.now)[0][-1] == pytest.approx(expected, abs=1e-6)


def test_an_arm_that_sags_keeps_its_command_when_motion_goes_on(bench):
    bench.move()
    bench.loop.set_enabled(False, bench.now)
    bench.run(0.5)
    held = bench.loop.scheduler.commanded(bench.now)[0]
    bench.follows = False
    bench.arm = held - np.array([0.0, 0.03, 0.02, 0.3, 0, 0, 0])
    bench.run(0.1)
    assert bench.loop.set_enabled(True, bench.now).success
    there = bench.loop.scheduler.commanded(bench.now)[0]
    # Joint by joint: Joint4 was moved by hand.
    np.testing.assert_allclose(there[:3], held[:3], atol=1e-5)
    assert there[3] == pytest.approx(bench.arm[3], abs=1e-4)


def test_a_gripper_stopped_by_an_object_is_no_tracking_error(bench):
    bench.start()
    bench.obstacle = lambda arm: arm.__setitem__(6, max(arm[6], 0.6))
    chunk = bench.chunk(0.0)
    chunk.actions[:, -1] = 0.0
    bench.worker.answer(chunk)
    bench.run(2.0)
    assert not bench.loop.safety.tripped and not bench.loop.gate.waiting


def test_only_the_gate_asks_a_front_end_for_commands():
    """Whoever makes commands of plans must go through the gate."""
    package = Path(vla_adapter_ros.__file__).parent
    names = ('on_plan', 'make_front_end', 'TrajectoryFrontEnd', 'StreamingFrontEnd')
    sources = {path: path.read_text() for path in package.rglob('*.py')}
    callers = {
        path.relative_to(package).as_posix()
        for path, source in sources.items()
        if any(name in source for name in names)  # the others need not be parsed
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, 'attr', getattr(node.func, 'id', '')) in names
    }
    assert callers - {'control/front_ends.py'} == {'control/gate.py'}
