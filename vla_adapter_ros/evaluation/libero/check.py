# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Proofs on the user's machine that its LIBERO is the one of the official runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.libero.episode import (
    AGENT_VIEW,
    OPEN_LOOP,
    WRIST_VIEW,
    proprioception,
)
from vla_adapter_ros.evaluation.suites.check import Case, Verdict, check_table
from vla_adapter_ros.evaluation.suites.worker_process import WorkerProcess

RECORDED = Path(__file__).parent / 'data' / 'environment.json'
TOLERANCE = 1e-9  # [m], [rad]; builds of the same MuJoCo differ by less
DARKEST, BRIGHTEST = 60.0, 200.0  # mean of an image; a broken renderer gives black


def recorded_actions() -> np.ndarray:
    """Return the commands (16, 7) that the recording executed after waiting."""
    actions = np.random.default_rng(0).uniform(-1, 1, (16, 7))
    actions[:, 6] = np.repeat((-1.0, 1.0), 8)
    return actions


def check(python: str, module: str) -> tuple[str, bool]:
    """Compare LIBERO with the recording; see `check_table`."""
    worker = WorkerProcess(python, module, None)
    return check_table(
        worker, {}, RECORDED,
        lambda case: f'{case["suite"]} task {case["task"]}, episode {case["episode"]}',
        partial(compare_case, worker),
        ('cameras rendered on demand', lambda cases: compare_rendering(worker, cases[-1])),
    )  # fmt: skip


def compare_case(worker: WorkerProcess, case: Case) -> Verdict:
    """Run a recorded episode alone; return the largest difference, and whether it is small."""
    observations, over, _ = run_actions(worker, case, False)
    fixtures = over['fixtures']
    differences = [
        np.abs(proprioception(observations[0]) - case['state_after_wait']).max(),
        np.abs(proprioception(observations[-1]) - case['state_after_actions']).max(),
        *(
            np.abs(np.subtract(fixtures[name], pose)).max()
            for name, pose in case['fixtures'].items()
        ),
    ]
    brightness = [
        float(seen[view].mean()) for seen in observations for view in (AGENT_VIEW, WRIST_VIEW)
    ]
    largest = float(max(differences))
    drawn = min(brightness) > DARKEST and max(brightness) < BRIGHTEST
    found = f'largest difference {largest:.1e}, images of brightness {brightness[0]:.0f}'
    return found, largest <= TOLERANCE and drawn and over['instruction'] == case['language']


def compare_rendering(worker: WorkerProcess, case: Case) -> Verdict:
    """Return whether images and motion are the same as with a camera that always renders."""
    lazy, _, lazy_positions = run_actions(worker, case, False)
    always, _, positions = run_actions(worker, case, True)
    same = all(
        np.array_equal(first[name], second[name])
        for first, second in zip(lazy, always, strict=True)
        for name in first
    ) and np.array_equal(lazy_positions, positions)
    return ('every bit equal' if same else 'differ from those always rendered'), same


def run_actions(
    worker: WorkerProcess, case: Case, always_render: bool
) -> tuple[list[dict[str, np.ndarray]], dict[str, Any], np.ndarray]:
    """Execute the recorded commands and one more; return observations, outcome, positions."""
    actions = recorded_actions()
    request = {key: case[key] for key in ('suite', 'task', 'episode')}
    header, arrays = worker.ask(
        {'do': 'episode', **request, 'max_steps': len(actions) + 1, 'open_loop': OPEN_LOOP,
         'always_render': always_render}
    )  # fmt: skip
    observations = [arrays]
    for start in range(0, len(actions), OPEN_LOOP):
        header, arrays = worker.ask({'do': 'act'}, {'actions': actions[start : start + OPEN_LOOP]})
        observations.append(arrays)
    header, arrays = worker.ask({'do': 'act'}, {'actions': actions[-1:]})
    return observations, header['over'], arrays['positions']
