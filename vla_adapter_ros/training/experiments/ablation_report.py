# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Ablation report: one table per group, with intervals and differences to the reference."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.bootstrap import crossed_interval
from vla_adapter_ros.evaluation.statistics import Rate, format_table
from vla_adapter_ros.simulation.levels.ranges import NOMINAL
from vla_adapter_ros.simulation.tasks import task_title
from vla_adapter_ros.training.experiments.ablation_variants import (
    GROUPS,
    RECIPE,
    Variant,
    title_of,
)

Result = Mapping[str, Any]

READING = """\
How to read this. Apart from what a row names, every network was trained with the same settings,
the same data in the same order, and for the same number of steps; all were evaluated on the same
episodes. Brackets after a rate are 95 % Wilson intervals over the episodes; they leave out how
much training seeds differ, which "by training seed" shows where there are several.

"difference" is the success over all tasks minus that of the reference (marked *), in percentage
points. Its 95 % interval is a two-way cluster bootstrap: training seeds and scenes are drawn anew,
the same ones for both networks. Where it says "scenes only", the two networks share one training
seed: the interval then holds for these two trainings alone, and another seed may give another
difference. Two or three seeds, too, show less variation than there is; and of many intervals, some
leave out 0 by chance. A small budget favours networks that learn fast, and says nothing about
pre-trained backbones of the paper's size.
"""


def combined(runs: Mapping[int, Result]) -> dict[str, Any]:
    """Return one network's result over its trainings (training seed → result).

    Episodes of all trainings are pooled, labelled with their training seed; figures are averaged.
    If a training failed, the result is its error.
    """
    for seed, result in runs.items():
        if 'error' in result:
            return {'error': f'{result["error"]} (training seed {seed})'}
    errors = [r['validation_l1'] for r in runs.values() if r['validation_l1'] is not None]
    first = next(iter(runs.values()))
    return {
        'parameters': first['parameters'],
        'seconds_per_step': statistics.median(r['seconds_per_step'] for r in runs.values()),
        'validation_l1': statistics.fmean(errors) if errors else None,
        'trainings': {
            str(seed): {k: v for k, v in result.items() if k != 'episodes'}
            for seed, result in runs.items()
        },
        'episodes': [
            {'training_seed': seed, **episode}
            for seed, result in runs.items() for episode in result['episodes']
        ],
    }  # fmt: skip


def at_level(results: Mapping[str, Result], level: str) -> dict[str, Result]:
    """Return every network's result with the episodes of one level alone."""
    def kept(result: Result) -> Result:
        episodes = [e for e in result['episodes'] if e.get('level', NOMINAL) == level]
        return {**result, 'episodes': episodes}
    return {run: kept(r) if 'episodes' in r else r for run, r in results.items()}


def outcomes(result: Result, key: str = 'success') -> dict[tuple[int, str, int], bool]:
    """Return (training seed, task, seed) → outcome of a network's episodes at one level."""
    return {(e['training_seed'], e['task'], e['seed']): bool(e[key]) for e in result['episodes']}


def seed_rates(result: Result) -> list[Rate]:
    """Return the success over all tasks of each training."""
    solved = outcomes(result)
    seeds = dict.fromkeys(seed for seed, _, _ in solved)
    return [Rate.of(v for (s, _, _), v in solved.items() if s == seed) for seed in seeds]


def against(result: Result, reference: Result | None) -> str:
    """Return the difference to the reference in success over all tasks, with its interval."""
    if reference is None or result is reference:
        return ''
    mine, theirs = outcomes(result), outcomes(reference)
    if not (shared := mine.keys() & theirs.keys()):
        return '-'  # not yet trained from the same seeds
    seeds = sorted({seed for seed, _, _ in shared})
    scenes = sorted({(task, seed) for _, task, seed in shared})
    values = np.array([
        [float(mine[(seed, *scene)]) - theirs[(seed, *scene)] for scene in scenes]
        for seed in seeds
    ])  # fmt: skip
    low, high = crossed_interval(values, [task for task, _ in scenes])
    text = f'{_points(values.mean())} [{_points(low)}, {_points(high)}]'
    return f'{text}, scenes only' if len(seeds) == 1 else text


