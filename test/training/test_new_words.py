# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Words that a checkpoint did not know before it is trained further."""

from __future__ import annotations

import torch

from support.model_cases import tiny_config
from support.training_samples import SMALL, config, make_dataset
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.processing.tokenizer import UNKNOWN, Tokenizer
from vla_adapter_ros.training import train
from vla_adapter_ros.training.batches import with_word
from vla_adapter_ros.training.model_setup import learn_words

OLD, NEW = 'put the red block on the plate', 'Put the red can on the dish, please'


def small(tokenizer):
    config = tiny_config().override(vocab_size=tokenizer.vocab_size)
    return VLAAdapter.from_config(config)


def test_new_words_get_ids_and_embeddings_of_their_own_and_known_ones_keep_theirs(tmp_path):
    tokenizer = Tokenizer.from_texts([OLD])
    model = small(tokenizer)
    before = model.decoder.embed_tokens.weight.detach().clone()
    grown = learn_words(model, tokenizer, [OLD, NEW])
    assert tokenizer.unknown_words(NEW) == ['can', 'dish', ',', 'please']
    assert grown.unknown_words(NEW) == []
    assert grown.encode(OLD) == tokenizer.encode(OLD)
    table = model.decoder.embed_tokens.weight
    assert torch.equal(table[: len(before)], before)
    fresh = table[len(before) :]
    assert len(fresh) == 4  # can, dish, please and the comma
    assert (fresh.std(1) > 0.001).all()
    # The checkpoint says its size.
    model.save_pretrained(tmp_path)
    grown.save(tmp_path)
    again = VLAAdapter.from_pretrained(tmp_path)
    assert torch.equal(again.decoder.embed_tokens.weight, table)
    assert Tokenizer.from_directory(tmp_path).encode(NEW) == grown.encode(NEW)


def test_without_new_words_nothing_changes():
    tokenizer = Tokenizer.from_texts([OLD])
    model = small(tokenizer)
    before = model.decoder.embed_tokens
    assert learn_words(model, tokenizer, [OLD.upper()]).vocab_size == tokenizer.vocab_size
    assert model.decoder.embed_tokens is before


def test_policy_knows_the_words_of_its_trainings_and_no_others_of_its_list(tmp_path):
    def trained(name, instruction, *settings):
        data = make_dataset(tmp_path / f'data_{name}', texts=[instruction])
        out = train.run(config(data, tmp_path / name, 'steps=1', SMALL[0], *settings))
        return out, Policy.from_pretrained(out, device='cpu').unknown_words

    first, unknown = trained('first', 'open the drawer')
    assert unknown('gently open the blue drawer') == ['gently', 'blue']
    start = ('start.kind=checkpoint', f'start.path={first}')
    _, unknown = trained('second', 'close the blue lid', *start)
    assert unknown('gently open and close the blue drawer') == ['gently', 'and']


def test_an_unknown_word_is_put_anywhere_in_an_instruction_and_is_none_of_the_list():
    texts = {with_word('reach it', UNKNOWN) for _ in range(40)}
    assert texts == {'<unk> reach it', 'reach <unk> it', 'reach it <unk>'}
    tokenizer = Tokenizer.from_texts([OLD])
    assert tokenizer.encode('reach <unk> it') == tokenizer.encode('reach xylophone it')
