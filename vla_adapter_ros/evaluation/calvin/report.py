# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Report of an evaluation on CALVIN: tasks in a row beside the paper's, and task by task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.bootstrap import RESAMPLES, percentile_interval
from vla_adapter_ros.evaluation.calvin.episode import TASK_STEPS
from vla_adapter_ros.evaluation.calvin.sequences import SEQUENCES
from vla_adapter_ros.evaluation.statistics import Rate, format_table
from vla_adapter_ros.evaluation.suites.command import costs, costs_text, errors_text

IN_A_ROW = 5
# Table 6 of the paper: [%] of chains with 1 … 5 tasks solved in a row, and the mean length.
PAPER = {
    'VLA-Adapter': ((99.1, 94.6, 88.8, 82.8, 76.5), 4.42),
    'VLA-Adapter-Pro': ((98.5, 95.0, 90.5, 85.3, 80.0), 4.50),
}

Results = Mapping[tuple[int, ...], Mapping[str, Any]]


def mean_length(lengths: Sequence[int]) -> dict[str, Any]:
    """Return the mean number of tasks in a row and its 95 % interval.

    Bootstrapped; where all chains are alike, which a bootstrap takes for certainty, the sum of the
    Wilson intervals.
    """
    if not lengths:
        return {'mean': None, 'interval_95': [0.0, float(IN_A_ROW)]}
    if len(set(lengths)) == 1:
        rates = [Rate.of(length >= n for length in lengths) for n in range(1, IN_A_ROW + 1)]
        ends = np.sum([rate.interval for rate in rates], axis=0)
        return {'mean': float(lengths[0]), 'interval_95': ends.tolist()}
    counts = np.bincount(lengths, minlength=IN_A_ROW + 1)
    drawn = np.random.default_rng(0).multinomial(len(lengths), counts / len(lengths), RESAMPLES)
    ends = percentile_interval(drawn @ np.arange(IN_A_ROW + 1) / len(lengths))
    return {'mean': float(np.mean(lengths)), 'interval_95': list(ends)}


def report_data(identity: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """Return the figures of a run as JSON data."""
    good = [result for result in results.values() if not result['error']]
    lengths = [result['solved'] for result in good]
    tried: dict[str, list[bool]] = {}
    for result in good:
        for number, task in enumerate(result['tasks'][: result['solved'] + 1]):
            tried.setdefault(task, []).append(number < result['solved'])
    return {
        'identity': dict(identity),
        'deviations': deviations(identity, len(good)),
        'in_a_row': [
            Rate.of(length >= wanted for length in lengths).to_dict()
            for wanted in range(1, IN_A_ROW + 1)
        ],
        'mean_length': mean_length(lengths),
        'tasks': {task: Rate.of(tried[task]).to_dict() for task in sorted(tried)},
        'errors': len(results) - len(good),
        **costs(good),
        'sequences': [results[key] for key in sorted(results)],
    }


def deviations(identity: Mapping[str, Any], sequences: int) -> list[str]:
    """Return in what a run differs from the official evaluation."""
    found = []
    if sequences != SEQUENCES:
        found.append(f'{sequences} of {SEQUENCES} sequences')
    if (steps := identity['task_steps']) != TASK_STEPS:
        found.append(f'{steps} steps for a task instead of {TASK_STEPS}')
    if identity['ensemble'] != 'official':
        found.append('no averaging of chunks: 8 actions of each are executed')
    if (batch := identity.get('batch', 1)) > 1:
        found.append(f'batches of up to {batch} observations, which rounds differently')
    if not identity['carry_gripper']:
        found.append(
            'the state begins each chain with an open gripper; officially with the last command '
            'of the chain before (--carry-gripper)'
        )
    return found


def markdown(data: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    mean, (low, high) = data['mean_length']['mean'], data['mean_length']['interval_95']
    ours = [_percent(rate) for rate in data['in_a_row']]
    rows = [
        ('this run', *ours, '-' if mean is None else f'{mean:.2f} [{low:.2f}, {high:.2f}]'),
        *(
            (f'paper, {name}', *(f'{rate:.1f}' for rate in rates), f'{length:.2f}')
            for name, (rates, length) in PAPER.items()
        ),
    ]
    header = ('in a row [%]', *map(str, range(1, IN_A_ROW + 1)), 'mean length')
    tasks = [(task, str(data['tasks'][task]['trials']), _percent(data['tasks'][task]))
             for task in data['tasks']]  # fmt: skip
    differs = '; '.join(data['deviations'])
    return '\n'.join(
        [
            '## CALVIN, ABC→D', '', format_table(header, rows), '',
            f'{data["in_a_row"][0]["trials"]} chains, {data["errors"]} errors, 95 % intervals.',
            f'Differs from the official evaluation: {differs}.' if differs else 'As officially.',
            *errors_text(data['sequences']), costs_text(data, 'chain'), '',
            format_table(('task', 'tried', 'solved [%]'), tasks),
            '', 'Run: ' + json.dumps(data['identity'], sort_keys=True),
        ]
    )  # fmt: skip


def _percent(rate: Mapping[str, Any]) -> str:
    if not rate['trials']:
        return '-'
    low, high = rate['interval_95']
    return f'{100 * rate["rate"]:.1f} [{100 * low:.1f}, {100 * high:.1f}]'
