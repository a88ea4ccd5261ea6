# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Success rates on LIBERO by the official protocol.

    scripts/libero_env.sh ~/libero
    python -m vla_adapter_ros.evaluation.libero CHECKPOINT --suite libero_object \
        --libero-python ~/libero/bin/python --out runs/libero

`expert` instead of a checkpoint solves LIBERO-Object by the simulator's state. The simulator runs
in LIBERO's own environment. A run that is repeated with the same --out goes on
where it ended.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.libero.asking import LIBERO
from vla_adapter_ros.evaluation.libero.check import check
from vla_adapter_ros.evaluation.libero.episode import OPEN_LOOP, WAIT_STEPS
from vla_adapter_ros.evaluation.libero.expert import EXPERT, EXPERT_SUITE, ExpertPolicy
from vla_adapter_ros.evaluation.libero.report import markdown, suite_data
from vla_adapter_ros.evaluation.libero.suites import EPISODES, PUBLISHED, SUITES, base_of
from vla_adapter_ros.evaluation.suites import command
from vla_adapter_ros.evaluation.suites.films import Films
from vla_adapter_ros.evaluation.suites.policies import Answering, make_policy
from vla_adapter_ros.evaluation.suites.pool import Finished, run_episodes
from vla_adapter_ros.evaluation.suites.store import ResultStore

WORKER = 'vla_adapter_ros.evaluation.libero.worker'
# From here on MuJoCo draws LIBERO differently, and from 3.4 on objects settle elsewhere.
FIRST_WRONG_MUJOCO = (3, 3, 3)
NOTHING = {
    'success': False, 'steps': 0, 'queries': 0, 'instruction': '', 'fixtures': {}, 'sha256': ''
}  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = command.make_parser('LIBERO', '1.5 GB')
    add = parser.add_argument
    add('--libero-python', dest='python', default=sys.executable,
        help='interpreter that has LIBERO; scripts/libero_env.sh makes one')  # fmt: skip
    add('--suite', action='append', dest='suites', choices=[*SUITES, 'all'],
        help='repeatable; all: the four of the paper; {suite} in the name of the checkpoint is '
        'replaced by it, on LIBERO-PRO by the suite that is perturbed')  # fmt: skip
    add('--tasks', help='numbers of the tasks, such as 0,3 (default: all)')
    add('--episodes', type=int, default=EPISODES, help='of each task')
    add('--open-loop', type=int, default=OPEN_LOOP, help='actions executed of each chunk')
    add('--any-mujoco', action='store_true', help='accept a MuJoCo whose results differ')
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
    suite: str, tasks: Sequence[int], episodes: int, open_loop: int, blind: bool = False
) -> list[dict[str, Any]]:
    """Return the requests to the workers, in the official order.

    Args:
        suite: name.
        tasks: numbers.
        episodes: of each.
        open_loop: commands executed of each answer.
        blind: the policy asks for the simulator's state instead of images.
    """
    limit = SUITES[suite].max_steps
    return [
        {'do': 'episode', 'suite': suite, 'task': task, 'episode': episode, 'max_steps': limit,
         'open_loop': open_loop, 'state': blind}
        for task in tasks
        for episode in range(episodes)
    ]  # fmt: skip


def evaluate_suite(
    suite: str, policy: Answering, versions: Mapping[str, str], options: argparse.Namespace
) -> dict[str, Any]:
    """Run what is missing of one suite and return its figures."""
    if options.open_loop > policy.chunk_size:
        raise VLAAdapterError(
            f'--open-loop: got {options.open_loop}, the policy gives {policy.chunk_size} actions'
        )
    settings = {
        'suite': suite, 'max_steps': SUITES[suite].max_steps, 'wait_steps': WAIT_STEPS,
        'open_loop': options.open_loop,
        # Others tell the name of the file, and their rates are of another benchmark.
        **({'instruction': 'description'} if SUITES[suite].own_words else {}),
    }  # fmt: skip
    identity = command.run_identity(policy, settings, LIBERO.title, versions)
    folder = options.out / suite
    store = ResultStore(folder, identity, NOTHING)

    start = command.starter(options.python, WORKER, folder)
    blind = isinstance(policy, ExpertPolicy)
    films = Films(
        folder / 'failures', 0 if blind else options.films, LIBERO, store.key, solved_one
    )
    ask = films.watching(policy)

    def episodes(requests: Sequence[Mapping[str, Any]]) -> Iterator[Finished]:
        return films.written(run_episodes(requests, start, ask, options.workers, options.batch))

    tasks = task_numbers(options.tasks, suite)
    wanted = requests_for(suite, tasks, options.episodes, options.open_loop, blind)
    command.run_missing(
        store, wanted, episodes,
        lambda store: f'{solved(store)}/{len(store.results)} solved',
    )  # fmt: skip
    return suite_data(suite, identity, store.results)


def solved_one(over: Mapping[str, Any]) -> bool:
    """Return whether an episode was solved, by the worker's account."""
    return bool(over['success'])


def solved(store: ResultStore) -> int:
    """Return how many of the stored episodes were solved."""
    return sum(result['success'] for result in store.results.values())


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
    versions = command.versions_of(options.python, WORKER, {'suites': names})
    refuse_mujoco(versions, options.any_mujoco)
    data = []
    for suite in names:
        trained = base_of(suite)
        name = options.checkpoint.replace('{suite}', trained)
        if name == EXPERT:
            if trained != EXPERT_SUITE:
                raise VLAAdapterError(f'{EXPERT}: solves {EXPERT_SUITE} only, not {suite}')
            policy: Answering = ExpertPolicy()
            options.open_loop = policy.chunk_size
        else:
            policy = make_policy(
                LIBERO, name, trained, options.device, options.dtype, options.batch
            )
        data.append(evaluate_suite(suite, policy, versions, options))
        text = markdown(data)
        command.write_reports(options.out, data, text)
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
    command.refuse_counts(parser, options, 'open_loop')
    return command.guarded('libero', options.out, lambda: check_or_run(options))


def check_or_run(options: argparse.Namespace) -> int:
    """Do what the options ask for; return the exit status."""
    if not options.check:
        return run(options)
    text, passed = check(options.python, WORKER)
    print(text)
    return int(not passed)


if __name__ == '__main__':
    sys.exit(main())
