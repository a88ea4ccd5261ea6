# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What an interrupted run goes on from: read without running code, checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, optim

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.training.checkpoints.run_folder import step_of
from vla_adapter_ros.weights.tensors import open_pt


def read_state(checkpoint: Path, name: str) -> dict[str, Any]:
    """Return the state that a run saved in a file of a checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged, or not of this checkpoint's step.
    """
    # Read, not mapped: a network file system keeps the folder of a mapped file when it is removed.
    state = open_pt(checkpoint / name, mmap=False)
    step = state.get('step') if isinstance(state, dict) else None
    if type(step) is not int or step != step_of(checkpoint):
        raise CheckpointError(f'{checkpoint / name}: not the state of a run at this step')
    return dict(state)


def check_tensors(stored: Any, expected: Mapping[str, Tensor], where: str) -> None:
    """Compare stored tensors with those they are for: names, shapes and types.

    Raises:
        CheckpointError: naming the first difference.
    """
    if not isinstance(stored, dict) or set(stored) != set(expected):
        odd = set(stored) ^ set(expected) if isinstance(stored, dict) else ()
        names = sorted(map(repr, odd))[:1]
        raise CheckpointError(f'{where}: other names than this run has {" ".join(names)}'.rstrip())
    for name, tensor in expected.items():
        found, wanted = stored[name], (tuple(tensor.shape), tensor.dtype)
        got = (tuple(found.shape), found.dtype) if isinstance(found, Tensor) else type(found)
        if got != wanted:
            raise CheckpointError(f'{where}: {name}: expected {wanted}, got {got}')


def load_adam(optimizer: optim.Optimizer, stored: Any, where: str) -> None:
    """Give AdamW or Muon its stored moments. Rates, decay and groups stay those of the recipe.

    Raises:
        CheckpointError: the moments are not those of this optimiser's parameters.
    """
    parameters = [
        (p, group.get('muon')) for group in optimizer.param_groups for p in group['params']
    ]
    own = optimizer.state_dict()
    state = stored.get('state') if isinstance(stored, dict) else None
    groups = stored.get('param_groups') if isinstance(stored, dict) else None
    if not isinstance(state, dict) or _members(groups) != _members(own['param_groups']):
        raise CheckpointError(f'{where}: optimizer: not of the parameters that train now')
    for number, moments in state.items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise CheckpointError(f'{where}: optimizer: no parameter {number!r:.40}')
        parameter, muon = parameters[number]
        steps = parameter.detach().new_zeros((), device='cpu').float()
        expected = {'exp_avg': parameter, 'step': steps}
        if not muon:
            expected['exp_avg_sq'] = parameter
        check_tensors(moments, expected, f'{where}: optimizer: parameter {number}')
    optimizer.load_state_dict({'state': state, 'param_groups': own['param_groups']})


def _members(groups: Any) -> Sequence[Any] | None:
    """Return the numbers of the parameters of each group."""
    plain = isinstance(groups, list) and all(isinstance(group, dict) for group in groups)
    return [group.get('params') for group in groups] if plain else None
