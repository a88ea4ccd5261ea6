# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A bench in motion, and what a fault on it led to, compared with what it must lead to."""

from __future__ import annotations

import math
from functools import cache

from support.fault_bench import FaultBench
from support.fault_cases import GO_ON, REST, TRIP, FaultCase
from support.fault_report import TOLERANCE, FaultRow, rest_after, shares


@cache
def swaying(robot: str) -> FaultBench:
    bench = FaultBench(robot)
    bench.start()
    return bench


def measure(bench: FaultBench, case: FaultCase, robot: str, since: float) -> FaultRow:
    velocity, acceleration, position, distance = shares(
        bench.asked, bench.contract, since, bench.allowed_distance
    )
    rest = rest_after(bench.asked, bench.fault_time)
    tripped = bench.loop.safety.trip_reason
    said = [tripped, bench.loop.reason, *bench.said.lines[::-1]]
    broken = [
        text
        for text, is_broken in (
            (f'{velocity:.0%} of the velocity limit', velocity > TOLERANCE),
            (f'{acceleration:.0%} of the acceleration limit', acceleration > TOLERANCE),
            ('beyond the position limits', position > 1.0 + 1e-6),
            (f'{distance:.0%} of the allowed distance', distance > 1.0),
            ('it did not trip', case.outcome == TRIP and not tripped),
            (
                f'no rest within {case.rest_within:g} s',
                case.outcome in (TRIP, REST) and not rest <= case.rest_within,
            ),
            ('it did not go on', case.outcome == GO_ON and (tripped or not math.isnan(rest))),
            (
                f'{case.reason!r} was not said',
                not any(case.reason in line for line in said),
            ),
        )
        if is_broken
    ]
    reason = next((line for line in said if line), '')
    return FaultRow(
        case.name, f'bench {robot}', velocity, acceleration, position, distance, rest, reason,
        '; '.join(broken),
    )  # fmt: skip
