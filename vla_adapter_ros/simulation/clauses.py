# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From an instruction to its clauses, as plain requests in the order of the acts.

'After putting A on the plate, could you put B there?' becomes 'put A on the plate' and 'put B on
the plate'. What the clauses mean is not known here.
"""

from __future__ import annotations

import re

from vla_adapter_ros.simulation.wordings import GERUNDS

_INFINITIVES = {gerund: verb for verb, gerund in GERUNDS.items()}
_VERB = rf'(?:{"|".join(GERUNDS)})'
# Words that ask, or say how, and not what for.
_POLITE = re.compile(
    r'\b(?:please|kindly|now|just|for me|robot|gently|carefully|slowly|quickly|thanks|thank you|'
    r'hey|hello|okay|ok|(?:could|can|would|will) you(?! mind)|'
    r'i (?:want|need|(?:would|d) like) you to)\b'
)
_WOULD_YOU_MIND = re.compile(r'\b(?:would|do) you mind (\w+ing)\b')
_WORD = r'(?!(?:and|then|next|followed|after|before|on|onto|in|into|inside|there|too)\b)\w+'
_NAMED = rf'(?:the|a) (?:{_WORD} )?{_WORD}'
_WHERE = rf'(?P<on>on|onto|on top of|in|into|inside) (?P<base>{_NAMED})'
# A clause that says when: 'putting A on B', 'you put A on B', 'A is on B'.
_WHEN = r'(?:\w+ing|you|the|a) .+?'
_AFTER, _BEFORE = r'(?:after|once|when|as soon as)', 'before'
# `first`, `second`: the clauses in the order of the acts. With a comma it is clear where one ends.
_ORDERS = tuple(
    re.compile(pattern)
    for gap in (', ', ' ')
    for pattern in (
        rf'{_AFTER} (?P<first>{_WHEN}){gap}(?:then )?(?P<second>{_VERB} .+)',
        rf'{_BEFORE} (?P<second>{_WHEN}){gap}(?P<first>{_VERB} .+)',
        rf'(?P<second>{_VERB} .+?){gap}{_AFTER} (?P<first>{_WHEN})',
        rf'(?P<first>{_VERB} .+?){gap}{_BEFORE} (?P<second>{_WHEN})',
    )
)
_THEN = re.compile(
    r',? (?:and )?(?:then|next(?! to)|after that|afterwards|followed by) |'
    # 'and put B' or 'and B on C', but not the 'and put it' of 'take A and put it on B'.
    rf',? and (?!\w+ it\b)(?={_VERB} |{_NAMED} (?:on|onto|in|into|inside) )'
)
# Two things for one place, which is named once.
_PUT = r'(?P<put>put|place|set|lay|drop)'
_NEXT = r',? (?:(?:and )?(?:then|next|followed by|after that|afterwards)|and) '
_TOGETHER = tuple(
    re.compile(pattern)
    for pattern in (
        rf'{_PUT} (?P<first>{_NAMED}) {_WHERE}{_NEXT}(?P<second>{_NAMED})',
        rf'{_PUT} (?P<first>{_NAMED}){_NEXT}(?P<second>{_NAMED}) {_WHERE}',
    )
)
# 'put B', 'put B there too': where the clause before it says.
_ELSEWHERE = re.compile(rf'{_PUT} (?P<thing>{_NAMED}|it)(?: there)?(?: too| as well)?')


def clauses(text: str) -> list[str]:
    """Return the requests of an instruction, in lower case, in the order of the acts."""
    plain = re.sub(r'[^\w\s,]', ' ', text.lower())
    plain = _WOULD_YOU_MIND.sub(lambda match: _infinitive(match[1]), plain)
    plain = _squeezed(_POLITE.sub(' ', plain)).removeprefix('first ')
    for pattern in _TOGETHER:
        if match := pattern.fullmatch(plain):
            put, where = match['put'], f'{match["on"]} {match["base"]}'
            return [f'{put} {match[name]} {where}' for name in ('first', 'second')]
    for pattern in _ORDERS:
        if match := pattern.fullmatch(plain):
            parts = [_request(match['first']), _request(match['second'])]
            break
    else:
        parts = _THEN.split(plain)
    return _with_places([part for part in map(_bare, parts) if part])


def _request(clause: str) -> str:
    """Return 'put A on B' for 'putting A on B', 'you have put A on B' and 'A is on B'."""
    clause = re.sub(r'^you (?:have )?', '', clause)
    if match := re.fullmatch(rf'(?P<thing>{_NAMED}) (?:is|lies|stands|sits) {_WHERE}', clause):
        return f'put {match["thing"]} {match["on"]} {match["base"]}'
    return ' '.join(_infinitive(word) for word in clause.split())


def _with_places(parts: list[str]) -> list[str]:
    """Complete clauses that leave out what the one before says: the place, or 'put'."""
    where = ''
    for number, part in enumerate(parts):
        if number and re.fullmatch(f'{_NAMED} {_WHERE}', part):
            parts[number] = part = f'put {part}'
        elif where and (match := _ELSEWHERE.fullmatch(part)):
            parts[number] = part = f'{match["put"]} {match["thing"]} {where}'
        match = re.search(rf'\b{_WHERE}$', part)
        where = match[0] if match else ''
    return parts


def _infinitive(word: str) -> str:
    return _INFINITIVES.get(word, word)


def _bare(text: str) -> str:
    return _squeezed(text.replace(',', ' '))


def _squeezed(text: str) -> str:
    return re.sub(r'\s+', ' ', text).strip(' ,')
