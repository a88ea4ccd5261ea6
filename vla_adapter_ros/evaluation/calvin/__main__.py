# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Tasks in a row on CALVIN, ABC→D, by the official protocol.

    scripts/calvin_env.sh ~/calvin
    python -m vla_adapter_ros.evaluation.calvin CHECKPOINT --calvin ~/calvin \
        --calvin-python ~/calvin/venv/bin/python --out runs/calvin

The simulator runs in CALVIN's own environment. A run that is repeated with the same --out goes on
where it ended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.calvin.asking import CALVIN
from vla_adapter_ros.evaluation.calvin.check import check
from vla_adapter_ros.evaluation.calvin.episode import ENSEMBLES, OPEN_LOOP, TASK_STEPS
from vla_adapter_ros.evaluation.calvin.report import markdown, mean_length, report_data
from vla_adapter_ros.evaluation.calvin.sequences import SEQUENCES
from vla_adapter_ros.evaluation.suites import command
from vla_adapter_ros.evaluation.suites.films import Films
from vla_adapter_ros.evaluation.suites.policies import make_policy
from vla_adapter_ros.evaluation.suites.pool import Asking, Finished, run_episodes
from vla_adapter_ros.evaluation.suites.store import ResultStore

WORKER = 'vla_adapter_ros.evaluation.calvin.worker'
# What `git clone --recurse-submodules` of CALVIN gives. Later ones need one press instead of two
# to switch off a lit LED, which 185 of the 1,000 chains ask for.
OFFICIAL_COMMIT = '1431a46bd36bde5903fb6345e68b5ccc30def666'
NOTHING = {'tasks': [], 'solved': 0, 'steps': 0, 'queries': 0, 'gripper': 1.0}


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = command.make_parser('CALVIN', '0.6 GB')
    add = parser.add_argument
    add('--calvin-python', dest='python', default=sys.executable,
        help='interpreter that has CALVIN; scripts/calvin_env.sh makes one')  # fmt: skip
    add('--calvin', type=Path, help='checkout of CALVIN with its submodule calvin_env')
    add('--sequences', type=int, default=SEQUENCES, help='the first of the official ones')
    add('--steps', type=int, default=TASK_STEPS, help='limit of a task; not official: 360')
    add('--ensemble', choices=ENSEMBLES, default='official',
        help='official: average three chunks; none: execute 8 actions of each')  # fmt: skip
    add('--carry-gripper', action='store_true',
        help="begin a chain's state with the last gripper command of the one before, as the "
        'official evaluation does in one process; needs --workers 1')  # fmt: skip
    add('--statistics-key', help='of a checkpoint that holds several')
    add('--any-commit', action='store_true', help='accept another calvin_env than the official')
    return parser


def refuse_commit(versions: Mapping[str, str], accept_any: bool) -> None:
    """Raise VLAAdapterError for a calvin_env with which CALVIN is another benchmark."""
    commit = versions['calvin_env']
    if commit != OFFICIAL_COMMIT and not accept_any:
        raise VLAAdapterError(
            f'calvin_env {commit[:7]}{"" if commit[-1] != "+" else " with changes"}: the official '
            f'one is {OFFICIAL_COMMIT[:7]} (git submodule update); later ones switch lamps '
            'differently; or --any-commit'
        )


def in_order(
    missing: Sequence[Mapping[str, Any]], options: argparse.Namespace, ask: Asking,
    store: ResultStore,
) -> Iterator[Finished]:  # fmt: skip
    """Run requests; with --carry-gripper each with the last gripper command of the one before."""
    start = command.starter(options.python, WORKER, options.out)
    if not options.carry_gripper:
        yield from run_episodes(missing, start, ask, options.workers, options.batch)
        return
    for request in missing:
        before = store.results.get((request['sequence'] - 1,), NOTHING)
        yield from run_episodes([{**request, 'gripper': before['gripper']}], start, ask, 1)


def run(options: argparse.Namespace) -> int:
    """Evaluate; return the exit status."""
    folder = str(options.calvin)
    versions = command.versions_of(options.python, WORKER, {'calvin': folder})
    refuse_commit(versions, options.any_commit)
    policy = make_policy(
        CALVIN, options.checkpoint, options.statistics_key, options.device, options.dtype,
        options.batch,
    )  # fmt: skip
    if policy.chunk_size < OPEN_LOOP:
        raise VLAAdapterError(
            f'checkpoint {options.checkpoint}: {policy.chunk_size} actions in a chunk, the '
            f'protocol of CALVIN uses {OPEN_LOOP}'
        )
    settings = {'task_steps': options.steps, 'ensemble': options.ensemble}
    deciding = {**settings, 'carry_gripper': options.carry_gripper}
    identity = command.run_identity(policy, deciding, CALVIN.title, versions)
    store = ResultStore(options.out, identity, NOTHING, ('sequence',))
    wanted = [
        {'do': 'sequence', 'calvin': folder, 'sequence': number, **settings}
        for number in range(options.sequences)
    ]
    asked = 1 + max(chunk for parts in ENSEMBLES[options.ensemble] for chunk, _ in parts)
    films = Films(
        options.out / 'failures', options.films, CALVIN, store.key, whole_chain, every=asked
    )
    ask = films.watching(policy)
    command.run_missing(
        store, wanted, lambda missing: films.written(in_order(missing, options, ask, store)),
        progress,
    )  # fmt: skip
    data = report_data(identity, store.results)
    text = markdown(data)
    command.write_reports(options.out, data, text)
    print(text)
    return int(bool(data['errors']))


def whole_chain(over: Mapping[str, Any]) -> bool:
    """Return whether all tasks of a chain were solved, by the worker's account."""
    return over['solved'] == len(over['tasks'])


def progress(store: ResultStore) -> str:
    """Return what is shown beside the bar."""
    lengths = [result['solved'] for result in store.results.values() if not result['error']]
    return f'{mean_length(lengths)["mean"]:.2f} tasks in a row' if lengths else ''


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.calvin is None or (options.checkpoint is None and not options.check):
        parser.error('expected --calvin FOLDER, and a checkpoint or --check')
    if not 1 <= options.sequences <= SEQUENCES:
        parser.error(f'--sequences: got {options.sequences}, expected 1 to {SEQUENCES}')
    command.refuse_counts(parser, options, 'steps')
    if options.carry_gripper and options.workers != 1:
        parser.error('--carry-gripper: chains depend on each other; needs --workers 1')
    options.calvin = options.calvin.expanduser().resolve()
    return command.guarded('calvin', options.out, lambda: check_or_run(options))


def check_or_run(options: argparse.Namespace) -> int:
    """Do what the options ask for; return the exit status."""
    if not options.check:
        return run(options)
    text, passed = check(options.python, WORKER, str(options.calvin))
    print(text)
    return int(not passed)


if __name__ == '__main__':
    sys.exit(main())
