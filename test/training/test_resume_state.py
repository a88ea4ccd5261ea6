# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The state of an interrupted run: checked before a run goes on from it."""

from __future__ import annotations

import pytest
import torch

from support.foreign_states import STEP, read_run, trainer, write_run
from vla_adapter_ros.errors import CheckpointError


def moments(state):
    return state['optimizer']['state'][0]


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda s: s.update(step=4), 'not the state of a run at this step'),
        (lambda s: s['trained'].update(bias=torch.zeros(1)), 'trained: bias: expected'),
        (lambda s: s['trained'].update(bias=torch.zeros(2).double()), 'trained: bias: expected'),
        (lambda s: moments(s).update(exp_avg=torch.zeros(1)), 'parameter 0: exp_avg: expected'),
        (lambda s: moments(s).pop('step'), "optimizer: parameter 0: other names .* 'step'"),
        (lambda s: s['optimizer']['param_groups'].pop(), 'not of the parameters that train'),
        (lambda s: s.update(average=None), 'average: other names'),
        (lambda s: s.pop('optimizer'), 'cannot be read: KeyError'),
    ],
)
def test_a_state_that_does_not_fit_is_refused_by_name(tmp_path, change, reason):
    (file,) = write_run(tmp_path)
    state = torch.load(file)
    change(state)
    torch.save(state, file)
    with pytest.raises(CheckpointError, match=reason):
        read_run(tmp_path)


def test_rates_and_decay_are_those_of_the_recipe_not_of_the_file(tmp_path):
    (file,) = write_run(tmp_path)
    state = torch.load(file)
    before = [dict(group) for group in trainer().optimizer.param_groups]
    for group in state['optimizer']['param_groups']:
        group.update(lr='x', weight_decay=1e9)
    torch.save(state, file)
    trainer().resume(tmp_path / STEP)
    after = trainer().optimizer.param_groups
    for key in ('lr', 'peak_lr', 'weight_decay', 'betas'):
        assert [g[key] for g in after] == [g[key] for g in before]
