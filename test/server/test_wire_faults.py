# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Faults of the wire to a policy server while the arm moves: what is asked of it stays in limits.

Control loop, client and sockets are the product's; the clocks of the arm are made up, so that
`latency` says how long the arm waits for what the client finds out in moments.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import pytest

from support.fault_bench import FaultBench
from support.fault_cases import GO_ON, REST, FaultCase
from support.fault_measure import measure, swaying
from support.policy_servers import SERVED, Cable, FakeServer
from vla_adapter_ros.server import remote_policy
from vla_adapter_ros.server.codec import encode
from vla_adapter_ros.server.remote_policy import RemotePolicy

ROBOT = 'alicia_d'
TIMEOUT_S = 0.1  # where an answer is waited for in vain
PATIENCE_S = 10.0  # on a busy machine
# What the product waits, in the time of the arm: 0.9 of the watchdog's second.
ARM_TIMEOUT_S = 0.9


@dataclass
class Wire:
    """The bench's policy behind a server; `spoil` is what the wire does to an answer."""

    bench: FaultBench
    server: FakeServer
    cable: Cable
    remote: RemotePolicy
    spoil: Callable[[dict], list[bytes]] = lambda answer: [encode(answer)]

    def ask(self, observation):
        actions = self.bench.policy(observation).actions
        self.server.answer = lambda request: self.spoil(
            {'actions': actions, 'sequence': request['sequence']}
        )
        return self.remote.predict(observation)

    def mend(self):
        """All is well again, and the client may connect."""
        self.cable.mend()
        self.server.first = SERVED.to_message()
        self.spoil = Wire.spoil
        self.bench.worker.latency, self.remote._timeout = 0.08, PATIENCE_S
        time.sleep(0.05)

    def in_vain(self):
        """From now on the client waits for answers that do not come."""
        self.bench.worker.latency, self.remote._timeout = ARM_TIMEOUT_S, TIMEOUT_S


@pytest.fixture
def wire(monkeypatch):
    monkeypatch.setattr(remote_policy, '_LONGEST_BACK_OFF_S', 0.03)
    bench = deepcopy(swaying(ROBOT))
    with FakeServer() as server, Cable(server.port) as cable:
        remote = RemotePolicy(cable.url, timeout=PATIENCE_S)
        wire = Wire(bench, server, cable, remote)
        bench.worker.behave = wire.ask
        bench.run(1.0)
        assert server.requests, 'the arm sways by what the server answers'
        yield wire
        remote.close()


def pull(wire):
    wire.cable.cut()
    wire.in_vain()


def kill(wire):
    wire.cable.kill()


def silent(wire):
    wire.spoil = lambda answer: []
    wire.in_vain()


def slow(wire):
    wire.bench.worker.latency = 0.6


def other_policy(wire):
    """The server restarts with another checkpoint of the same robot."""
    wire.server.first = replace(SERVED, provenance={'fingerprint': 'other'}).to_message()
    wire.cable.kill()
    wire.cable.dead = False


def answers(spoil):
    def cause(wire):
        wire.spoil = spoil

    return cause


def replay(wire):
    """One good answer, then the same again and again, with its old number."""
    kept = []

    def spoil(answer):
        kept.append(encode(answer))
        if len(kept) > 1:
            wire.bench.worker.latency = ARM_TIMEOUT_S
        return [kept[0]] * 3

    wire.spoil = spoil
    wire.remote._timeout = TIMEOUT_S


def for_a_while(cause):
    def then_mended(wire):
        cause(wire)
        wire.bench.run(1.5)
        wire.mend()

    return then_mended


def actions(change):
    return answers(lambda answer: [encode({**answer, 'actions': change(answer['actions'])})])


CASES = (
    FaultCase('cable to the policy server pulled', pull, REST, 'no answer in time', 2.0),
    FaultCase('cable pulled for 1.5 s', for_a_while(pull), GO_ON),
    FaultCase('policy server killed', kill, REST, 'not reachable'),
    FaultCase('policy server killed, back after 1.5 s', for_a_while(kill), GO_ON),
    FaultCase('policy server silent', silent, REST, 'no answer in time', 2.0),
    FaultCase('policy server slow (0.6 s)', slow, GO_ON),
    FaultCase('policy server back with another policy', other_policy, REST, 'another policy'),
    FaultCase('answers are garbage', answers(lambda a: [b'\x81' * 50]), REST, 'not msgpack'),
    FaultCase('answers are text', answers(lambda a: ['<html>']), REST, 'refused: <html>'),
    FaultCase('answers are huge', answers(lambda a: [bytes(2**21)]), REST, 'lost'),
    FaultCase('remote actions NaN', actions(lambda x: x * np.nan), REST, 'not all are finite'),
    FaultCase('remote actions of another shape', actions(lambda x: x[:3]), REST, 'shape (3, 7)'),
    FaultCase('old answers replayed', replay, REST, 'no answer in time', 2.0),
    FaultCase('every answer twice', answers(lambda a: [encode(a), encode(a)]), GO_ON),
    FaultCase(
        'policy server refuses',
        answers(lambda a: [encode({'error': 'x', 'sequence': a['sequence']})]), REST, 'refused: x',
    ),
)  # fmt: skip


pytestmark = pytest.mark.wire
# One of each kind is enough for every day.
DAILY = (
    'cable to the policy server pulled', 'cable pulled for 1.5 s', 'policy server killed',
    'policy server back with another policy', 'answers are garbage', 'remote actions NaN',
    'old answers replayed',
)  # fmt: skip
SLOW = pytest.mark.slow(reason='a quarter of a second each; seven others always run')


@pytest.mark.parametrize('case', [
    pytest.param(case, id=case.name, marks=() if case.name in DAILY else SLOW) for case in CASES
])  # fmt: skip
def test_after_a_fault_of_the_wire_nothing_beyond_the_limits_is_asked(wire, case, fault_row):
    bench = wire.bench
    since = bench.fault_time = bench.steady
    bench.said.lines.clear()
    case.cause(wire)
    bench.run(max(3.0, case.rest_within + 0.5))
    row = measure(bench, case, ROBOT, since)
    fault_row(row)
    assert not row.violation, row
