# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What an episode of LIBERO costs beside the policy, with images at queries alone and always.

    python -m benchmarks.libero --libero-python ~/libero/bin/python

Simulators of one task run the official protocol with a policy that does not move, in turns with
images where the policy looks (what the evaluation does) and at every step (as the official one).
Reported are the processor time and the wall time of an episode, and episodes an hour of all
simulators together. Building the task comes before.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.common import cpu_seconds
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.libero.__main__ import WORKER
from vla_adapter_ros.evaluation.libero.episode import OPEN_LOOP, WAIT_COMMAND
from vla_adapter_ros.evaluation.libero.suites import SUITES
from vla_adapter_ros.evaluation.suites.worker_process import WorkerProcess

MODES = {'images at queries': False, 'images at every step': True}
S_PER_HOUR = 3600


def play(worker: WorkerProcess, request: Mapping[str, Any]) -> None:
    """Run one episode without motion."""
    still = {'actions': np.tile(WAIT_COMMAND, (OPEN_LOOP, 1))}
    header, _ = worker.ask(request)
    while 'over' not in header:
        header, _ = worker.ask({'do': 'act'}, still)


def measure(
    workers: Sequence[WorkerProcess], request: Mapping[str, Any], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return processor and wall seconds of every episode, by mode; the modes take turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in MODES}
    errors: list[Exception] = []

    def run(worker: WorkerProcess, episode: int, name: str) -> None:
        cpu, wall = cpu_seconds(worker.pid), time.monotonic()
        try:
            play(worker, {**request, 'episode': episode, 'always_render': MODES[name]})
        except VLAAdapterError as error:
            errors.append(error)
        found[name].append((cpu_seconds(worker.pid) - cpu, time.monotonic() - wall))

    for number in range(rounds):
        for name in MODES:
            threads = [
                threading.Thread(target=run, args=(worker, number * len(workers) + i, name))
                for i, worker in enumerate(workers)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if errors:
                raise errors[0]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.libero',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--libero-python', required=True, help='interpreter that has LIBERO')
    add('--suite', default='libero_object', choices=SUITES)
    add('--task', type=int, default=0)
    add('--workers', type=int, default=1, help='simulators at once')
    add('--rounds', type=int, default=2, help='episodes of every simulator in each mode')
    add('--steps', type=int, help='of an episode (default: those of the suite)')
    options = parser.parse_args(arguments)
    steps = options.steps or SUITES[options.suite].max_steps
    request = {'do': 'episode', 'suite': options.suite, 'task': options.task,
               'max_steps': steps, 'open_loop': OPEN_LOOP}  # fmt: skip
    workers: list[WorkerProcess] = []
    try:
        for _ in range(options.workers):
            workers.append(WorkerProcess(options.libero_python, WORKER, None))
        for worker in workers:
            play(worker, {**request, 'episode': 0, 'max_steps': OPEN_LOOP})
        found = measure(workers, request, options.rounds)
    except VLAAdapterError as error:
        print(f'libero: {error}', file=sys.stderr)
        return 1
    finally:
        for worker in workers:
            worker.close()
    print(f'{options.suite}, {steps} steps an episode, {options.workers} simulators:')
    for name, episodes in found.items():
        cpu, wall = np.median(episodes, axis=0)
        rate = options.workers * S_PER_HOUR / wall
        print(f'{name:22}{cpu:7.1f} s of CPU{wall:8.1f} s{rate:9.0f} episodes an hour')
    return 0


if __name__ == '__main__':
    sys.exit(main())
