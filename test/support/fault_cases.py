# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What can go wrong with a moving arm, as data: how it is caused and what must follow.

`cause` is called while the arm sways at up to 90 % of its speed limit; what it changes on the
bench stays until the end of the case, unless it undoes it itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from support.fault_bench import FaultBench

ROBOTS = ('alicia_d', 'alicia_d_standalone')
TRIP, REST, GO_ON, ANY = 'trip', 'rest', 'go on', 'any'


@dataclass(frozen=True)
class FaultCase:
    """One fault.

    Attributes:
        name: in the table.
        cause: brings it about.
        outcome: `trip` (and at rest), `rest`, `go on` (moves at the end, not tripped) or `any`.
        reason: must be part of the reason shown (trip, status or last warning); '' if none is due.
        rest_within: longest time from the fault to rest [s].
        robots: contracts that it is tried with: one for each front end.
        others: meanwhile the node is not, or not alone, in command.
    """

    name: str
    cause: Callable[[FaultBench], None]
    outcome: str
    reason: str = ''
    rest_within: float = 1.5
    robots: tuple[str, ...] = ROBOTS
    others: bool = False


def _lose(*inputs: str):
    def cause(bench):
        bench.lost |= set(inputs)

    return cause


def _lose_for(seconds: float, *inputs: str):
    def cause(bench):
        bench.lost |= set(inputs)
        bench.run(seconds)
        bench.lost -= set(inputs)

    return cause


def _moved_while_states_are_missing(distance: float, restart: bool):
    def cause(bench):
        bench.lost.add('states')
        bench.run(0.6)
        bench.displace(1, distance)
        if restart:
            bench.restart_driver()
        bench.run(0.2)
        bench.lost.remove('states')

    return cause


def _spoil(change: Callable[[np.ndarray], np.ndarray]):
    def cause(bench):
        bench.spoil = change

    return cause


def _freeze(bench):
    frozen = bench.arm.position.copy()
    bench.spoil = lambda joints: frozen
    bench.noise = 0.0


def _jump_once(bench):
    bench.spoil = lambda joints: joints + np.array([0, 0.8, 0, 0, 0, 0])
    bench.run(0.04)
    bench.spoil = None


def _two_publishers(bench):
    turn = iter(range(1_000_000))
    bench.spoil = lambda joints: joints if next(turn) % 2 else joints + 1.0


def _wall(*joints: int, margin: float = 0.0):
    def cause(bench):
        bench.wait_for_speed(joints[0])
        for joint in joints:
            bench.arm.high_wall[joint] = bench.arm.position[joint] + margin

    return cause


def _wall_for(seconds: float):
    def cause(bench):
        _wall(0)(bench)
        bench.run(seconds)
        bench.arm.high_wall[0] = math.inf

    return cause


def _hand(speed: float, seconds: float):
    def cause(bench):
        bench.arm.hand[1] = speed
        bench.run(seconds)
        bench.arm.hand[1] = 0.0

    return cause


def _slow_arm(speed: float):
    def cause(bench):
        bench.arm.max_speed = speed

    return cause


def _lagging_arm(lag: float):
    def cause(bench):
        bench.arm.lag = lag

    return cause


def _wall_clock(step: float):
    def cause(bench):
        bench.offset += step

    return cause


def _drifting_clock(bench):
    bench.drift = 0.05


def _other_clock(offset: float):
    def cause(bench):
        bench.stamp_offset = offset

    return cause


def _pause(seconds: float):
    def cause(bench):
        bench.pause(seconds)

    return cause


def _pause_and_move(bench):
    bench.pause(0.5)
    bench.displace(1, 0.8)
    bench.restart_driver()


def _latency(seconds: float):
    def cause(bench):
        bench.worker.latency = seconds

    return cause


def _behave(change: Callable[[FaultBench, np.ndarray], np.ndarray]):
    def cause(bench):
        bench.misbehave = lambda targets: change(bench, targets)

    return cause


def _fail(bench):
    def broken(targets):
        raise RuntimeError('CUDA error: device-side assert triggered')

    bench.misbehave = broken


def _fail_once(bench):
    _fail(bench)
    bench.run(0.3)
    bench.misbehave = None


