# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How goals are put into words: wordings to train with, and others to judge with."""

from __future__ import annotations

import re

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.processing.spelling import with_error
from vla_adapter_ros.simulation.goals import (
    DIRECTIONS,
    Goal,
    Move,
    Place,
    PutIn,
    Reach,
    Sequence,
    Stack,
)
from vla_adapter_ros.simulation.layout import BOWL, COLOURS, PLATE_NAME, SHAPE_HEIGHTS

TRAINED, VARIED, HELD_OUT, SYNONYM = 'trained', 'varied', 'held_out', 'synonyms'
# trained: the plain sentences. varied: the same with further verbs, synonyms, politeness and
# two-clause order, for training. held_out: sentences of known words that no training has.
# synonyms: the trained sentences with other names of the things.
WORDS = (TRAINED, VARIED, HELD_OUT, SYNONYM)
# The trained sentences with one word mistyped, of which not every one is understood.
MISSPELLED = 'misspelled'
JUDGED_WORDS = (*WORDS, MISSPELLED)

# The first template of each kind is the plain one.
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
    PutIn: ('put the {target} in the {base}', 'place the {target} in the {base}',
            'pick up the {target} and put it in the {base}',
            'take the {target} and put it into the {base}'),
}  # fmt: skip
# Further verbs, which `varied` has beside those.
VARIED_TEMPLATES: dict[type, tuple[str, ...]] = {
    Reach: ('reach for the {target}', 'approach the {target}', 'get to the {target}',
            'point at the {target}'),
    Move: ('shift the {target} to the {direction}', 'shift the {target} {direction}',
           'nudge the {target} to the {direction}', 'drag the {target} {direction}'),
    Place: ('set the {target} on the plate', 'drop the {target} onto the plate',
            'grab the {target} and set it on the plate',
            'lift the {target} and drop it onto the plate', 'lay the {target} on the plate',
            'bring the {target} to the plate', 'transfer the {target} onto the plate',
            'pick the {target} up and put it on the plate',
            'get the {target} and lay it on the plate'),
    Stack: ('set the {target} on the {base}', 'put the {target} onto the {base}',
            'grab the {target} and set it on the {base}',
            'lift the {target} and put it onto the {base}', 'lay the {target} on the {base}',
            'set the {target} on top of the {base}', 'rest the {target} on the {base}',
            'pick the {target} up and put it on the {base}',
            'get the {target} and lay it on the {base}'),
    PutIn: ('drop the {target} into the {base}', 'set the {target} inside the {base}',
            'grab the {target} and drop it in the {base}', 'lay the {target} in the {base}',
            'pick the {target} up and put it in the {base}'),
}  # fmt: skip
JOINERS = (' and then ', ', then ', ' then ')
HELD_OUT_TEMPLATES: dict[type, tuple[str, ...]] = {
    Reach: ('please go to the {target} now', 'could you touch the {target} for me'),
    Move: ('move the {target} {direction}', 'slide the {target} {direction}',
           'take the {target} and push it to the {direction}'),
    Place: ('pick up the {target} and put it on the plate', 'move the {target} to the plate',
            'take the {target} and place it on the plate'),
    Stack: ('take the {target} and put it on top of the {base}', 'move the {target} to the top of '
            'the {base}', 'stack the {target} on top of the {base}'),
    PutIn: ('place the {target} into the {base}', 'move the {target} to the {base}',
            'take the {target} and place it in the {base}'),
}  # fmt: skip
HELD_OUT_JOINERS = (', and then please ', ' and then could you ')
_HELD_OUT_ORDERS = ('after {doing_first}, please {second}', 'first {first} and then {second}',
                    'before {doing_second}, could you {first}',
                    'please first {first}, then could you {second}')  # fmt: skip
_VARIED = {kind: plain + VARIED_TEMPLATES[kind] for kind, plain in TEMPLATES.items()}
# Around one clause in training ('' most often).
_FILLERS = ('{}', '{}', '{}', '{}', '{}', 'please {}', 'could you {}', 'could you please {}',
            'now {}', '{} please', '{} for me', 'kindly {}', 'would you {}', 'can you {}',
            'i want you to {}', 'just {}', 'robot, {}', '{} now')  # fmt: skip
# Two clauses whose order of words is not the order of acts, or is said in another way.
_ORDERS = ('after {doing_first}, {second}', '{second} after {doing_first}',
           'before {doing_second}, {first}', 'first {first}, then {second}')  # fmt: skip
# Two things that go to the same place, which is named once.
_TOGETHER = ('{verb} the {first} on the plate{joiner}the {second}',
             '{verb} the {first}{joiner}the {second} on the plate')  # fmt: skip