def _points(difference: float) -> str:
    """Return a difference between two rates in whole percentage points, with its sign."""
    points = round(100 * difference)
    return f'{points:+d}' if points else '0'


def group_runs(group: str, variants: Sequence[Variant]) -> dict[str, str]:
    """Return name → run of the variants that a group has among these, in the group's order."""
    runs = {name: v.run for v in variants for g, name in v.listed_in if g == group}
    order = runs if group == RECIPE else GROUPS[group][1]
    return {name: runs[name] for name in order if name in runs}


def group_table(
    group: str, variants: Sequence[Variant], results: Mapping[str, Result], reference: str | None
) -> str:
    """Return the Markdown table of one group; variants without a result are named as such."""
    names = group_runs(group, variants)
    tasks = list(dict.fromkeys(
        e['task'] for run in names.values() for e in results.get(run, {}).get('episodes', ())
    ))  # fmt: skip
    several = any(len(results.get(run, {}).get('trainings', ())) > 1 for run in names.values())
    together = ['all tasks'] * (len(tasks) > 1) + ['by training seed'] * several
    header = ['variant', 'parameters', 's/step', 'held-out L1', *map(task_title, tasks),
              *together, 'named object', 'difference']  # fmt: skip
    rows = []
    for name, run in names.items():
        label = f'{name} *' if run == reference else name
        result = results.get(run)
        if result is None or 'error' in result:
            why = 'not finished' if result is None else f'failed: {result["error"]}'
            rows.append([label, why, *[''] * (len(header) - 2)])
        else:
            figures = _figures(result, tasks, several, results.get(reference or ''))
            rows.append([label, *figures])
    return format_table(header, rows)


def _figures(
    result: Result, tasks: Sequence[str], several: bool, reference: Result | None
) -> list[str]:
    solved = outcomes(result)
    together = [str(Rate.of(solved.values()))] if len(tasks) > 1 else []
    if several:
        rates = ', '.join(f'{100 * rate.value:.0f}' for rate in seed_rates(result))
        together.append(f'{rates} %')
    by_task = [Rate.of(v for (_, t, _), v in solved.items() if t == task) for task in tasks]
    error = result['validation_l1']
    return [
        f'{result["parameters"]:,}',
        f'{result["seconds_per_step"]:.3f}',
        '-' if error is None else f'{error:.4f}',
        *map(str, by_task),
        *together,
        str(Rate.of(outcomes(result, 'followed_instruction').values())),
        against(result, reference if reference and 'error' not in reference else None),
    ]


def markdown(
    budget: Mapping[str, Any], variants: Sequence[Variant], results: Mapping[str, Result],
    reference: str | None, levels: Sequence[str] = (NOMINAL,),
) -> str:
    """Return the complete report: a table for each group and level."""
    groups = list(dict.fromkeys(group for v in variants for group, _ in v.listed_in))
    shared = [f'* {name}: {value}' for name, value in budget.items()]
    lines = ['# Ablation', '', *shared, '', READING]
    for group in groups:
        lines += [f'## {title_of(group)}', '']
        for level in levels:
            found = at_level(results, level)
            lines += [f'### Level {level}', ''] if len(levels) > 1 else []
            lines += [group_table(group, variants, found, reference), '']
        lines += _changes(variants) if group == RECIPE else []
    return '\n'.join(lines)


def _changes(variants: Sequence[Variant]) -> list[str]:
    """Return a list of what the user's own variants change."""
    changes = [
        f'* {name}: `{"; ".join(variant.settings)}`'
        for variant in variants for group, name in variant.listed_in
        if group == RECIPE and variant.settings
    ]  # fmt: skip
    return [*changes, '']
