# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Proofs on the user's machine that a benchmark's simulator is the recorded one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_adapter_ros.evaluation.statistics import format_table
from vla_adapter_ros.evaluation.suites.worker_process import WorkerLost, WorkerProcess

Case = Mapping[str, Any]
Verdict = tuple[str, bool]  # what was found, and whether it is as recorded


def check_table(
    worker: WorkerProcess,
    hello: Mapping[str, Any],
    recorded: Path,
    name: Callable[[Case], str],
    compare: Callable[[Case], Verdict],
    at_last: tuple[str, Callable[[Sequence[Case]], Verdict]],
) -> tuple[str, bool]:
    """Compare a simulator with its recording, and close the worker.

    Args:
        worker: just started.
        hello: what its first request has beside `do`.
        recorded: JSON file with `cases`.
        name: of a case, in the table.
        compare: runs a case.
        at_last: what is compared at the end, and how, if every case could be run.

    Returns:
        A table, and whether everything passed.

    Raises:
        WorkerLost: the simulator cannot be built.
    """
    try:
        versions = worker.ask({'do': 'hello', **hello})[0]['versions']
        rows = [('versions', ', '.join(f'{k} {v}' for k, v in versions.items()), True)]
        cases = json.loads(recorded.read_text(encoding='utf-8'))['cases']
        for case in cases:
            try:
                rows.append((name(case), *compare(case)))
            except WorkerLost as error:
                rows.append((name(case), str(error), False))
                break
        else:
            what, run = at_last
            rows.append((what, *run(cases)))
    finally:
        worker.close()
    cells = [(what, found, 'pass' if passed else 'FAIL') for what, found, passed in rows]
    return format_table(('what', 'found', 'result'), cells), all(passed for *_, passed in rows)
