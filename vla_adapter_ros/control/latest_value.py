# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Latest-value inputs: age, rate, jitter, loss, and why an input keeps the robot waiting.

No synchroniser: the newest value of each topic is kept, and an observation is made only if every
value is fresh and their stamps are close. Each skipped cycle has one counted reason.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

# Arrivals kept per input.
_WINDOW = 64
# Rates are measured over the last seconds, so that a change shows soon.
_SPAN_S = 3.0


@dataclass(frozen=True)
class InputReport:
    """Diagnostic details of one input.

    Attributes:
        name: of the input.
        rate: of arrival [Hz].
        expected_rate: of publishing [Hz], estimated from stamps; 0 if unknown. Well above `rate`:
            messages are lost.
        age: of the newest value [s]; −1 if none was received.
        jitter: standard deviation of the time between two arrivals [s].
        problem: why the newest value cannot be used, or ''.
    """

    name: str
    rate: float
    expected_rate: float
    age: float
    jitter: float
    problem: str


@dataclass(frozen=True)
class Problem:
    """Why a cycle is skipped: `text` with figures for the user, `kind` to count."""

    kind: str
    text: str


class LatestValue:
    """The newest value of one topic.

    Args:
        name: for messages to the user: `front image`.
        max_age: oldest value that may be used [s].
    """

    def __init__(self, name: str, max_age: float) -> None:
        self.name = name
        self.max_age = max_age
        self._arrivals = np.zeros(_WINDOW)
        self._stamps = np.zeros(_WINDOW)
        self.count = 0
        self.reset()

    def reset(self) -> None:
        """Forget the value and the rates: the clock or the source has changed."""
        self.value: Any = None
        self.stamp = math.nan
        self.received = math.nan
        self._filled = 0

    def receive(self, value: Any, stamp: float, now: float) -> None:
        """Keep a value stamped `stamp` that arrived at `now` [s]."""
        if now < self.received or stamp < self.stamp - 1.0:
            # A clock went back: the window holds values of another time.
            self._filled = 0
        self.value, self.stamp, self.received = value, stamp, now
        place = self.count % _WINDOW
        self._arrivals[place], self._stamps[place] = now, stamp
        self.count += 1
        self._filled = min(self._filled + 1, _WINDOW)

    def age(self, now: float) -> float:
        """Return the age of the newest value [s], by stamp or arrival, whichever is older.

        Infinite if none was received. A source may repeat its last frame: arrival alone does not
        show it. A missing stamp (0) leaves only the arrival.
        """
        if self.value is None:
            return math.inf
        since_arrival = now - self.received
        return max(since_arrival, now - self.stamp) if self.stamp > 0.0 else since_arrival

    def problem(self, now: float) -> Problem | None:
        """Return why the value cannot be used now, or None."""
        if self.value is None:
            return Problem(f'no {self.name}', f'no {self.name} yet')
        ahead = self.stamp - now
        if ahead > self.max_age:
            text = f'{self.name} stamped {ahead:.2f} s in the future: clocks differ'
            return Problem(f'future {self.name}', text)
        if (age := self.age(now)) > self.max_age:
            text = f'stale {self.name} {age:.2f} s > {self.max_age:.2f} s'
            return Problem(f'stale {self.name}', text)
        return None

    def report(self, now: float) -> InputReport:
        """Return rate, age, jitter and problem."""
        arrivals, stamps = self._recent(now)
        rate = jitter = 0.0
        if len(arrivals) > 1:
            intervals = np.diff(arrivals)
            silent = now - arrivals[-1]
            # A silence longer than the usual interval counts: the rate falls with it.
            span = arrivals[-1] - arrivals[0] + max(silent - intervals.mean(), 0.0)
            rate = len(intervals) / span if span > 0.0 else 0.0
            jitter = float(intervals.std())
        age = self.age(now)
        return InputReport(
            self.name,
            float(rate),
            self._published_rate(stamps),
            -1.0 if math.isinf(age) else age,
            jitter,
            problem.text if (problem := self.problem(now)) else '',
        )

    def _recent(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        order = np.arange(self.count - self._filled, self.count) % _WINDOW
        arrivals, stamps = self._arrivals[order], self._stamps[order]
        recent = arrivals >= now - _SPAN_S
        return arrivals[recent], stamps[recent]

    @staticmethod
    def _published_rate(stamps: np.ndarray) -> float:
        intervals = np.diff(stamps)
        intervals = intervals[intervals > 1e-4]
        if len(intervals) < 8:
            return 0.0
        # A lost message doubles an interval; a low percentile is the publisher's period.
        return float(1.0 / np.percentile(intervals, 20.0))


class InputMonitor:
    """All inputs of an observation.

    Args:
        max_skew: largest difference between their stamps [s].
    """

    def __init__(self, max_skew: float) -> None:
        self.max_skew = max_skew
        self.inputs: dict[str, LatestValue] = {}
        # Cycles without an observation, by reason.
        self.skipped: Counter[str] = Counter()
        self._reported: dict[str, str] = {}

    def declare(self, name: str, max_age: float) -> LatestValue:
        """Add an input; problems are reported in the order of declaration."""
        self.inputs[name] = LatestValue(name, max_age)
        return self.inputs[name]

    def reset(self) -> None:
        """Forget all values, keep the counts."""
        for value in self.inputs.values():
            value.reset()

    def problem(self, now: float) -> Problem | None:
        """Return the first reason against an observation at `now`, or None."""
        for value in self.inputs.values():
            if (problem := value.problem(now)) is not None:
                return problem
        return self._skew()

    def skip(self, now: float) -> Problem | None:
        """Return why no observation can be made now, and count it; call once per cycle."""
        problem = self.problem(now)
        if problem is not None:
            self.skipped[problem.kind] += 1
        return problem

    def stamp(self) -> float:
        """Return the stamp of an observation made now: the oldest of its inputs [s]."""
        return min(value.stamp for value in self.inputs.values())

    def changes(self, now: float) -> list[str]:
        """Return a line for each input that went missing or came back since the last call."""
        lines = []
        for name, value in self.inputs.items():
            problem = value.problem(now)
            kind = problem.kind if problem else ''
            before = self._reported.get(name, '')
            if kind != before:
                lines.append(problem.text if problem else f'{name} recovered')
                self._reported[name] = kind
        return lines

    def reports(self, now: float) -> list[InputReport]:
        """Return the diagnostic details of every input."""
        return [value.report(now) for value in self.inputs.values()]

    def _skew(self) -> Problem | None:
        if len(self.inputs) < 2:
            return None
        oldest = min(self.inputs.values(), key=lambda value: value.stamp)
        newest = max(self.inputs.values(), key=lambda value: value.stamp)
        skew = newest.stamp - oldest.stamp
        if skew <= self.max_skew:
            return None
        names = f'{oldest.name} and {newest.name}'
        return Problem('skew', f'{skew:.2f} s between {names} > {self.max_skew:.2f} s')
