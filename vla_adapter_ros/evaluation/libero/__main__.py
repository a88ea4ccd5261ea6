# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Success rates on LIBERO by the official protocol.

    scripts/libero_env.sh ~/libero
    python -m vla_adapter_ros.evaluation.libero CHECKPOINT --suite libero_object \
        --libero-python ~/libero/bin/python --out runs/libero

The simulator runs in LIBERO's own environment. A run that is repeated with the same --out goes on
where it ended.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.libero.check import check_table
from vla_adapter_ros.evaluation.libero.episode import OPEN_LOOP, WAIT_STEPS
from vla_adapter_ros.evaluation.libero.policies import (
    ZERO,
    Answering,
    CheckpointPolicy,
    ZeroPolicy,
)
from vla_adapter_ros.evaluation.libero.report import markdown, suite_data
from vla_adapter_ros.evaluation.libero.suites import EPISODES, PUBLISHED, SUITES
from vla_adapter_ros.evaluation.suites.pool import Finished, run_episodes
from vla_adapter_ros.evaluation.suites.store import ResultStore
from vla_adapter_ros.evaluation.suites.worker_process import WorkerProcess

WORKER = 'vla_adapter_ros.evaluation.libero.worker'
# From here on MuJoCo draws LIBERO differently, and from 3.4 on objects settle elsewhere.
FIRST_WRONG_MUJOCO = (3, 3, 3)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.evaluation.libero',
        description='Evaluate a policy on LIBERO by the official protocol.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('checkpoint', nargs='?', help=f'folder or Hub address of a checkpoint, or {ZERO}; '
        '{suite} in it is replaced by the name of the suite')  # fmt: skip
    add('--suite', action='append', dest='suites', choices=[*SUITES, 'all'],
        help='repeatable; all: the four of the paper')  # fmt: skip
    add('--tasks', help='numbers of the tasks, such as 0,3 (default: all)')
    add('--episodes', type=int, default=EPISODES, help='of each task')
    add('--open-loop', type=int, default=OPEN_LOOP, help='actions executed of each chunk')
    add('--workers', type=int, default=1, help='simulators at once; each needs 1.5 GB')
    add('--libero-python', default=sys.executable, help='interpreter that has LIBERO; '
        'scripts/libero_env.sh makes one')  # fmt: skip
    add('--any-mujoco', action='store_true', help='accept a MuJoCo whose results differ')
    add('--device', default='auto', help='auto, cpu, cuda, …')
    add('--dtype', default='auto', help='auto, bfloat16 (official), float32, …')
    add('--out', type=Path, default=Path('runs/libero'), help='results and reports')
    add('--check', action='store_true',
        help='compare the simulator with recordings of the official one, and end')  # fmt: skip
    return parser


def refuse_mujoco(versions: Mapping[str, str], accept_any: bool) -> None:
    """Raise VLAAdapterError for a MuJoCo with which LIBERO is another benchmark."""
    version = versions.get('mujoco', '0')
    numbers = tuple(int(part) for part in re.findall(r'\d+', version)[:3])
    if numbers >= FIRST_WRONG_MUJOCO and not accept_any:
        raise VLAAdapterError(
            f'MuJoCo {version}: draws LIBERO darker (from 3.3.3) and lets objects settle '
            'elsewhere (from 3.4), so rates are not comparable; use 3.3.0 '
            '(scripts/libero_env.sh), or '
            '--any-mujoco'
        )


def requests_for(
    suite: str, tasks: Sequence[int], episodes: int, open_loop: int
) -> list[dict[str, Any]]:
    """Return the requests to the workers, in the official order."""
    limit = SUITES[suite].max_steps
    return [
        {'do': 'episode', 'suite': suite, 'task': task, 'episode': episode, 'max_steps': limit,
         'open_loop': open_loop}
        for task in tasks
        for episode in range(episodes)
    ]  # fmt: skip


