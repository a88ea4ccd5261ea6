# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Instructions of the simulated scene: from goals to text, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence as Names

import numpy as np

from vla_adapter_ros.errors import InstructionError
from vla_adapter_ros.simulation.goals import Goal, Move, Place, Reach, Sequence, Stack
from vla_adapter_ros.simulation.layout import COLOURS, PLATE_NAME, SHAPE_HEIGHTS

# The first template of each kind is the plain one (random=False).
TEMPLATES: dict[type, tuple[str, ...]] = {
    Reach: ('reach the {target}', 'go to the {target}', 'move to the {target}',
            'touch the {target}'),
    Move: ('move the {target} to the {direction}', 'push the {target} to the {direction}',
           'slide the {target} to the {direction}', 'push the {target} {direction}'),
    Place: ('put the {target} on the plate', 'place the {target} on the plate',
            'pick up the {target} and place it on the plate',
            'take the {target} and put it on the plate'),
    Stack: ('stack the {target} on the {base}', 'put the {target} on the {base}',
            'place the {target} on top of the {base}',
            'pick up the {target} and place it on the {base}'),
}  # fmt: skip
JOINERS = (' and then ', ', then ', ' then ')

_SYNONYMS = {
    'cube': 'block', 'box': 'block', 'can': 'cylinder', 'tube': 'cylinder', 'sphere': 'ball',
    'dish': PLATE_NAME, 'pad': PLATE_NAME,
}  # fmt: skip
_THING = r'(?:the |a )?(?P<{0}>(?:\w+ )?\w+)'
_TARGET, _BASE = _THING.format('target'), _THING.format('base')
_ON = r'(?:on top of|onto|on|to)'
_PATTERNS = (
    ('reach', rf'(?:reach for|reach|touch|go to|move to|approach) {_TARGET}'),
    ('move', rf'(?:move|push|slide|shift) {_TARGET} (?:to the |to )?(?P<direction>left|right)'),
    ('put', rf'(?:put|place|set|stack|move|drop) {_TARGET} {_ON} {_BASE}'),
    ('put', rf'(?:pick up|pick|grab|take|lift) {_TARGET} and (?:put|place|set|stack|drop) it '
            rf'{_ON} {_BASE}'),
)  # fmt: skip


def describe(goal: Goal, rng: np.random.Generator | None = None) -> str:
    """Return an instruction for a goal: the plain wording, or one drawn at random."""
    if isinstance(goal, Sequence):
        joiner = JOINERS[0] if rng is None else JOINERS[int(rng.integers(len(JOINERS)))]
        return joiner.join(describe(part, rng) for part in goal.goals)
    templates = TEMPLATES[type(goal)]
    template = templates[0] if rng is None else templates[int(rng.integers(len(templates)))]
    return template.format(**vars(goal))


def parse_instruction(text: str, names: Names[str]) -> Goal:
    """Return the goal of an instruction.

    Args:
        text: the user's words.
        names: of the things on the table (`ArmSimulation.object_names`).

    Raises:
        InstructionError: not understood, or a named object is missing; the message lists the
            abilities of the scene.
    """
    words = re.sub(r'\s+', ' ', re.sub(r'[^\w\s]', ' ', text.lower())).strip()
    parts = [part for part in re.split(r' and then | then ', words) if part]
    goals = [_parse_part(part, text, names) for part in parts]
    if not goals:
        raise InstructionError(f'instruction {text!r} is empty; {abilities(names)}')
    return goals[0] if len(goals) == 1 else Sequence(tuple(goals))


def abilities(names: Names[str]) -> str:
    """Return one line with the possible instructions and the objects on the table."""
    kinds = ['reach the X', 'move the X to the left|right', 'stack the X on the Y']
    if PLATE_NAME in names:
        kinds.append('put the X on the plate')
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
        if kind == 'move':
            return Move(target, match['direction'])
        base = _resolve(match['base'], text, names)
        if base == target:
            raise InstructionError(f'instruction {text!r}: the {target} cannot be put on itself')
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
