# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Plot of an ablation: success rate and interval of each variant, one panel per comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vla_adapter_ros.evaluation.statistics import Rate
from vla_adapter_ros.simulation.levels.ranges import NOMINAL
from vla_adapter_ros.training.experiments.ablation_report import (
    Result,
    at_level,
    group_runs,
    outcomes,
    seed_rates,
)
from vla_adapter_ros.training.experiments.ablation_variants import Variant, title_of

_BASELINE, _OTHER = '#c2571a', '#4c72b0'


def bars(
    group: str, variants: Sequence[Variant], results: Mapping[str, Result]
) -> dict[str, tuple[str, list[Rate]]]:
    """Return name → (run, success: of all trainings, of each) of a group's finished variants."""
    return {
        name: (run, [Rate.of(outcomes(results[run]).values()), *seed_rates(results[run])])
        for name, run in group_runs(group, variants).items()
        if 'episodes' in results.get(run, {})
    }


def panels_of(
    variants: Sequence[Variant], results: Mapping[str, Result], levels: Sequence[str]
) -> dict[str, dict[str, tuple[str, list[Rate]]]]:
    """Return title → bars of each group and level where two or more variants are finished."""
    groups = dict.fromkeys(group for v in variants for group, _ in v.listed_in)
    panels = {}
    for group in groups:
        for level in levels:
            title = title_of(group) + (f', level {level}' if len(levels) > 1 else '')
            panels[title] = bars(group, variants, at_level(results, level))
    return {title: found for title, found in panels.items() if len(found) > 1}


def plot(
    variants: Sequence[Variant], results: Mapping[str, Result], reference: str | None, path: Path,
    levels: Sequence[str] = (NOMINAL,),
) -> bool:
    """Draw comparisons with two or more finished variants; return False if there are none."""
    panels = panels_of(variants, results, levels)
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
    for axis, (title, found) in zip(axes[:, 0], panels.items(), strict=True):
        for row, (run, (rate, *rates)) in enumerate(found.values()):
            low, high = rate.interval
            error = [[100 * (rate.value - low)], [100 * (high - rate.value)]]
            axis.barh(
                row, 100 * rate.value, xerr=error, capsize=3,
                color=_BASELINE if run == reference else _OTHER,
            )  # fmt: skip
            if len(rates) > 1:
                axis.plot([100 * r.value for r in rates], [row] * len(rates), 'ko', markersize=3)
        axis.set_yticks(range(len(found)), list(found))
        axis.invert_yaxis()
        axis.set_title(title, fontsize=9, loc='left')
    axes[-1, 0].set_xlabel(
        "success [%], 95 % Wilson intervals; orange: the recipe itself; dots: each training"
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True