def as_result(finished: Finished) -> dict[str, Any]:
    """Return the line that is stored of an episode."""
    over = finished.over or {
        'success': False, 'steps': 0, 'queries': 0, 'instruction': '', 'fixtures': {}, 'sha256': ''
    }  # fmt: skip
    return {
        'task': finished.request['task'], 'episode': finished.request['episode'], **over,
        'error': finished.error, 'attempts': finished.attempts,
        'seconds': round(finished.seconds, 3), 'policy_seconds': round(finished.policy_seconds, 3),
    }  # fmt: skip


def evaluate_suite(
    suite: str, policy: Answering, versions: Mapping[str, str], options: argparse.Namespace
) -> dict[str, Any]:
    """Run what is missing of one suite and return its figures."""
    from tqdm import tqdm

    if options.open_loop > policy.chunk_size:
        raise VLAAdapterError(
            f'--open-loop: got {options.open_loop}, the policy gives {policy.chunk_size} actions'
        )
    identity = {
        **policy.identity, 'suite': suite, 'max_steps': SUITES[suite].max_steps,
        'wait_steps': WAIT_STEPS, 'open_loop': options.open_loop,
        **{f'libero_{name}': version for name, version in versions.items()},
    }  # fmt: skip
    folder = options.out / suite
    store = ResultStore(folder, identity)

    def start(number: int) -> WorkerProcess:
        return WorkerProcess(options.libero_python, WORKER, folder / f'worker-{number}.log')

    tasks = task_numbers(options.tasks, suite)
    wanted = requests_for(suite, tasks, options.episodes, options.open_loop)
    missing = [r for r in wanted if not store.done((r['task'], r['episode']))]
    try:
        with tqdm(total=len(wanted), initial=len(wanted) - len(missing), desc=suite) as bar:
            for finished in run_episodes(missing, start, policy, options.workers):
                store.add(as_result(finished))
                solved = sum(r['success'] for r in store.results.values())
                bar.set_postfix_str(f'{solved}/{len(store.results)} solved')
                bar.update()
    finally:
        store.close()
    return suite_data(suite, identity, store.results)


def task_numbers(text: str | None, suite: str) -> list[int]:
    """Return the tasks that `--tasks` names.

    Raises:
        VLAAdapterError: not numbers of tasks of the suite.
    """
    count = SUITES[suite].tasks
    if text is None:
        return list(range(count))
    if not re.fullmatch(r'\d+(,\d+)*', text) or any(int(n) >= count for n in text.split(',')):
        raise VLAAdapterError(f'--tasks: got {text!r}, {suite} has 0 to {count - 1}, such as 0,3')
    return sorted({int(number) for number in text.split(',')})


def run(options: argparse.Namespace) -> int:
    """Evaluate every suite asked for; return the exit status."""
    names = [n for s in options.suites for n in (PUBLISHED if s == 'all' else (s,))]
    names = list(dict.fromkeys(names))
    for name in names:
        task_numbers(options.tasks, name)
    worker = WorkerProcess(options.libero_python, WORKER, None)
    try:
        versions = worker.ask({'do': 'hello'})[0]['versions']
    finally:
        worker.close()
    refuse_mujoco(versions, options.any_mujoco)
    data = []
    for suite in names:
        name = options.checkpoint.replace('{suite}', suite)
        policy: Answering = (
            ZeroPolicy()
            if name == ZERO
            else CheckpointPolicy(name, suite, options.device, options.dtype)
        )
        data.append(evaluate_suite(suite, policy, versions, options))
        text = markdown(data)
        (options.out / 'report.json').write_text(json.dumps(data, indent=1), encoding='utf-8')
        (options.out / 'report.md').write_text(text + '\n', encoding='utf-8')
    print(text)
    return int(any(entry['errors'] for entry in data))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if not options.check and (options.checkpoint is None or not options.suites):
        parser.error('expected a checkpoint and --suite, or --check')
    if not 1 <= options.episodes <= EPISODES:
        parser.error(f'--episodes: got {options.episodes}, expected 1 to {EPISODES}')
    if options.open_loop < 1 or options.workers < 1:
        parser.error('--open-loop and --workers must be at least 1')
    try:
        if options.check:
            text, passed = check_table(options.libero_python, WORKER)
            print(text)
            return int(not passed)
        return run(options)
    except VLAAdapterError as error:
        print(f'libero: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'libero: stopped; the same command goes on ({options.out})', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
