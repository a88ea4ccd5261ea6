# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Errors of typing, as people make them."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.processing.spelling import misspelled, with_error


def variants(word):
    rng = np.random.default_rng(0)
    return {misspelled(word, rng) for _ in range(2000)}


def test_an_error_is_one_letter_and_every_kind_comes():
    found = variants('block')
    assert {'bllock', 'blck', 'blcok', 'blocj'} <= found
    assert 'block' not in found
    assert {len(word) for word in found} == {4, 5, 6}


@pytest.mark.parametrize('word', ['ball', 'the', 'zoo', 'würfel'])
def test_a_word_never_stays_as_it_is(word):
    assert word not in variants(word)


@pytest.mark.parametrize('word', ['on', ',', '12345', "o'clock"])
def test_what_is_no_long_enough_word_stays_as_it_is(word):
    assert variants(word) == {word}


def test_a_sentence_gets_one_error():
    rng = np.random.default_rng(1)
    text = 'put the red block on the plate'
    for _ in range(100):
        changed = with_error(text, rng).split()
        assert sum(a != b for a, b in zip(changed, text.split(), strict=True)) == 1
    assert with_error('go on', rng) == 'go on'
