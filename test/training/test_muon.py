# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Muon: steps of full rank for matrices, AdamW as it is for everything else."""

from __future__ import annotations

import pytest
import torch

from vla_adapter_ros.model import VLAAdapter, VLAAdapterConfig
from vla_adapter_ros.training.config import OptimizerConfig
from vla_adapter_ros.training.muon import is_matrix, orthogonal
from vla_adapter_ros.training.optimizer import make_optimizer, parameter_groups, trainable


@pytest.mark.parametrize('shape', [(6, 6), (4, 12), (12, 4)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    generator = torch.Generator().manual_seed(1)
    u, _, vh = torch.linalg.svd(torch.randn(3, *shape, generator=generator), full_matrices=False)
    values = torch.logspace(0, -2, min(shape))
    result = orthogonal(u * values @ vh)
    in_its_directions = u.mT @ result @ vh.mT
    found = torch.diagonal(in_its_directions, dim1=1, dim2=2)
    assert found.min() > 0.65
    assert found.max() < 1.25
    assert (in_its_directions - torch.diag_embed(found)).abs().max() < 1e-4


def test_a_matrix_without_gradient_stays_zero():
    assert not orthogonal(torch.zeros(2, 3, 4)).any()


def named(weights):
    made = {name: torch.nn.Parameter(value.clone()) for name, value in weights.items()}
    return list(made.items())


def test_a_step_is_the_one_that_torch_makes_of_each_matrix_alone():
    generator = torch.Generator().manual_seed(2)
    shapes = {'policy.a': (8, 8), 'policy.b': (8, 8), 'projector.c': (6, 16)}
    weights = {n: torch.randn(*s, generator=generator) for n, s in shapes.items()}
    config = OptimizerConfig(kind='muon', lr=1e-2, weight_decay=0.1)
    ours, theirs = named(weights), named(weights)
    optimizer = make_optimizer(parameter_groups(ours, config), config, fused=True)
    reference = torch.optim.Muon(
        [p for _, p in theirs], lr=1e-2, weight_decay=0.1, adjust_lr_fn='match_rms_adamw'
    )
    for _ in range(3):
        for (name, mine), (_, other) in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(*shapes[name], generator=generator)
            other.grad = mine.grad.clone()
        optimizer.step()
        reference.step()
    for (name, mine), (_, other) in zip(ours, theirs, strict=True):
        moved = (other - weights[name]).norm()
        assert (mine - other).norm() < 0.02 * moved, name  # theirs is rounded to bfloat16
        assert moved > 0.02


def test_everything_else_follows_adamw_exactly():
    def trained(kind):
        torch.manual_seed(0)
        model = VLAAdapter.from_config(VLAAdapterConfig.tiny())
        config = OptimizerConfig(kind=kind, lr=1e-3)
        optimizer = make_optimizer(parameter_groups(trainable(model), config), config, fused=True)
        for _ in range(2):  # the same gradients for both
            for index, parameter in enumerate(model.parameters()):
                generator = torch.Generator().manual_seed(index)
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()
        return dict(model.named_parameters())

    plain, mixed = trained('adamw'), trained('muon')
    matrices = {name for name, parameter in plain.items() if is_matrix(name, parameter)}
    assert {name.split('.')[0] for name in matrices} == {'projector', 'language_model', 'policy'}
    assert not any('embed' in name for name in matrices)
    for name, value in plain.items():
        assert torch.equal(value, mixed[name]) == (name not in matrices), name
