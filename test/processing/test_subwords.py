# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Words of training with a token each, all others spelled by pieces."""

from __future__ import annotations

import string
import subprocess
import sys

import pytest

from vla_adapter_ros.errors import InstructionError
from vla_adapter_ros.processing.prompt import build_prompt, clean_instruction
from vla_adapter_ros.processing.tokenizer import UNKNOWN, Tokenizer

TEXTS = ['Pick up the red block', 'put it on the blue plate, please', 'shift the blocks']


@pytest.fixture(scope='module')
def subwords():
    return Tokenizer.subwords(TEXTS)


def pieces(tokenizer, text):
    first, end = tokenizer.pieces
    return [first <= token < end for token in tokenizer.encode(text)]


def test_a_sentence_of_known_words_has_the_tokens_that_a_word_list_gives_it(subwords):
    words = Tokenizer.from_texts(TEXTS)
    for text in TEXTS:
        prompt = build_prompt(text, 'plain')
        assert len(subwords.encode(prompt)) == len(words.encode(prompt))
        assert not any(pieces(subwords, prompt))
        assert subwords.unknown_words(text) == []


@pytest.mark.parametrize('word', ['onion', 'blocky', 'x', '789', "o'clock", 'a' * 490, '%'])
def test_an_unknown_word_is_spelled_from_its_beginning_and_named(subwords, word):
    text = f'put the {word} on the plate'
    before, after = subwords.encode('put the'), subwords.encode('on the plate')
    ids = subwords.encode(text)
    assert (ids[: len(before)], ids[-len(after) :]) == (before, after)
    # One token that begins a word, then only pieces: "onion" is not the known word "on" and more.
    begin, *rest = pieces(subwords, text)[len(before) : -len(after)]
    assert not begin
    assert rest and all(rest)
    assert subwords.unknown_words(text) == [word]


def test_different_unknown_words_differ_and_none_is_lost(subwords):
    texts = ['onion', 'noino', 'carrot', *string.punctuation.replace(',', ''), *string.digits]
    spelled = {tuple(subwords.encode(text)) for text in texts}
    assert len(spelled) == len(texts)
    assert subwords._implementation.token_to_id(UNKNOWN) is None


def test_common_pieces_of_words_are_one_token(subwords):
    # "block" and "blocks" share one, so "blockish" needs fewer tokens than letters.
    assert len(subwords.encode('blockish')) <= len(['start', 'block', 'i', 's', 'h'])


def test_a_known_word_has_a_spelling_without_its_own_token(subwords):
    (block,) = subwords.encode('block')
    begin, *spelled = subwords.spellings[block]
    first, end = subwords.pieces
    assert begin == first - 1
    assert spelled and all(first <= token < end for token in spelled)
    assert len(subwords.spellings) == len(subwords.words)


def test_new_words_get_ids_at_the_end(subwords):
    grown = subwords.with_words(['Put the ONION on the plate'])
    assert grown.encode('onion') == [subwords.vocab_size]
    assert grown.unknown_words('the onion ring') == ['ring']
    assert grown.encode('put the plate') == subwords.encode('put the plate')
    assert grown.pieces == subwords.pieces
    assert len(grown.spellings[subwords.vocab_size]) > 1


def test_characters_that_have_no_piece_are_refused(subwords):
    with pytest.raises(InstructionError, match=r"'ü' \(U\+00FC\)"):
        clean_instruction('den würfel', subwords)
    german = Tokenizer.subwords(['den würfel'])
    assert clean_instruction('den würfel', german) == 'den würfel'
    assert german.unknown_words('den würfel') == []


def test_ids_survive_the_checkpoint_and_are_the_same_in_every_process(subwords, tmp_path):
    subwords.save(tmp_path)
    again = Tokenizer.from_directory(tmp_path)
    text = build_prompt('put the purple thing into the bin', 'plain')
    assert again.encode(text) == subwords.encode(text)
    assert (again.words, again.pieces, again.spellings) == (
        subwords.words, subwords.pieces, subwords.spellings,
    )  # fmt: skip
    (tmp_path / 'other').mkdir()
    make = (
        'import sys; from vla_adapter_ros.processing.tokenizer import Tokenizer; '
        f'Tokenizer.subwords({TEXTS[::-1]!r}).save(sys.argv[1])'
    )
    subprocess.run([sys.executable, '-c', make, tmp_path / 'other'], check=True)
    one, other = (place / 'tokenizer.json' for place in (tmp_path, tmp_path / 'other'))
    assert one.read_bytes() == other.read_bytes()


def test_other_tokenizers_have_no_pieces():
    words = Tokenizer.from_texts(TEXTS)
    assert (words.pieces, words.spellings) == ((0, 0), {})
