# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Vocabularies of words and of pieces that spell every other word.

A word of training is one token, so its sentences read as with a word list. Any other word is
`WORD_START` and its pieces: byte pairs that at least two words share, or single characters. Their
ids lie between those of the marks and those of the words, which can be added to at the end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

WORD_START = '▁'
MOST_PIECES = 1000
PRINTABLE = [chr(code) for code in range(0x21, 0x7F) if chr(code) == chr(code).lower()]


def build(marks: Sequence[str], words: Sequence[str], examples: Sequence[str], word: str) -> Any:
    """Return a tokenizer of the library with ids for marks, pieces and words, in this order.

    The same words give the same ids, on every machine.

    Args:
        marks: the special tokens.
        words: get a token each.
        examples: more words to learn pieces from.
        word: regular expression of a word.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

    pieces, merges = _pieces(sorted({*words, *examples}))
    tokens = [*marks, WORD_START, *pieces, *(WORD_START + w for w in sorted(words))]
    # A word that has a token is looked up (`ignore_merges`), the others are merged from letters;
    # no merge takes in WORD_START, so that no unknown word begins with the token of a known one.
    model = models.BPE({token: i for i, token in enumerate(tokens)}, merges, ignore_merges=True)
    implementation = Tokenizer(model)
    implementation.normalizer = normalizers.Lowercase()
    split = pre_tokenizers.Split(Regex(word), behavior='removed', invert=True)
    begin = pre_tokenizers.Metaspace(WORD_START, prepend_scheme='always', split=False)
    implementation.pre_tokenizer = pre_tokenizers.Sequence([split, begin])
    implementation.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    return implementation


def _pieces(words: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return pieces in the order of their ids, and the pairs that are merged into them."""
    from tokenizers import Tokenizer, models, trainers

    learner = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=MOST_PIECES, min_frequency=2, show_progress=False, initial_alphabet=PRINTABLE
    )
    learner.train_from_iterator(words, trainer)
    model = json.loads(learner.to_str())['model']
    pieces = sorted(model['vocab'], key=lambda piece: model['vocab'][piece])
    return pieces, [(first, second) for first, second in model['merges']]


def spellings(implementation: Any) -> dict[int, list[int]]:
    """Return the ids that each word with a token would have without it, by its id."""
    from tokenizers import Tokenizer

    speller = Tokenizer.from_str(implementation.to_str())
    speller.model.ignore_merges = False
    return {
        token: speller.encode(text[len(WORD_START) :]).ids
        for text, token in implementation.get_vocab().items()
        if text.startswith(WORD_START) and text != WORD_START
    }
