# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Whether two policies differ, compared episode by episode."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Pairing:
    """Two policies on the same episodes.

    Attributes:
        episodes: that both have.
        only_first: solved by the first alone.
        only_second: solved by the second alone.
    """

    episodes: int
    only_first: int
    only_second: int

    @staticmethod
    def of(first: Mapping[Hashable, bool], second: Mapping[Hashable, bool]) -> Pairing:
        """Pair outcomes by episode."""
        shared = first.keys() & second.keys()
        return Pairing(
            len(shared),
            sum(first[key] and not second[key] for key in shared),
            sum(second[key] and not first[key] for key in shared),
        )

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test, two-sided: how likely so uneven a split is by chance."""
        total, smaller = self.only_first + self.only_second, min(self.only_first, self.only_second)
        tail = sum(math.comb(total, k) for k in range(smaller + 1)) / 2**total
        return min(1.0, 2.0 * tail)