def _period(value: float):
    def cause(bench):
        bench.chunk_period = value

    return cause


def _request(name: str, *args):
    def cause(bench):
        bench.request(name, *args)

    return cause


def _toggle(bench):
    for _ in range(10):
        bench.request('set_enabled', False)
        bench.run(0.06)
        bench.request('set_enabled', True)
        bench.run(0.06)


def _enable_after_moved(bench):
    bench.request('set_enabled', False)
    bench.run(0.5)
    bench.displace(1, 0.7)
    bench.restart_driver()
    bench.run(0.2)
    bench.request('set_enabled', True)


def _deactivate_and_activate(bench):
    bench.request('deactivate')
    bench.run(0.5)
    bench.displace(2, -0.5)
    bench.restart_driver()
    bench.activate()
    bench.run(0.2)
    bench.request('set_enabled', True)


def _clear_at_once(bench):
    bench.request('fail', 'a fault')
    bench.run(0.3)
    bench.request('clear_trip')
    bench.run(0.04)
    bench.request('set_enabled', True)


def _clear_while_blocked(bench):
    _wall(0)(bench)
    for _ in range(3):
        bench.run(1.2)
        bench.request('clear_trip')
        bench.run(0.04)
        bench.request('set_enabled', True)


def _taken_over(bench):
    """Another program moves the arm through the controller's action for a moment."""
    for i in range(10):
        bench.run(0.02)
        bench.restart_driver(bench.driver.target(bench.steady) + 0.002 * i)


def _driver_restarts(bench):
    bench.lost.add('states')
    bench.deaf = True
    bench.run(1.0)
    bench.restart_driver()
    bench.deaf = False
    bench.lost.remove('states')


def _deaf(bench):
    bench.deaf = True
    bench.run(1.0)
    bench.deaf = False


def _flood(bench):
    for i in range(50):
        bench.request('set_instruction', f'sway {i}')
        bench.run(0.02)


def _erratic(bench, targets):
    return bench.random.uniform(bench.contract.lower, bench.contract.upper, targets.shape)


