# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Instructions of the simulated scene: the goal that is meant, whatever the wording."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence as Names

from vla_adapter_ros.errors import InstructionError
from vla_adapter_ros.processing.spelling import meant
from vla_adapter_ros.simulation.clauses import clauses
from vla_adapter_ros.simulation.goals import (
    Goal,
    Move,
    Place,
    PutIn,
    Reach,
    Sequence,
    Stack,
    is_bowl,
)
from vla_adapter_ros.simulation.layout import COLOURS, PLATE_NAME, SHAPE_HEIGHTS
from vla_adapter_ros.simulation.wordings import NAMES, VOCABULARY

_SYNONYMS = {other: name for name, others in NAMES.items() for other in others} | {
    'pad': PLATE_NAME
}
_THING = r'(?:the |a )?(?P<{0}>(?:\w+ )?\w+)'
_TARGET, _BASE = _THING.format('target'), _THING.format('base')
_ON = r'(?:on top of|to the top of|onto|on|to|into|inside|in)'
_PATTERNS = (
    ('reach', rf'(?:reach for|reach|touch|go to|move to|get to|point at|approach) {_TARGET}'),
    ('move', rf'(?:move|push|slide|shift|nudge|drag) {_TARGET} (?:to the |to )?'
             r'(?P<direction>left|right)(?: side)?'),
    ('move', rf'take {_TARGET} and (?:push|move|slide) it (?:to the |to )?'
             r'(?P<direction>left|right)(?: side)?'),
    ('put', rf'(?:put|place|set|stack|move|drop|lay|rest|bring|transfer) {_TARGET} {_ON} {_BASE}'),
    ('put', rf'(?:pick up|pick|grab|take|lift|get) {_TARGET} (?:up )?and '
            rf'(?:put|place|set|stack|drop|lay) it {_ON} {_BASE}'),
)  # fmt: skip


def parse_instruction(text: str, names: Names[str]) -> Goal:
    """Return the goal of an instruction.

    Args:
        text: the user's words.
        names: of the things on the table (`ArmSimulation.object_names`).

    Raises:
        InstructionError: not understood, however it is spelled, or a named object is missing; the
            message lists the abilities of the scene.
    """
    try:
        return _parse(text, text, names)
    except InstructionError:
        spelled = re.sub(r'\w+', _spelled, text.lower())
        with contextlib.suppress(InstructionError):
            return _parse(spelled, text, names)
        raise


def _parse(spelled: str, text: str, names: Names[str]) -> Goal:
    goals = [_parse_part(part, text, names) for part in clauses(spelled)]
    if not goals:
        raise InstructionError(f'instruction {text!r} is empty; {abilities(names)}')
    return goals[0] if len(goals) == 1 else Sequence(tuple(goals))


def _spelled(found: re.Match[str]) -> str:
    """Return a word as a policy with a word list reads it."""
    word = found[0]
    return word if word in VOCABULARY else meant(word, VOCABULARY) or word


def abilities(names: Names[str]) -> str:
    """Return one line with the possible instructions and the objects on the table."""
    kinds = ['reach the X', 'move the X to the left|right', 'stack the X on the Y']
    if PLATE_NAME in names:
        kinds.append('put the X on the plate')
    if any(is_bowl(name) for name in names):
        kinds.append('put the X in the bowl')
    return (
        f'this scene can: {", ".join(kinds)}, and several joined by "then"; '
        f'on the table: {", ".join(names)}'
    )


def _parse_part(part: str, text: str, names: Names[str]) -> Goal:
    for kind, pattern in _PATTERNS:
        match = re.fullmatch(pattern, part)
        if match is None:
            continue
        target = _resolve(match['target'], text, names)
        if target == PLATE_NAME:
            raise InstructionError(f'instruction {text!r}: the plate is fixed; {abilities(names)}')
        if kind == 'reach':
            return Reach(target)
        if is_bowl(target):
            raise InstructionError(
                f'instruction {text!r}: the bowl is too wide to be picked up; {abilities(names)}'
            )
        if kind == 'move':
            return Move(target, match['direction'])
        base = _resolve(match['base'], text, names)
        if base == target:
            raise InstructionError(f'instruction {text!r}: the {target} cannot be put on itself')
        if is_bowl(base):
            return PutIn(target, base)
        if re.search(r'\bin(?:to|side)? ', part):
            raise InstructionError(
                f'instruction {text!r}: nothing goes into the {base}; {abilities(names)}'
            )
        return Place(target) if base == PLATE_NAME else Stack(target, base)
    raise InstructionError(f'instruction {text!r} is not understood; {abilities(names)}')


def _resolve(words: str, text: str, names: Names[str]) -> str:
    """Return the one thing on the table that is meant: 'red block', or 'red' if unique."""
    spoken = [_SYNONYMS.get(word, word) for word in words.split() if word != 'one']
    unknown = [w for w in spoken if w not in COLOURS and w not in SHAPE_HEIGHTS]
    if spoken != [PLATE_NAME] and unknown:
        raise InstructionError(f'instruction {text!r}: what is {words!r}? {abilities(names)}')
    found = [name for name in names if set(spoken) <= set(name.split())]
    if len(found) != 1:
        which = f'which {words} is meant?' if found else f'there is no {words};'
        raise InstructionError(f'instruction {text!r}: {which} {abilities(names)}')
    return found[0]
