# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Proofs on the user's machine that its CALVIN moves, counts and draws as recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.calvin.episode import OPEN_LOOP
from vla_adapter_ros.evaluation.calvin.sequences import sequences, start_state
from vla_adapter_ros.evaluation.calvin.simulator import GRIPPER_VIEW, STATE, STATIC_VIEW
from vla_adapter_ros.evaluation.suites.check import Case, Verdict, check_table
from vla_adapter_ros.evaluation.suites.worker_process import WorkerProcess

RECORDED = Path(__file__).parent / 'data' / 'environment.json'
TOLERANCE = 1e-6  # [m], [rad]
IMAGE_TOLERANCE = 4.0  # of 255, mean over tiles; the software renderer is 20 off
TILES = 4  # along each side of an image
STEP_LENGTH_M = 0.02  # of a command of 1
BUTTON = (-0.12, -0.12)  # [m], as the heights
HIGH, PRESSED, GRASP = 0.56, 0.45, 0.46
STEPS = 120  # limit of a scripted task


def waypoints(task: str, scene: np.ndarray) -> Sequence[tuple[Sequence[float], float]]:
    """Return where the tool goes (3,) [m] and its gripper (1 = open), one for each query."""
    if task == 'lift_red_block_table':
        x, y = scene[6:8]
        return (
            *[((x, y, HIGH), 1.0)] * 2, *[((x, y, GRASP), 1.0)] * 2, ((x, y, GRASP), 0.0),
            ((x, y, HIGH), 0.0),
        )  # fmt: skip
    press = (*[((*BUTTON, HIGH), 0.0)] * 2, ((*BUTTON, PRESSED), 0.0), ((*BUTTON, HIGH), 0.0))
    return press


def chunks(task: str, scene: np.ndarray) -> Iterator[tuple[Sequence[float], float]]:
    """Yield the waypoints again and again."""
    while True:
        yield from waypoints(task, scene)


def run_script(
    worker: WorkerProcess, request: Mapping[str, Any], always_render: bool = False
) -> tuple[Mapping[str, Any], list[Mapping[str, np.ndarray]]]:
    """Run a scripted task; return the worker's account and all it showed."""
    sequence, (task,) = request['sequence'], request['tasks']
    _, scene = start_state(sequences()[sequence].condition)
    header, arrays = worker.ask(
        {'do': 'sequence', **request, 'task_steps': STEPS, 'ensemble': 'none',
         'always_render': always_render}
    )  # fmt: skip
    seen, script = [arrays], chunks(task, scene)
    while 'over' not in header:
        goal, gripper = next(script)
        chunk = np.zeros((OPEN_LOOP, 7))
        chunk[:, :3] = (np.array(goal) - arrays[STATE][:3]) / (OPEN_LOOP * STEP_LENGTH_M)
        chunk[:, 6] = gripper
        header, arrays = worker.ask({'do': 'act'}, {'actions': np.clip(chunk, -1, 1)})
        seen.append(arrays)
    return header['over'], seen


def tiles(image: np.ndarray) -> np.ndarray:
    """Return the mean colours (TILES, TILES, 3) of an image."""
    side = image.shape[0] // TILES
    return image.reshape(TILES, side, TILES, side, 3).mean(axis=(1, 3))


def describe(over: Mapping[str, Any], seen: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Return what is recorded of a scripted task."""
    first, last = seen[0], seen[-1]
    return {
        'solved': over['solved'], 'steps': over['steps'], 'start': first[STATE].tolist(),
        'end': last[STATE].tolist(),
        **{
            f'{view}_{when}': np.round(tiles(images[view]), 2).tolist()
            for when, images in (('start', first), ('end', last))
            for view in (STATIC_VIEW, GRIPPER_VIEW)
        },
    }  # fmt: skip


def compare_case(worker: WorkerProcess, case: Case, folder: str) -> Verdict:
    """Run a recorded case; return what was found, and whether it is the same."""
    request = {'calvin': folder, 'sequence': case['sequence'], 'tasks': [case['task']]}
    found, recorded = describe(*run_script(worker, request)), case['found']
    motion = max(np.abs(np.subtract(found[n], recorded[n])).max() for n in ('start', 'end'))
    images = max(
        np.abs(np.subtract(found[name], value)).mean()
        for name, value in recorded.items()
        if name.startswith('rgb_')
    )
    verdict = f'{"solved" if found["solved"] else "failed"} in {found["steps"]} steps'
    same = all(found[name] == recorded[name] for name in ('solved', 'steps'))
    return (
        f'{verdict}, recorded {recorded["steps"]}; state differs by {motion:.1e}, images by '
        f'{images:.1f} of 255',
        bool(same and motion <= TOLERANCE and images <= IMAGE_TOLERANCE),
    )


def compare_repeats(worker: WorkerProcess, case: Case, folder: str) -> Verdict:
    """Return whether a chain repeated after others, always rendered, is the same to the bit."""
    request = {'calvin': folder, 'sequence': case['sequence'], 'tasks': [case['task']]}
    (over, first), (again, second) = (run_script(worker, request, flag) for flag in (False, True))
    same = over == again and all(
        np.array_equal(one[name], other[name])
        for one, other in zip(first, second, strict=True)
        for name in one
    )
    return ('every bit equal' if same else 'differs from its first run'), same


def check(python: str, module: str, folder: str) -> tuple[str, bool]:
    """Compare CALVIN with the recording; see `check_table`."""
    worker = WorkerProcess(python, module, None)
    return check_table(
        worker, {'calvin': folder}, RECORDED, lambda case: case['task'],
        lambda case: compare_case(worker, case, folder),
        (
            'repeated after others, cameras always rendered',
            lambda cases: compare_repeats(worker, cases[0], folder),
        ),
    )  # fmt: skip
