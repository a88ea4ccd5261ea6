# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Whatever goes wrong while the arm moves: what is asked of it stays within its limits.

`make faults` prints the table of this file and of test/nodes/policy/test_fault_injection.py.
"""

from __future__ import annotations

from copy import deepcopy

import pytest

from support.fault_cases import CASES
from support.fault_measure import measure, swaying

RUNS = [(robot, case) for case in CASES for robot in case.robots]


@pytest.mark.parametrize(
    ('robot', 'case'), RUNS, ids=[f'{case.name}-{robot}' for robot, case in RUNS]
)
def test_after_a_fault_nothing_beyond_the_limits_is_asked_of_the_arm(robot, case, fault_row):
    bench = deepcopy(swaying(robot))
    since = bench.steady
    bench.said.lines.clear()
    case.cause(bench)
    bench.run(max(3.0, case.rest_within + 0.5))
    row = measure(bench, case, robot, since)
    fault_row(row)
    assert not row.violation, row
