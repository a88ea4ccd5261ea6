# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Plot of an ablation: success rate and interval of each variant, one panel per comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vla_adapter_ros.evaluation.statistics import Rate
from vla_adapter_ros.training.experiments.ablation_report import (
    Result,
    group_runs,
    outcomes,
    seed_rates,
)
from vla_adapter_ros.training.experiments.ablation_variants import GROUPS, Variant

_BASELINE, _OTHER = '#c2571a', '#4c72b0'


def bars(
    group: str, variants: Sequence[Variant], results: Mapping[str, Result]
) -> dict[str, tuple[str, Rate]]:
    """Return name → (run, success over all tasks) of a group's finished variants, in order."""
    return {
        name: (run, Rate.of(outcomes(results[run]).values()))
        for name, run in group_runs(group, variants).items()
        if 'episodes' in results.get(run, {})
    }


def plot(
    variants: Sequence[Variant], results: Mapping[str, Result], reference: str | None, path: Path
) -> bool:
    """Draw comparisons with two or more finished variants; return False if there are none."""
    groups = dict.fromkeys(group for v in variants for group, _ in v.listed_in)
    panels = {group: bars(group, variants, results) for group in groups}
    panels = {group: found for group, found in panels.items() if len(found) > 1}
    if not panels:
        return False
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    heights = [len(found) + 0.8 for found in panels.values()]
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(8, 0.42 * sum(heights) + 0.6), squeeze=False, sharex=True,
        height_ratios=heights,
    )  # fmt: skip
    for axis, (group, found) in zip(axes[:, 0], panels.items(), strict=True):
        for row, (run, rate) in enumerate(found.values()):
            low, high = rate.interval
            error = [[100 * (rate.value - low)], [100 * (high - rate.value)]]
            axis.barh(
                row, 100 * rate.value, xerr=error, capsize=3,
                color=_BASELINE if run == reference else _OTHER,
            )  # fmt: skip
            if len(rates := seed_rates(results[run])) > 1:
                axis.plot([100 * r.value for r in rates], [row] * len(rates), 'ko', markersize=3)
        axis.set_yticks(range(len(found)), list(found))
        axis.invert_yaxis()
        axis.set_title(GROUPS[group][0], fontsize=9, loc='left')
    axes[-1, 0].set_xlabel(
        "success [%], 95 % Wilson intervals; orange: the recipe's own network; dots: each training"
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True
