# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`data.instruction_pattern` chooses episodes by instruction, and nothing else changes."""

from __future__ import annotations

import pytest

from support.training_samples import TEXTS, config, make_dataset
from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.training.assembly import build_setup


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'mixed', episodes=12)


def instructions(setup) -> set[str]:
    mixture = setup.mixture.datasets[0]
    return set(mixture.batch(range(len(mixture))).instructions)


def test_only_matching_episodes_are_trained_and_validated_on(dataset, tmp_path):
    everything = build_setup(config(dataset, tmp_path), progress=False)
    pattern = 'data.instruction_pattern=^(reach|move)'
    chosen = build_setup(config(dataset, tmp_path, pattern), progress=False)
    assert instructions(everything) == set(TEXTS)
    assert instructions(chosen) == {'reach the ball', 'move left'}
    assert len(chosen.mixture.datasets[0]) < len(everything.mixture.datasets[0])


def test_statistics_and_vocabulary_stay_those_of_all_episodes(dataset, tmp_path):
    everything = build_setup(config(dataset, tmp_path), progress=False)
    pattern = 'data.instruction_pattern=ball'
    chosen = build_setup(config(dataset, tmp_path, pattern), progress=False)
    (used,), (whole,) = chosen.statistics.values(), everything.statistics.values()
    assert used.to_dict() == whole.to_dict()
    assert chosen.pipeline.tokenizer.vocab_size == everything.pipeline.tokenizer.vocab_size


@pytest.mark.parametrize(('pattern', 'says'), [('fly', 'no instruction'), ('(', 'regular')])
def test_a_choice_that_leaves_nothing_is_refused(dataset, tmp_path, pattern, says):
    made = config(dataset, tmp_path, f'data.instruction_pattern={pattern}')
    with pytest.raises(ConfigError, match=f'data.instruction_pattern.*{says}'):
        build_setup(made, progress=False)
