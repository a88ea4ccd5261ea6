# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Rates with their uncertainty, and plain tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95


def wilson_interval(
    successes: int, trials: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the Wilson score interval of a rate (Wilson 1927, without continuity correction).

    Unlike the textbook interval it stays inside [0, 1] and is honest at 0 % and 100 %.

    Raises:
        ValueError: counts that cannot be, or a confidence outside (0, 1).
    """
    if not 0 <= successes <= trials:
        raise ValueError(f'successes: got {successes} of {trials}')
    if not 0.0 < confidence < 1.0:
        raise ValueError(f'confidence: got {confidence}, expected a value in (0, 1)')
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    spread = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low, high = (centre - spread) / scale, (centre + spread) / scale
    # Rounding must not move the ends of 0 % and 100 %.
    return (0.0 if successes == 0 else low), (1.0 if successes == trials else high)


@dataclass(frozen=True)
class Rate:
    """A success rate with its 95 % Wilson interval."""

    successes: int
    trials: int

    @staticmethod
    def of(outcomes: Iterable[bool]) -> Rate:
        """Count outcomes."""
        values = [bool(outcome) for outcome in outcomes]
        return Rate(sum(values), len(values))

    @property
    def value(self) -> float:
        """The rate; NaN without trials."""
        return self.successes / self.trials if self.trials else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval."""
        return wilson_interval(self.successes, self.trials)

    def to_dict(self) -> dict[str, float | int | list[float] | None]:
        """Return JSON data."""
        return {
            'successes': self.successes,
            'trials': self.trials,
            'rate': self.value if self.trials else None,
            'interval_95': list(self.interval),
        }

    def __str__(self) -> str:
        if not self.trials:
            return '-'
        low, high = self.interval
        counts = f'{self.successes}/{self.trials}'
        return f'{100 * self.value:.0f} % [{100 * low:.0f}, {100 * high:.0f}] ({counts})'


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns."""
    cells = [list(map(str, row)) for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ['| ' + ' | '.join(c.ljust(w) for c, w in zip(row, widths)) + ' |' for row in cells]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(lines)
