# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reports of evaluations: Markdown tables and JSON data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.rollout import EpisodeResult
from vla_adapter_ros.evaluation.statistics import Rate, format_table
from vla_adapter_ros.simulation.tasks import task_title


def chance(results: Sequence[EpisodeResult]) -> float:
    """Return the rate at which acting on a random object hits a named one."""
    return float(np.mean([len(r.named) / r.objects for r in results])) if results else float('nan')


def by_task(results: Sequence[EpisodeResult]) -> dict[str, list[EpisodeResult]]:
    """Return task → results, in the order of first appearance."""
    groups: dict[str, list[EpisodeResult]] = {}
    for result in results:
        groups.setdefault(result.task, []).append(result)
    return groups


def task_summary(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """Return the figures of one policy on one task as JSON data."""
    solved = [r.seconds for r in results if r.success]
    acted = [r for r in results if r.acted_on is not None]
    return {
        'success': Rate.of(r.success for r in results).to_dict(),
        'named_object': Rate.of(r.followed_instruction for r in results).to_dict(),
        'named_object_when_acting': Rate.of(r.followed_instruction for r in acted).to_dict(),
        'named_object_by_chance': chance(results),
        'seconds_to_success_mean': float(np.mean(solved)) if solved else None,
        'inference_seconds_mean': float(np.mean([r.inference for r in results])),
        'chunks_refused': sum(r.refused for r in results),
        'ended_early': sum(bool(r.failure) for r in results),
        'reasons': dict(Counter(r.reason for r in results if not r.success)),
    }


def success_table(evaluated: dict[str, Sequence[EpisodeResult]]) -> str:
    """Return the table of success rates: one row per task and policy."""
    rows = []
    for policy, results in evaluated.items():
        for task, episodes in by_task(results).items():
            summary = task_summary(episodes)
            seconds = summary['seconds_to_success_mean']
            rows.append(
                [
                    policy,
                    task_title(task),
                    str(Rate.of(r.success for r in episodes)),
                    str(Rate.of(r.followed_instruction for r in episodes)),
                    f'{100 * chance(episodes):.0f} %',
                    '-' if seconds is None else f'{seconds:.1f}',
                    f'{1e3 * summary["inference_seconds_mean"]:.0f}',
                    ', '.join(f'{n} {why}' for why, n in summary['reasons'].items()) or '-',
                ]
            )
    header = ['policy', 'task', 'success', 'named object acted on', 'chance', 's to success',
              'ms/inference', 'failures']  # fmt: skip
    return format_table(header, rows)


def instruction_check_table(evaluated: dict[str, Sequence[EpisodeResult]]) -> str:
    """Return the table of the instruction check: the same scenes, each object named in turn."""
    rows = []
    for policy, results in evaluated.items():
        for task, episodes in by_task(results).items():
            acted = [r for r in episodes if r.acted_on is not None]
            rows.append(
                [
                    policy,
                    task_title(task),
                    str(len({r.seed for r in episodes})),
                    str(Rate.of(r.followed_instruction for r in episodes)),
                    str(Rate.of(r.followed_instruction for r in acted)),
                    f'{100 * chance(episodes):.0f} %',
                ]
            )
    header = ['policy', 'task', 'scenes', 'named object acted on', 'of those that acted', 'chance']
    return format_table(header, rows)


def report_data(
    settings: dict[str, Any],
    made_with: dict[str, Any],
    evaluated: dict[str, Sequence[EpisodeResult]],
    instruction_check: dict[str, Sequence[EpisodeResult]],
) -> dict[str, Any]:
    """Return the complete evaluation as JSON data.

    `made_with` has of each policy its checkpoint's fingerprint, robot and versions.
    """

    def described(groups: dict[str, Sequence[EpisodeResult]]) -> dict[str, Any]:
        return {
            policy: {
                'tasks': {t: task_summary(found) for t, found in by_task(results).items()},
                'episodes': [result.to_dict() for result in results],
            }
            for policy, results in groups.items()
        }

    return {
        'settings': settings,
        'made_with': made_with,
        'policies': described(evaluated),
        'instruction_check': described(instruction_check),
    }
