# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Muon for the matrices of language model, projector and policy; AdamW for everything else.

Muon steps along the momentum with all its singular values brought near one, so that no direction
of a matrix learns slowly because another one dominates its gradient (Jordan et al. 2024). The step
is scaled to the size that AdamW's has (0.2 a weight; Liu et al. 2025, arXiv 2502.16982), so one
learning rate serves both. `torch.optim.Muon` takes one matrix after the other, in bfloat16, which
a small network on a CPU pays for; this one takes all matrices of a shape in one batched product.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
UPDATE_SIZE = 0.2  # root mean square of AdamW's step, in learning rates
# Jordan's polynomial 3.4445 x - 4.7750 x³ + 2.0315 x⁵: five times, it brings singular values of
# 0.01 to 1 between 0.68 and 1.14.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5

_PARTS = ('projector.', 'language_model.', 'policy.')


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon trains a parameter of `VLAAdapter`: a linear layer's, of no encoder."""
    return parameter.ndim == 2 and name.startswith(_PARTS) and 'embed' not in name


class MuonAdamW(torch.optim.AdamW):
    """AdamW whose groups with `muon: true` follow Muon.

    State of a Muon parameter: `exp_avg`, its momentum, and `step` as AdamW counts it.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step of all groups."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group['muon']]
        try:
            result = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group['muon']:
                self._muon_step(group)
        return result

    @torch.no_grad()
    def _muon_step(self, group: dict[str, Any]) -> None:
        shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for parameter in group['params']:
            if parameter.grad is not None:
                shapes[parameter.shape].append(parameter)
        for shape, parameters in shapes.items():
            torch._foreach_mul_(parameters, 1 - group['lr'] * group['weight_decay'])
            ahead = torch.stack([self._momentum(parameter) for parameter in parameters])
            rate = group['lr'] * UPDATE_SIZE * math.sqrt(max(shape))
            torch._foreach_add_(parameters, list(orthogonal(ahead)), alpha=-rate)

    def _momentum(self, parameter: nn.Parameter) -> Tensor:
        """Move a parameter's momentum; return it as Nesterov looks ahead."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if not state:
            state['exp_avg'] = torch.zeros_like(parameter)
            state['step'] = torch.zeros(())
        state['step'] += 1
        momentum = state['exp_avg'].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(momentum, MOMENTUM)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices (N, R, C) with their singular values near one, directions kept.

    Five Newton-Schulz iterations; a matrix of zeros stays one.
    """
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = wide / (torch.linalg.matrix_norm(wide, keepdim=True) + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide is matrices else x.mT
