# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Words as people mistype them: which known one is meant, and errors to judge with."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

ENDINGS = ('s', 'es', 'd', 'ed', 'ing', 'ly')
# Of shorter words, another letter makes too many others ("more", "them"); of the shortest, any.
SAFE_LENGTH, SHORTEST = 5, 3
# What lies beside each letter of a keyboard.
_ROWS = ('qwertyuiop', 'asdfghjkl', 'zxcvbnm')
_BESIDE = {
    letter: row[max(at - 1, 0) : at] + row[at + 1 : at + 2]
    for row in _ROWS
    for at, letter in enumerate(row)
}


def meant(word: str, known: Collection[str]) -> str:
    """Return the known word that an unknown one is, with an ending or a slip of the keyboard.

    '' if there is none, or more than one.
    """
    found = _stems(word, known) or {other for other in known if one_slip(other, word)}
    return found.pop() if len(found) == 1 else ''


def without_ending(word: str, known: Collection[str]) -> str:
    """Return the known word that a word is with an ending; '' if there is none, or two."""
    found = _stems(word, known)
    return found.pop() if len(found) == 1 else ''


def _stems(word: str, known: Collection[str]) -> set[str]:
    stems = {word.removesuffix(ending) for ending in ENDINGS if word.endswith(ending)}
    return {stem for stem in stems if len(stem) >= SHORTEST and stem in known}


def one_slip(word: str, typed: str) -> bool:
    """Return whether one letter of a word was typed twice, left out, mistaken or swapped.

    It is not the first one, and but for a letter that is there twice the word has SAFE_LENGTH.
    """
    if len(word) < SHORTEST or word[0] != typed[:1]:
        return False
    begin = _shared(word, typed)
    left, right = word[begin:], typed[begin:]
    end = _shared(left[::-1], right[::-1])
    left, right = left[: len(left) - end], right[: len(right) - end]
    twice = not left and right == typed[begin - 1]
    swapped = len(left) == 2 and left == right[::-1]
    one = max(len(left), len(right)) == 1
    return twice or (len(word) >= SAFE_LENGTH and (one or swapped))


def _shared(first: str, second: str) -> int:
    """Return how many letters two words begin with alike."""
    pairs = enumerate(zip(first, second))
    return next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))


def misspelled(word: str, rng: np.random.Generator) -> str:
    """Return a word with one error of typing: a letter twice, missing, swapped, or its neighbour.

    Args:
        word: lower case; one without letters, or shorter than SHORTEST, is returned as it is.
        rng: draws the error.
    """
    if len(word) < SHORTEST or not word.isalpha():
        return word
    at = int(rng.integers(len(word)))
    before, letter, after = word[:at], word[at], word[at + 1 :]
    beside = _BESIDE.get(letter, letter)
    changed = (
        before + letter + letter + after,
        before + after,
        before + after[:1] + letter + after[1:],
        before + beside[int(rng.integers(len(beside)))] + after,
    )[int(rng.integers(4))]
    # Two equal letters swapped, or the last one with nothing, are no error.
    return changed if changed != word else before + letter + letter + after


def with_error(text: str, rng: np.random.Generator) -> str:
    """Return a text in which one word of SHORTEST letters or more is mistyped."""
    words = text.split(' ')
    able = [at for at, word in enumerate(words) if len(word) >= SHORTEST and word.isalpha()]
    if able:
        at = able[int(rng.integers(len(able)))]
        words[at] = misspelled(words[at], rng)
    return ' '.join(words)
