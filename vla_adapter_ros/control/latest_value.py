# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Latest-value inputs: age, rate, jitter, loss, and why an input keeps the robot waiting.

No synchroniser: the newest value of each topic is kept, and an observation is made only if every
value is fresh and all were made at nearly the same time. Each skipped cycle has one counted
reason. Ages are of the motion clock (clock.py): a step of the robot's clock does not change them.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.control.clock import Arrival

# Arrivals kept per input.
_WINDOW = 64
# Rates are measured over the last seconds, so that a change shows soon.
_SPAN_S = 3.0
# Two messages with one stamp are equally old, but for the reading of two clocks [s].
_ROUNDING_S = 2e-3
# A source that has not sent a first message after this time is reported.
_FIRST_MESSAGE_S = 1.0


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
        """Forget the value and the rates: the source has changed."""
        self.value: Any = None
        self.arrival: Arrival | None = None
        self._ahead = 0.0
        self._filled = 0

    def receive(self, value: Any, arrival: Arrival) -> bool:
        """Keep a value, unless it is older than the one that is kept; returns whether it was.

        A step of the robot's clock makes the messages that were under way look too old, or
        stamped in the future: they are left out, and those that follow are good again.
        """
        self._ahead = -arrival.age
        if self._ahead > self.max_age:
            return False
        if self.arrival is not None:
            if arrival.made < self.arrival.made - _ROUNDING_S:
                return False
            if abs(arrival.stamp - self.arrival.stamp) > _SPAN_S:
                # The clock was set, or there was a long silence: the window is of another time.
                self._filled = 0
        self.value, self.arrival = value, arrival
        place = self.count % _WINDOW
        self._arrivals[place], self._stamps[place] = arrival.now, arrival.stamp
        self.count += 1
        self._filled = min(self._filled + 1, _WINDOW)
        return True

    def age(self, now: float) -> float:
        """Return the age of the value [s], by stamp or arrival, whichever is older.

        Infinite if none was received. A source may repeat its last frame: arrival alone does not
        show it. A missing stamp leaves only the arrival.
        """
        return math.inf if self.arrival is None else now - self.arrival.made

    def problem(self, now: float) -> Problem | None:
        """Return why the value cannot be used now, or None."""
        age = self.age(now)
        if age <= self.max_age:
            return None
        if self._ahead > self.max_age:
            text = f'{self.name} stamped {self._ahead:.2f} s in the future: clocks differ'
            return Problem(f'future {self.name}', text)
        if self.arrival is None:
            return Problem(f'no {self.name}', f'no {self.name} yet')
        text = f'stale {self.name} {age:.2f} s > {self.max_age:.2f} s'
        return Problem(f'stale {self.name}', text)

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
        self._listening_since: float | None = None

    def declare(self, name: str, max_age: float) -> LatestValue:
        """Add an input; problems are reported in the order of declaration."""
        self.inputs[name] = LatestValue(name, max_age)
        return self.inputs[name]

    def reset(self) -> None:
        """Forget all values, keep the counts."""
        self._listening_since = None
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

    def oldest(self) -> Arrival:
        """Return the arrival of the oldest input: an observation is as old as that."""
        arrivals = (value.arrival for value in self.inputs.values())
        return min((arrival for arrival in arrivals if arrival), key=lambda arrival: arrival.made)

    def changes(self, now: float, steady: float) -> list[str]:
        """Return a line for each input that went missing or came back since the last call.

        Args:
            now: time on the clock of the stamps [s].
            steady: time on a clock that never stands still [s]; a first message is waited for.
        """
        if self._listening_since is None:
            self._listening_since = steady
        waiting = steady - self._listening_since < _FIRST_MESSAGE_S
        lines = []
        for name, value in self.inputs.items():
            if waiting and value.value is None:
                continue
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
        made = {v.name: v.arrival.made for v in self.inputs.values() if v.arrival is not None}
        if len(made) < 2:
            return None
        oldest, newest = min(made, key=made.__getitem__), max(made, key=made.__getitem__)
        skew = made[newest] - made[oldest]
        if skew <= self.max_skew:
            return None
        names = f'{oldest} and {newest}'
        return Problem('skew', f'{skew:.2f} s between {names} > {self.max_skew:.2f} s')
