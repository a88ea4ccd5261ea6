# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Cuts a recording into several episodes: where the instruction changes, where streams pause."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from vla_adapter_ros.data.bags.alignment import NANOSECONDS
from vla_adapter_ros.data.bags.contents import BagContents
from vla_adapter_ros.data.bags.topics import JOINTS
from vla_adapter_ros.errors import DatasetError

# A shorter part is left out: it is shorter than what a policy does between two looks.
SHORTEST_PART = 1.0  # [s]
# Metadata of an episode that is a part of a recording: its number, from 1, and of how many.
PART = 'part'
_EVER = (int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max))

Span = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """One of the episodes of a recording.

    Attributes:
        number: from 1 to `count`.
        count: of the recording's parts that are long enough.
        stretch: first and last stamp [ns] of what its frames see.
        known: first and last stamp [ns] between pauses of the joint states, around `stretch`:
            what was measured or commanded before and after says nothing of it.
        ends: whether the recording's mark of success belongs to it.
    """

    number: int = 1
    count: int = 1
    stretch: Span = _EVER
    known: Span = _EVER
    ends: bool = True

    def named(self, name: str) -> str:
        """Return a recording's name with the part's number, if there are several."""
        return name if self.count == 1 else f'{name} part {self.number} of {self.count}'

    def facts(self) -> dict[str, list[int]]:
        """Return the metadata that tells the parts of a recording apart."""
        return {} if self.count == 1 else {PART: [self.number, self.count]}


WHOLE = Part()


@dataclass(frozen=True)
class Split:
    """The parts of a recording, and in words what was left out."""

    parts: list[Part]
    left_out: list[str] = field(default_factory=list)


def split_recording(bag: BagContents) -> Split:
    """Cut a recording as its options say; without them it is one part.

    Raises:
        DatasetError: no part is long enough.
    """
    options = bag.options
    if not options.split_on_instruction and options.split_on_gaps is None:
        return Split([WHOLE])
    stamps = bag.stamps
    starts, ends = zip(*((int(s[0]), int(s[-1])) for s in stamps.values() if len(s)), strict=True)
    whole = max(starts), min(ends)
    gaps = sorted(gap for each in stamps.values() for gap in _gaps(each, options.split_on_gaps))
    known = _spans_between(_gaps(stamps[JOINTS], options.split_on_gaps), _EVER)
    cuts = _changes(bag) if options.split_on_instruction else []
    period = options.frame_period(bag.contract)
    kept: list[tuple[Span, str | None]] = []
    left_out: list[str] = []
    last_text = None
    for span in _spans_between(gaps, whole):
        for stretch in _cut(span, cuts):
            text = options.instruction or _text_at(bag, stretch[0])
            last_text = text or last_text
            begin = (stretch[0] - min(starts)) / NANOSECONDS
            seconds = ((stretch[1] - stretch[0]) // period + 1) * period / NANOSECONDS
            if not text:
                left_out.append(f'{seconds:.2f} s at {begin:.2f} s, without an instruction')
            elif seconds < SHORTEST_PART:
                left_out.append(
                    f'{seconds:.2f} s at {begin:.2f} s, shorter than {SHORTEST_PART:g} s'
                )
            else:
                kept.append((stretch, text))
    if not kept:
        reasons = '; '.join(left_out) or 'the streams do not overlap'
        raise DatasetError(f'{bag.place}: nothing is left when it is split: {reasons}')
    parts = [
        Part(
            number, len(kept), stretch,
            next(span for span in known if span[0] <= stretch[0] <= span[1]),
            # Of the others nobody said how they ended.
            number == len(kept) and text == last_text,
        )
        for number, (stretch, text) in enumerate(kept, 1)
    ]  # fmt: skip
    return Split(parts, left_out)


def _gaps(stamps: np.ndarray, longest: float | None) -> list[Span]:
    """Return the last stamp before and the first after each pause that is longer [s]."""
    if longest is None:
        return []
    pauses = np.flatnonzero(np.diff(stamps) > longest * NANOSECONDS)
    return [(int(stamps[i]), int(stamps[i + 1])) for i in pauses]


def _spans_between(gaps: list[Span], whole: Span) -> list[Span]:
    """Return what of `whole` lies between gaps, which are sorted and may overlap."""
    spans, start = [], whole[0]
    for before, after in gaps:
        if start <= min(before, whole[1]):
            spans.append((start, min(before, whole[1])))
        start = max(start, after)
    return [*spans, (start, whole[1])] if start <= whole[1] else spans


def _changes(bag: BagContents) -> list[int]:
    """Return when the instruction changes [ns]; the first one was set before, if none was."""
    texts = [(_EVER[0], bag.first_text), *bag.texts]
    if texts[0][1] is None:
        texts = texts[1:]
    return [time for (_, before), (time, after) in pairwise(texts) if before != after]


def _cut(span: Span, cuts: list[int]) -> list[Span]:
    inside = [cut for cut in cuts if span[0] < cut <= span[1]]
    return [(first, last - 1) for first, last in pairwise([span[0], *inside, span[1] + 1])]


def _text_at(bag: BagContents, time: int) -> str | None:
    """Return the instruction at a time [ns]: the newest, or the first if none was set before."""
    text = bag.first_text
    for moment, found in bag.texts:
        if text is not None and moment > time:
            break
        text = found
    return text
