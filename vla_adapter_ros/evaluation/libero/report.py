# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Report of an evaluation on LIBERO: per task beside the released logs, paired with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.libero.suites import EPISODES, SUITES, TASKS
from vla_adapter_ros.evaluation.statistics import Rate, format_table
from vla_adapter_ros.evaluation.suites.command import costs, costs_text, errors_text
from vla_adapter_ros.evaluation.suites.comparison import Pairing

LOGS = Path(__file__).parent / 'data' / 'official_logs.json'
VARIANTS = ('original', 'pro')

Results = Mapping[tuple[int, int], Mapping[str, Any]]


@cache
def released(suite: str, variant: str) -> dict[tuple[int, int], bool] | None:
    """Return (task, episode) → success of the authors' own run; None where none was released."""
    for log in json.loads(LOGS.read_text(encoding='utf-8')):
        if (log['suite'], log['variant']) == (suite, variant):
            failed = {(task, episode) for task, episode in log['failed']}
            keys = [(task, episode) for task in range(TASKS) for episode in range(EPISODES)]
            return {key: key not in failed for key in keys}
    return None


def outcomes(results: Results) -> dict[tuple[int, int], bool]:
    """Return (task, episode) → success; episodes that ended in an error have none."""
    return {key: bool(r['success']) for key, r in results.items() if not r['error']}


def suite_data(suite: str, identity: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """Return the figures of one suite as JSON data."""
    solved = outcomes(results)
    good = [r for r in results.values() if not r['error']]
    pairs = {}
    for variant in VARIANTS:
        if (logged := released(suite, variant)) is not None:
            pair = Pairing.of(solved, logged)
            pairs[variant] = {
                'episodes': pair.episodes, 'only_ours': pair.only_first,
                'only_theirs': pair.only_second, 'mcnemar_p': pair.p_value,
            }  # fmt: skip
    return {
        'suite': suite,
        'identity': dict(identity),
        'success': Rate.of(solved.values()).to_dict(),
        'tasks': [_task_data(task, results) for task in sorted({task for task, _ in results})],
        'errors': len(results) - len(good),
        **costs(good),
        'released': pairs,
        'episodes': [results[key] for key in sorted(results)],
    }


def _task_data(task: int, results: Results) -> dict[str, Any]:
    rows = [r for (number, _), r in results.items() if number == task]
    good = [r for r in rows if not r['error']]
    steps = [r['steps'] for r in good if r['success']]
    return {
        'task': task,
        'instruction': rows[0]['instruction'],
        'success': Rate.of(r['success'] for r in good).to_dict(),
        'steps_to_success_mean': float(np.mean(steps)) if steps else None,
        'errors': len(rows) - len(good),
    }


def markdown(data: Sequence[Mapping[str, Any]]) -> str:
    """Return the report of several suites as Markdown."""
    texts = [_suite_text(entry) for entry in data]
    if len(data) > 1:
        texts.insert(0, _overview(data))
    return '\n\n'.join(texts)


def _overview(data: Sequence[Mapping[str, Any]]) -> str:
    rows = [(SUITES[entry['suite']].title, _rate(entry['success'])) for entry in data]
    return format_table(('LIBERO', 'success [95 % interval]'), rows)


def _suite_text(entry: Mapping[str, Any]) -> str:
    suite = entry['suite']
    logs = [released(suite, variant) for variant in VARIANTS]
    rows = [
        (
            f'{task["task"]} {task["instruction"]}', _rate(task['success']),
            *(_logged(log, task['task']) for log in logs),
            '-' if (steps := task['steps_to_success_mean']) is None else f'{steps:.0f}',
            str(task['errors']),
        )
        for task in entry['tasks']
    ]  # fmt: skip
    totals = [_logged(log, None) for log in logs]
    rows.append(('all', _rate(entry['success']), *totals, '', str(entry['errors'])))
    header = ('task', 'success [95 % interval]', 'released', 'released Pro', 'steps', 'errors')
    paper = SUITES[suite].paper
    lines = [f'## LIBERO-{SUITES[suite].title}', '', format_table(header, rows), '']
    if paper:
        lines.append(f'The paper: {paper[0]} % (VLA-Adapter), {paper[1]} % (Pro).')
    for variant, pair in entry['released'].items():
        lines.append(
            f'Paired with the released log ({variant}) on {pair["episodes"]} episodes: '
            f'{pair["only_ours"]} solved by this run alone, {pair["only_theirs"]} by that alone; '
            f'exact McNemar p = {pair["mcnemar_p"]:.3g}.'
        )
    lines += errors_text(entry['episodes'])
    lines += [costs_text(entry), '', 'Run: ' + json.dumps(entry['identity'], sort_keys=True)]
    return '\n'.join(lines)


def _rate(data: Mapping[str, Any]) -> str:
    low, high = data['interval_95']
    if not data['trials']:
        return '-'
    rate = f'{100 * data["rate"]:.1f} % [{100 * low:.1f}, {100 * high:.1f}]'
    return f'{rate} ({data["successes"]}/{data["trials"]})'


def _logged(log: Mapping[tuple[int, int], bool] | None, task: int | None) -> str:
    if log is None:
        return '-'
    values = [done for (number, _), done in log.items() if task in (None, number)]
    return f'{100 * sum(values) / len(values):.1f} %'
