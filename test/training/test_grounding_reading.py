# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A sentence reader learns from text alone what instructions ask for, in the order of the acts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from support.training_samples import SMALL, squares
from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.model import VLAAdapter, VLAAdapterConfig
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.simulation.goals import Move, Place, Reach, Sequence, Stack
from vla_adapter_ros.simulation.wordings import HELD_OUT, VARIED, describe
from vla_adapter_ros.training.config import load_config
from vla_adapter_ros.training.experiments.grounding.loss import WEIGHTS, load_grounded
from vla_adapter_ros.training.experiments.grounding.pretrain import (
    Grounder,
    GroundingSettings,
    ground,
)
from vla_adapter_ros.training.experiments.grounding.reading import (
    ADJECTIVES,
    NOUNS,
    SLOTS,
    ReadingLesson,
    random_goal,
    slot_labels,
)
from vla_adapter_ros.training.model_setup import network_config
from vla_adapter_ros.weights.tensors import open_safetensors

READER = (*SMALL, 'model.film_segment_tokens=0', f'model.film_slots={SLOTS}')


def sentences(count=3000):
    rng = np.random.default_rng(0)
    return [describe(random_goal(rng), rng, words) for words in (VARIED, HELD_OUT)
            for _ in range(count)]  # fmt: skip


def lesson(tokenizer=None, **fields):
    tokenizer = tokenizer or Tokenizer.from_texts(sentences())
    config = VLAAdapterConfig.tiny(use_film=True, **{'film_slots': SLOTS, **fields})
    torch.manual_seed(0)
    model = VLAAdapter.from_config(config)
    model.decoder.embed_tokens = torch.nn.Embedding(tokenizer.vocab_size, config.language.hidden)
    return ReadingLesson(model, tokenizer, 'qwen_chat')


def words_of(goal):
    names = [f'{ADJECTIVES[a]} {NOUNS[n]}'.strip() for a, n in slot_labels(goal)]
    assert len(names) == SLOTS
    return names


def test_slots_are_objects_and_destinations_in_the_order_of_the_acts():
    red, blue = Place('red block'), Stack('blue block', 'green block')
    assert words_of(Sequence((red, blue))) == ['red block', 'plate', 'blue block', 'green block']
    assert words_of(Move('yellow block', 'left')) == ['yellow block', 'left', '', '']
    assert words_of(Reach('red ball')) == ['red ball', '', '', '']


def test_a_reader_learns_from_sentences_drawn_anew():
    student = lesson()
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    rng, losses = np.random.default_rng(1), []
    for _ in range(40):
        loss = student.loss(*student.draw(16, rng, unknown=0.3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_a_sentence_is_read_right_if_all_its_slots_are():
    student = lesson()
    ids, mask, _ = student.draw(8, np.random.default_rng(4))
    read = torch.stack([scores.argmax(-1) for scores in student.scores(ids, mask)], dim=-1)
    assert student.read_right(ids, mask, read) == 1.0
    read[:2, SLOTS - 1, 1] += 1
    assert student.read_right(ids, mask, read) == 0.75


def test_unknown_words_take_the_place_of_those_that_tell_nothing():
    student = lesson()
    plain = student.draw(200, np.random.default_rng(3))
    blurred = student.draw(200, np.random.default_rng(3), unknown=1.0)
    unknown = student._tokenizer.encode('<unk>')[0]
    count = [int((ids == unknown).sum()) for ids, *_ in (plain, blurred)]
    assert count[1] > count[0] + 200
    red = student._tokenizer.encode('red')[0]
    assert (blurred[0] == red).any()


def test_sentences_of_unknown_things_are_not_drawn_and_none_at_all_is_refused(monkeypatch):
    known = [text for text in sentences(400) if 'spoon' not in text]
    student = lesson(Tokenizer.from_texts(known))
    _, _, labels = student.draw(100, np.random.default_rng(0))
    assert NOUNS.index('spoon') not in labels and NOUNS.index('block') in labels
    monkeypatch.setattr(Tokenizer, 'unknown_words', lambda self, text: [text])
    with pytest.raises(ConfigError, match='hardly any'):
        student.draw(2, np.random.default_rng(0))


def test_a_network_without_the_slots_is_refused():
    with pytest.raises(ConfigError, match=r'model\.film_slots: got 2'):
        lesson(film_slots=2)


def test_grounding_teaches_reading_first_and_keeps_it(tmp_path, capsys):
    texts = tuple(sentences(20))
    scenes = squares(40)
    names = [[*group[:-1], texts[i]] for i, group in enumerate(scenes.instructions)]
    scenes = type(scenes)(scenes.images, scenes.points[:, :, :, [0, 1, 0, 0]], names)
    settings = GroundingSettings(steps=2, every=2, reading_steps=2)
    config = load_config(None, READER)
    ground(config, scenes, tmp_path, settings)
    assert 'read, held_out' in capsys.readouterr().err
    last = json.loads((tmp_path / 'grounding.jsonl').read_text().splitlines()[-1])
    assert last['step'] == 2 and 0 <= last['second_found'] <= 1
    stored = open_safetensors(tmp_path / WEIGHTS)
    assert any(name.startswith('sentence_reader.') for name in stored)
    grounder = Grounder(config, scenes, settings)
    sizes = {'num_images': 2, 'vocab_size': grounder.batches.tokenizer.vocab_size}
    model = VLAAdapter.from_config(network_config(config.model, **sizes))
    load_grounded(model, tmp_path)
    assert not torch.equal(model.sentence_reader.slots, grounder.model.sentence_reader.slots)
