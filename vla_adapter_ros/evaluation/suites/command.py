# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the commands of the benchmarks share: options, running what is missing, reports, errors."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.suites.policies import ZERO, Answering
from vla_adapter_ros.evaluation.suites.pool import Finished
from vla_adapter_ros.evaluation.suites.store import ResultStore
from vla_adapter_ros.evaluation.suites.worker_process import WorkerProcess
from vla_adapter_ros.weights.files import write_json, write_text
from vla_adapter_ros.weights.metadata import software_versions

STOPPED = 130  # exit status after Ctrl-C


def make_parser(title: str, memory: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have.

    Args:
        title: of the benchmark; in lower case the name of its module.
        memory: of one simulator.
    """
    name = title.lower()
    parser = argparse.ArgumentParser(
        prog=f'python -m vla_adapter_ros.evaluation.{name}',
        description=f'Evaluate a policy on {title} by the official protocol.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('checkpoint', nargs='?', help=f'folder or Hub address of a checkpoint, or {ZERO}')
    add('--workers', type=int, default=1, help=f'simulators at once; each needs {memory}')
    add('--device', default='auto', help='auto, cpu, cuda, …')
    add('--dtype', default='auto', help='auto, bfloat16 (official), float32, …')
    add('--batch', type=int, default=1, help='most observations of waiting simulators that the '
        'policy computes at once; above 1 its rounding is not the official one')  # fmt: skip
    add('--films', type=int, default=5, help='failures of which a film is written')
    add('--out', type=Path, default=Path('runs', name), help='results and reports')
    add('--check', action='store_true',
        help='compare the simulator with recordings, and end')  # fmt: skip
    return parser


def refuse_counts(
    parser: argparse.ArgumentParser, options: argparse.Namespace, *more: str
) -> None:
    """End the program where a count is less than one: of `make_parser`, and options named."""
    for name in ('workers', 'batch', *more):
        if (got := getattr(options, name)) < 1:
            parser.error(f'--{name.replace("_", "-")}: got {got}, must be at least 1')


def run_identity(
    policy: Answering, settings: Mapping[str, Any], title: str, versions: Mapping[str, str]
) -> dict[str, Any]:
    """Return everything that decides the results of a run, as plain JSON data.

    Args:
        policy: that is asked.
        settings: of the protocol.
        title: of the benchmark, before the names of its versions.
        versions: that its worker reports.
    """
    own = software_versions('torch', 'numpy')
    return {
        **policy.identity, **settings,
        **{f'{title.lower()}_{name}': version for name, version in versions.items()},
        **{f'policy_{name}': version for name, version in own.items()},
    }  # fmt: skip


def versions_of(python: str, module: str, request: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions that a worker reports.

    Raises:
        WorkerLost: it cannot be started, or its simulator cannot be used.
    """
    worker = WorkerProcess(python, module, None)
    try:
        return worker.ask({'do': 'hello', **request})[0]['versions']
    finally:
        worker.close()


def starter(python: str, module: str, folder: Path) -> Callable[[int], WorkerProcess]:
    """Return what starts worker number n; its last words go to a log in `folder`."""
    return lambda number: WorkerProcess(python, module, folder / f'worker-{number}.log')


def run_missing(
    store: ResultStore,
    wanted: Sequence[Mapping[str, Any]],
    run: Callable[[Sequence[Mapping[str, Any]]], Iterator[Finished]],
    progress: Callable[[ResultStore], str],
) -> None:
    """Run the episodes that have no verdict yet, store each as it ends, and close the store.

    Args:
        store: of their results.
        wanted: a request for each episode, with the fields that `store.key` looks at.
        run: executes requests.
        progress: what is shown beside the bar.
    """
    from tqdm import tqdm

    missing = [request for request in wanted if not store.done(request)]
    title = store.path.parent.name
    try:
        with tqdm(total=len(wanted), initial=len(wanted) - len(missing), desc=title) as bar:
            for finished in run(missing):
                store.add(_as_result(store, finished))
                bar.set_postfix_str(progress(store))
                bar.update()
    finally:
        store.close()


def _as_result(store: ResultStore, finished: Finished) -> dict[str, Any]:
    return {
        **dict(zip(store.names, store.key(finished.request), strict=True)),
        **(finished.over or store.nothing),
        'error': finished.error, 'attempts': finished.attempts,
        'seconds': round(finished.seconds, 3), 'policy_seconds': round(finished.policy_seconds, 3),
    }  # fmt: skip


def costs(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return queries and mean times of results without errors, as JSON data."""
    queries = sum(result['queries'] for result in results)
    waiting = sum(result['policy_seconds'] for result in results)
    seconds = sum(result['seconds'] for result in results)
    return {
        'queries': queries,
        'queries_per_episode': queries / len(results) if results else None,
        'milliseconds_per_query': 1000 * waiting / max(1, queries),
        'seconds_per_episode': seconds / len(results) if results else None,
    }


def costs_text(entry: Mapping[str, Any], episode: str = 'episode') -> str:
    """Return the sentence on what `costs` found."""
    seconds = entry['seconds_per_episode']
    ended = f'no {episode} ended.' if seconds is None else f'{seconds:.1f} s per {episode}.'
    each = entry['queries_per_episode']
    return (
        f'{entry["queries"]} queries, {entry["milliseconds_per_query"]:.0f} ms each with waiting'
        + ('' if each is None else f', {each:.1f} per {episode}')
        + f'; {ended}'
    )


def errors_text(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line on each kind of error that kept results from counting."""
    counts = Counter(result['error'] for result in results if result['error'])
    return [f'{number} ended in an error: {error}' for error, number in counts.items()]


def write_reports(folder: Path, data: Any, text: str) -> None:
    """Write report.json and report.md."""
    write_json(folder / 'report.json', data)
    write_text(folder / 'report.md', text + '\n')


def guarded(name: str, out: Path, action: Callable[[], int]) -> int:
    """Return the exit status of a command; errors of the user are one line."""
    try:
        return action()
    except VLAAdapterError as error:
        print(f'{name}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'{name}: stopped; the same command goes on ({out})', file=sys.stderr)
        return STOPPED
