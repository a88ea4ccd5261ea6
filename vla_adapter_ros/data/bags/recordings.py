# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Which recordings a dataset already has, and what new ones are called in it.

A recording is told by what was recorded when, never by its name: recorders number their bags anew
in each folder, and number a discarded one again.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_adapter_ros.data.bags.file import complete_bag
from vla_adapter_ros.data.bags.metadata import BagMetadata
from vla_adapter_ros.data.bags.parts import PART, Part
from vla_adapter_ros.data.episodes import successes
from vla_adapter_ros.errors import DatasetError

# Metadata of an episode: the recording's identity, and a hash of where it lay.
IDENTITY, PLACE = 'recording', 'recorded_in'
_PART_KEY = '.part_'


@dataclass(frozen=True)
class Recording:
    """A bag, its key in the dataset, and what identifies it there.

    `done` are the numbers of its parts that the dataset has.
    """

    bag: Path
    key: str
    facts: dict[str, str]
    done: frozenset[int] = frozenset()

    def key_of(self, part: Part) -> str:
        """Return the key of one of its parts."""
        return self.key if part.count == 1 else f'{self.key}{_PART_KEY}{part.number:03d}'


@dataclass
class _Known:
    """A recording of which the dataset has at least a part: its key, place and parts."""

    key: str
    place: str | None = None
    count: int = 1
    done: set[int] = field(default_factory=set)


@dataclass
class Choice:
    """What becomes of the bags: new ones, those already there, and bag → why it is refused."""

    new: list[Recording] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def choose_recordings(
    bags: Sequence[Path], episodes: Mapping[str, Mapping[str, Any]]
) -> Choice:
    """Decide for each bag whether it is new.

    Args:
        bags: folders of the bags.
        episodes: key → metadata of the dataset's episodes.
    """
    choice = Choice()
    there = _known(episodes)
    places = {known.key: known.place for known in there.values()}
    taken = {*episodes, *places}
    for bag in bags:
        try:
            # A recording that was cut off does not count as there: its recovered copy does.
            identity = complete_bag(bag).identity
        except DatasetError as error:
            choice.refused[bag.name] = str(error)
            continue
        place = _hash(str(bag.resolve().parent))
        name = _key(bag.name)
        facts = {IDENTITY: identity, PLACE: place}
        if (known := there.get(identity)) is not None:
            if len(known.done) >= known.count:
                choice.present.append(known.key)
            else:
                choice.new.append(Recording(bag, known.key, facts, frozenset(known.done)))
                known.done.update(range(1, known.count + 1))
            continue
        if places.get(name) == place:
            choice.refused[bag.name] = (
                f'bag {bag}: the dataset has another recording of this name from this folder '
                '(it was discarded and recorded again?); remove that episode, or convert to a '
                'new dataset'
            )
            continue
        key = _free(name, _key(bag.resolve().parent.name), taken)
        taken.add(key)
        there[identity] = _Known(key, done={1})
        choice.new.append(Recording(bag, key, facts))
    return choice


def _known(episodes: Mapping[str, Mapping[str, Any]]) -> dict[str, _Known]:
    """Return recording → what the dataset has of it."""
    found: dict[str, _Known] = {}
    for key, metadata in episodes.items():
        if IDENTITY not in metadata:
            continue
        number, count = metadata.get(PART, (1, 1))
        name = key if count == 1 else key.rpartition(_PART_KEY)[0] or key
        known = found.setdefault(str(metadata[IDENTITY]), _Known(name))
        known.place, known.count = metadata.get(PLACE), count
        known.done.add(number)
    return found


def choose_successes(bags: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the bags marked as success, and the names of the others.

    Bags that cannot be read are among the first: they are refused when they are read.

    Raises:
        DatasetError: none is marked.
    """
    marks: list[bool | None] = []
    for bag in bags:
        try:
            marks.append(BagMetadata(bag).success)
        except DatasetError:
            marks.append(True)
    chosen = set(successes(marks, 'bags: none'))
    kept = [bag for number, bag in enumerate(bags) if number in chosen]
    return kept, [bag.name for number, bag in enumerate(bags) if number not in chosen]


def _free(name: str, folder: str, taken: set[str]) -> str:
    longer = f'{folder}.{name}'
    names = itertools.chain([name, longer], (f'{longer}.{n}' for n in itertools.count(2)))
    return next(candidate for candidate in names if candidate not in taken)


def _key(name: str) -> str:
    return re.sub(r'[^A-Za-z0-9_.+-]', '_', name).lstrip('_.+-') or 'bag'


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
