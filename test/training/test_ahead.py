# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Batches are prepared one step ahead, in order, and fail where they are used."""

from __future__ import annotations

import pytest
import torch

from support.training_samples import config, make_dataset
from vla_adapter_ros.training import train, trainer
from vla_adapter_ros.training.ahead import BatchesAhead
from vla_adapter_ros.training.batches import TrainingBatches

CPU = torch.device('cpu')


def prepared(log):
    def prepare(value, number):
        log.append((value, number))
        if value == 'damaged':
            raise ValueError('damaged')
        return {'value': torch.tensor(number), 'scenes': {'points': torch.zeros(2)}}

    return prepare


def test_the_next_batch_is_prepared_before_it_is_asked_for():
    log: list[tuple[str, int]] = []
    batches = BatchesAhead(iter('abc'), prepared(log), CPU)
    seen = []
    for _ in range(3):
        seen.append(int(batches.take()['value']))
        batches.fill()
    assert seen == [0, 1, 2]
    assert log == [('a', 0), ('b', 1), ('c', 2)]
    with pytest.raises(StopIteration):
        batches.take()


def test_a_damaged_batch_ends_its_own_step():
    batches = BatchesAhead(iter(['good', 'damaged']), prepared([]), CPU)
    assert int(batches.take()['value']) == 0
    batches.fill()
    with pytest.raises(ValueError, match='damaged'):
        batches.take()


def test_training_prepares_a_batch_before_the_step_that_uses_it(tmp_path, monkeypatch):
    log = []

    def logged(owner, name, word):
        function = getattr(owner, name)

        def call(*arguments):
            log.append(word)
            return function(*arguments)

        monkeypatch.setattr(owner, name, call)

    logged(trainer, 'set_rate', 'step')
    logged(TrainingBatches, 'prepare', 'prepare')
    logged(trainer.Trainer, '_count_flops', 'use')
    train.run(config(make_dataset(tmp_path / 'pick'), tmp_path / 'run', 'steps=3', 'save.every=3'))
    ahead = ['prepare', 'step']
    assert log == ['step', 'prepare', 'use', *ahead, 'use', *ahead, 'use']