_TOGETHER_VERBS = ('put', 'place', 'set', 'lay')
_TOGETHER_JOINERS = (' and then ', ', then ', ' followed by ')
# Synonyms of each shape, beside its own name; with `varied` any of them.
NAMES: dict[str, tuple[str, ...]] = {
    'block': ('cube', 'box', 'brick'),
    'cylinder': ('can', 'tube', 'tin'),
    'ball': ('sphere',),
    PLATE_NAME: ('dish', 'saucer'),
    'cup': ('mug',),
    BOWL: ('basin',),
}
GERUNDS = {
    'reach': 'reaching', 'go': 'going', 'move': 'moving', 'touch': 'touching', 'push': 'pushing',
    'slide': 'sliding', 'put': 'putting', 'place': 'placing', 'pick': 'picking', 'take': 'taking',
    'stack': 'stacking', 'approach': 'approaching', 'shift': 'shifting', 'set': 'setting',
    'drop': 'dropping', 'grab': 'grabbing', 'lift': 'lifting', 'lay': 'laying',
    'bring': 'bringing', 'transfer': 'transferring', 'get': 'getting', 'rest': 'resting',
    'nudge': 'nudging', 'drag': 'dragging', 'point': 'pointing',
}  # fmt: skip
# Every word that is said to a policy here.
VOCABULARY = frozenset(
    word
    for texts in (
        *TEMPLATES.values(), *VARIED_TEMPLATES.values(), *HELD_OUT_TEMPLATES.values(),
        *NAMES.values(), _FILLERS, _ORDERS, _HELD_OUT_ORDERS, JOINERS, HELD_OUT_JOINERS,
        _TOGETHER_VERBS, _TOGETHER_JOINERS, NAMES, GERUNDS.values(), COLOURS, SHAPE_HEIGHTS,
        DIRECTIONS,
    )
    for text in texts
    for word in re.findall(r'\w+', re.sub(r'{\w*}', '', text))
)  # fmt: skip
_SYNONYM_CHANCE, _ORDER_CHANCE, _TOGETHER_CHANCE = 0.4, 0.4, 0.15


def describe(goal: Goal, rng: np.random.Generator | None = None, words: str = TRAINED) -> str:
    """Return an instruction for a goal.

    The draws depend on the kind of goal only: the same random numbers give the same wording for
    other objects.

    Args:
        goal: what to say.
        rng: draws the wording; None: the plain one.
        words: one of JUDGED_WORDS.

    Raises:
        VLAAdapterError: no such words.
    """
    if words not in JUDGED_WORDS:
        raise VLAAdapterError(f'words {words!r} are unknown; expected {", ".join(JUDGED_WORDS)}')
    if rng is None:
        text = _sentence(goal, None, TEMPLATES, JOINERS)
        return _renamed(text, None) if words == SYNONYM else text
    two = isinstance(goal, Sequence) and len(goal.goals) == 2
    if words == HELD_OUT:
        if two and rng.random() < _ORDER_CHANCE:
            return _two_clauses(goal, rng, _HELD_OUT_ORDERS)
        return _sentence(goal, rng, HELD_OUT_TEMPLATES, HELD_OUT_JOINERS)
    text = _sentence(goal, rng, _VARIED if words == VARIED else TEMPLATES, JOINERS)
    if words == SYNONYM:
        return _renamed(text, rng)
    if words == MISSPELLED:
        return with_error(text, rng)
    if words == TRAINED:
        return text
    if two:
        chance = float(rng.random())
        if chance < _ORDER_CHANCE:
            text = _two_clauses(goal, rng, _ORDERS)
        elif chance > 1 - _TOGETHER_CHANCE and all(isinstance(g, Place) for g in goal.goals):
            text = _together(goal, rng)
    text = _FILLERS[int(rng.integers(len(_FILLERS)))].format(text)
    return _renamed(text, rng) if rng.random() < _SYNONYM_CHANCE else text


def _sentence(
    goal: Goal,
    rng: np.random.Generator | None,
    templates: dict[type, tuple[str, ...]],
    joiners: tuple[str, ...],
) -> str:
    if isinstance(goal, Sequence):
        joiner = joiners[0] if rng is None else joiners[int(rng.integers(len(joiners)))]
        return joiner.join(_sentence(part, rng, templates, joiners) for part in goal.goals)
    kinds = templates[type(goal)]
    template = kinds[0] if rng is None else kinds[int(rng.integers(len(kinds)))]
    return template.format(**vars(goal))


def _two_clauses(goal: Sequence, rng: np.random.Generator, orders: tuple[str, ...]) -> str:
    first, second = (_sentence(part, rng, _VARIED, JOINERS) for part in goal.goals)
    order = orders[int(rng.integers(len(orders)))]
    return order.format(
        first=first, second=second, doing_first=_doing(first), doing_second=_doing(second)
    )


def _together(goal: Sequence, rng: np.random.Generator) -> str:
    form, verb, joiner = (
        options[int(rng.integers(len(options)))]
        for options in (_TOGETHER, _TOGETHER_VERBS, _TOGETHER_JOINERS)
    )
    first, second = (vars(part)['target'] for part in goal.goals)
    return form.format(verb=verb, first=first, joiner=joiner, second=second)


def _doing(clause: str) -> str:
    """Return a clause as one that follows 'after': its verbs as gerunds."""
    return ' and '.join(
        ' '.join([GERUNDS[part.split()[0]], *part.split()[1:]]) for part in clause.split(' and ')
    )


def _renamed(text: str, rng: np.random.Generator | None) -> str:
    for name, synonyms in NAMES.items():
        number = 0 if rng is None else int(rng.integers(len(synonyms)))
        text = text.replace(name, synonyms[number])
    return text
