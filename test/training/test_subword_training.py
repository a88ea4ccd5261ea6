# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Training a policy that spells the words it does not know."""

from __future__ import annotations

import pytest
import torch

from support import data_samples
from support.training_samples import SMALL, TEXTS, config, make_dataset, squares
from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.training import train
from vla_adapter_ros.training.assembly import build_setup
from vla_adapter_ros.training.batches import LONGEST_MADE_UP
from vla_adapter_ros.training.config import load_config
from vla_adapter_ros.training.experiments.grounding.pretrain import GroundingSettings, ground
from vla_adapter_ros.weights.directory import read_checkpoint_metadata

SUBWORDS = ('tokenizer=subwords', 'data.augment=false', SMALL[0])


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'pick')


@pytest.fixture(scope='module')
def checkpoint(dataset, tmp_path_factory):
    said = (*SUBWORDS, 'data.spelled_words=0.3', 'data.unknown_words=0.5', 'steps=2')
    return train.run(config(dataset, tmp_path_factory.mktemp('run'), *said))


def test_the_policy_reads_every_word_and_names_those_that_training_had_not(checkpoint):
    policy = Policy.from_pretrained(checkpoint, device='cpu')
    assert policy.unknown_words('pick up the red cubes, gently') == ['cubes', ',', 'gently']
    assert policy.unknown_words(' '.join(TEXTS)) == []
    first, second = (
        policy.predict(next(data_samples.observations(1, 0, f'reach the {word}'))).actions
        for word in ('onion', 'carrot')
    )
    assert abs(first - second).max() > 0  # with a word list both were one unknown word
    metadata = read_checkpoint_metadata(checkpoint)
    assert metadata.config.film_pieces == policy.pipeline.tokenizer.pieces


def test_spelled_and_unknown_words_come_into_training_prompts_and_into_no_others(
    dataset, tmp_path
):
    def prompts(training, *said):
        setup = build_setup(config(dataset, tmp_path, *SUBWORDS, *said), False)
        samples = setup.mixture.datasets[0].batch([0, 1])
        ids = setup.collate(samples, torch.device('cpu'), training)['input_ids']
        first, end = setup.pipeline.tokenizer.pieces
        plain = [list(setup.pipeline.prompt_ids(text)) for text in samples.instructions]
        return ids, ((ids >= first) & (ids < end)).sum(1), plain

    for said in ('data.spelled_words=1', 'data.unknown_words=1'):
        ids, spelled, plain = prompts(False, said)
        assert [row[: len(p)].tolist() for row, p in zip(ids, plain, strict=True)] == plain
        assert not spelled.any()
    ids, spelled, plain = prompts(True, 'data.spelled_words=1')
    words = len(plain[0]) - 2  # without the marks
    assert (spelled >= words).all()
    assert not set(ids.flatten().tolist()) & {token for p in plain for token in p[1:-1]}
    _, spelled, _ = prompts(True, 'data.unknown_words=1')
    assert ((spelled > 0) & (spelled <= LONGEST_MADE_UP)).all()


def test_prompts_of_compiled_blocks_have_room_for_spelled_and_unknown_words(dataset, tmp_path):
    said = ('data.spelled_words=1', 'data.unknown_words=1', 'compute.compile=true')
    setup = build_setup(config(dataset, tmp_path, *SUBWORDS, *said), False)
    frames = list(range(len(setup.mixture.datasets[0])))
    batches = [
        setup.collate(setup.mixture.datasets[0].batch(frames), torch.device('cpu'), True)
        for _ in range(5)
    ]
    assert len({batch['input_ids'].shape for batch in batches}) == 1


def test_a_grounded_tokenizer_is_kept_and_learns_the_words_of_the_demonstrations(
    dataset, tmp_path
):
    grounding = load_config(None, (*SMALL, 'tokenizer=subwords'))
    ground(grounding, squares(20), tmp_path / 'g', GroundingSettings(steps=1, batch_size=2))
    start = f'start.grounded={tmp_path / "g"}'
    setup = build_setup(config(dataset, tmp_path / 'run', *SUBWORDS, start), False)
    tokenizer = setup.pipeline.tokenizer
    assert tokenizer.unknown_words('reach the blue block, pick up the cube') == [',']
    assert setup.model.config.language.vocab_size == tokenizer.vocab_size
    assert setup.model.config.film_pieces == tokenizer.pieces != (0, 0)


@pytest.mark.parametrize(
    ('said', 'reason'),
    [
        (('data.spelled_words=0.1',), 'data.spelled_words: got a tokenizer without pieces'),
        (('data.spelled_words=2',), r'data.spelled_words: got 2.*a chance in \[0, 1\]'),
        (('tokenizer=subwords', 'start.kind=checkpoint', 'start.path=x'),
         "tokenizer: got 'subwords'.*start.kind checkpoint keeps the words"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(dataset, tmp_path, said, reason):
    with pytest.raises(ConfigError, match=reason):
        build_setup(config(dataset, tmp_path, *said), False)


def test_grounding_on_a_word_list_does_not_fit_subwords(dataset, tmp_path):
    grounding = load_config(None, SMALL)
    ground(grounding, squares(20), tmp_path / 'g', GroundingSettings(steps=1, batch_size=2))
    said = (*SUBWORDS, f'start.grounded={tmp_path / "g"}')
    with pytest.raises(ConfigError, match=r'tokenizer: got subwords, but start.grounded .*/g'):
        build_setup(config(dataset, tmp_path, *said), False)