CASES = (
    FaultCase('images lost', _lose('third_person', 'wrist'), REST, 'image'),
    FaultCase('one camera lost', _lose('wrist'), REST, 'wrist image'),
    FaultCase('images lost for 0.5 s', _lose_for(0.5, 'third_person', 'wrist'), GO_ON),
    FaultCase('joint states lost', _lose('states'), REST, 'joint state'),
    FaultCase('joint states lost for 0.1 s', _lose_for(0.1, 'states'), GO_ON),
    FaultCase('joint states lost for 1 s', _lose_for(1.0, 'states'), GO_ON),
    FaultCase('all inputs lost', _lose('third_person', 'wrist', 'states'), REST, 'joint state'),
    FaultCase(
        'moved 0.9 rad while joint states were missing, driver restarted',
        _moved_while_states_are_missing(0.9, True), TRIP, 'while joint states were missing',
    ),
    FaultCase(
        'moved 0.06 rad while joint states were missing, driver restarted',
        _moved_while_states_are_missing(0.06, True), GO_ON,
    ),
    FaultCase('joint states frozen', _freeze, TRIP, '', 2.0),
    FaultCase('joint state NaN', _spoil(lambda q: np.where(np.arange(6) == 2, np.nan, q)), TRIP),
    FaultCase('joint states zero', _spoil(np.zeros_like), TRIP, 'zero'),
    FaultCase('joint states −π', _spoil(lambda q: np.full(6, -math.pi)), TRIP, 'π'),
    FaultCase('joint state beyond its limits', _spoil(lambda q: q + 9.0), TRIP, 'measured'),
    FaultCase('measured position jumps once', _jump_once, TRIP, 'jump'),
    FaultCase(
        'a second publisher of joint states, in another pose', _two_publishers, TRIP, others=True
    ),
    FaultCase('blocked at full speed', _wall(0), TRIP, 'command'),
    FaultCase('blocked a little later', _wall(0, margin=0.1), TRIP, 'command'),
    FaultCase('two joints blocked', _wall(0, 2), TRIP, 'command'),
    FaultCase('blocked for 0.15 s', _wall_for(0.15), GO_ON),
    FaultCase('blocked for 2 s, then freed', _wall_for(2.0), TRIP, 'command'),
    FaultCase('pushed by hand, slowly', _hand(0.5, 2.0), ANY),
    FaultCase('pushed by hand, fast', _hand(2.0, 0.5), ANY),
    FaultCase('arm at a third of the planned speed', _slow_arm(0.33), ANY),
    FaultCase('arm stands still', _slow_arm(0.0), TRIP, 'command', 2.5),
    FaultCase('arm lags by 0.1 s', _lagging_arm(0.1), GO_ON),
    FaultCase('wall clock +0.1 s', _wall_clock(0.1), GO_ON),
    FaultCase('wall clock +0.45 s', _wall_clock(0.45), GO_ON),
    FaultCase('wall clock +30 s', _wall_clock(30.0), GO_ON),
    FaultCase('wall clock −0.001 s', _wall_clock(-0.001), GO_ON),
    FaultCase('wall clock −0.4 s', _wall_clock(-0.4), GO_ON),
    FaultCase('wall clock −2 s', _wall_clock(-2.0), GO_ON),
    FaultCase('wall clock −3600 s', _wall_clock(-3600.0), GO_ON),
    FaultCase('wall clock 5 % fast', _drifting_clock, GO_ON),
    FaultCase('stamps 5 s ahead', _other_clock(5.0), REST, ''),
    FaultCase('stamps 5 s behind', _other_clock(-5.0), REST, ''),
    FaultCase('process paused for 0.1 s', _pause(0.1), GO_ON, others=True),
    FaultCase('process paused for 0.5 s', _pause(0.5), GO_ON, others=True),
    FaultCase('process paused for 5 s', _pause(5.0), GO_ON, others=True),
    FaultCase('process paused, arm moved meanwhile', _pause_and_move, TRIP, others=True),
    FaultCase('inference takes 0.6 s', _latency(0.6), GO_ON),
    FaultCase('inference takes 3 s', _latency(3.0), REST, 'watchdog'),
    FaultCase('inference fails once', _fail_once, GO_ON),
    FaultCase('inference fails', _fail, REST, 'CUDA error'),
    FaultCase('targets NaN', _behave(lambda b, t: np.full_like(t, np.nan)), REST, 'not finite'),
    FaultCase('targets infinite', _behave(lambda b, t: t + np.inf), REST, 'not finite'),
    FaultCase('targets 10 rad beyond', _behave(lambda b, t: t + 10.0), TRIP, 'beyond', 20.0),
    FaultCase('targets at random', _behave(_erratic), ANY),
    FaultCase('targets 1 rad away', _behave(lambda b, t: t + 1.0), ANY),
    FaultCase('chunk of the wrong shape', _behave(lambda b, t: t[:, :4]), REST, ''),
    FaultCase('chunk without steps', _behave(lambda b, t: t[:0]), REST, ''),
    FaultCase('step period 0', _period(0.0), REST, 'step period'),
    FaultCase('step period NaN', _period(math.nan), REST, 'step period'),
    FaultCase('50 instructions in one second', _flood, GO_ON),
    FaultCase('stop', _request('stop', 'stop was called'), REST, '', 0.5),
    FaultCase('disabled', _request('set_enabled', False), REST, '', 0.5),
    FaultCase('disabled and enabled ten times', _toggle, ANY),
    FaultCase('moved while disabled, enabled again', _enable_after_moved, GO_ON),
    FaultCase('deactivated', _request('deactivate'), REST, '', 0.5),
    FaultCase('deactivated, moved, activated', _deactivate_and_activate, GO_ON),
    FaultCase('internal error', _request('fail', 'internal error: x'), TRIP, 'internal', 0.5),
    FaultCase('tripped, cleared and enabled at once', _clear_at_once, GO_ON),
    FaultCase('blocked, cleared and enabled again', _clear_while_blocked, ANY),
    # Of a stream, each message would be one of two masters'.
    FaultCase(
        'another program moves the arm', _taken_over, ANY, robots=ROBOTS[:1], others=True
    ),
    FaultCase('driver restarts', _driver_restarts, ANY),
    FaultCase('driver deaf for 1 s', _deaf, ANY, robots=ROBOTS[:1], others=True),
)
