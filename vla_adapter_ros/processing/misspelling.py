# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Words as people mistype them, to train with and to judge with."""

from __future__ import annotations

import numpy as np

# Shorter words are mistyped, too, but what is left of them says little.
SHORTEST = 3
# What lies beside each letter of a keyboard.
_ROWS = ('qwertyuiop', 'asdfghjkl', 'zxcvbnm')
_BESIDE = {
    letter: row[max(at - 1, 0) : at] + row[at + 1 : at + 2]
    for row in _ROWS
    for at, letter in enumerate(row)
}


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
