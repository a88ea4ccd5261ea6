# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""AdamW over fp32 master weights, and an optional moving average of the weights.

Precision. Every parameter that trains is stored in float32 and computed with under bf16 autocast.
bf16 has 8 bits of mantissa: at lr 1e-4 an AdamW step is about 1e-4, while a weight of 0.05 can
only move in steps of 2.4e-4, so with bf16 storage (the official code) most updates round to
nothing. Frozen weights are never updated and may be stored in bf16. The cost is small: LoRA at
rank 64, the ActionQueries and the policy are about a quarter of the model.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from vla_adapter_ros.training.config import OptimizerConfig

NamedParameters = list[tuple[str, nn.Parameter]]


def trainable(module: nn.Module) -> NamedParameters:
    """Return the parameters that train, with their names, in the module's order."""
    return [(n, p) for n, p in module.named_parameters() if p.requires_grad]


def parameter_groups(
    named: NamedParameters, config: OptimizerConfig, is_backbone: Iterable[str] = ()
) -> list[dict[str, object]]:
    """Return AdamW groups by learning rate (policy or backbone) and weight decay.

    Args:
        named: the trainable parameters.
        config: rates and decay. Without `decay_all` only matrices decay.
        is_backbone: names of the parameters that get `backbone_lr`.
    """
    backbone = set(is_backbone)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        lr = config.backbone_lr if name in backbone and config.backbone_lr else config.lr
        decays = config.decay_all or parameter.ndim >= 2
        key = (lr, config.weight_decay if decays else 0.0)
        groups.setdefault(key, []).append(parameter)
    return [
        {'params': members, 'lr': lr, 'peak_lr': lr, 'weight_decay': decay}
        for (lr, decay), members in groups.items()
    ]


def make_adamw(
    groups: list[dict[str, object]], config: OptimizerConfig, fused: bool
) -> torch.optim.AdamW:
    """Return AdamW; `fused` runs the whole update in one kernel (CUDA and CPU)."""
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=fused)


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set every group's rate to `factor` times its peak; return the first group's rate."""
    for group in optimizer.param_groups:
        group['lr'] = group['peak_lr'] * factor
    return float(optimizer.param_groups[0]['lr'])


class WeightAverage:
    """Exponential moving average of the trained weights, in float32.

    The decay warms up as (1 + n) / (10 + n), so that the random start is forgotten.
    """

    def __init__(self, named: NamedParameters, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.shadow = {n: p.detach().float().clone() for n, p in named}

    @torch.no_grad()
    def update(self, named: NamedParameters) -> None:
        """Move the average towards the present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        shadow = [self.shadow[n] for n, _ in named]
        torch._foreach_lerp_(shadow, [p.detach().float() for _, p in named], 1 - decay)

    def swapped(self, named: NamedParameters) -> _Swapped:
        """Return a context in which the model holds the averaged weights."""
        return _Swapped(self.shadow, named)

    def state_dict(self) -> dict[str, object]:
        """Return what `load_state_dict` needs."""
        return {'updates': self.updates, 'shadow': self.shadow}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore a saved average."""
        self.updates = int(state['updates'])  # type: ignore[call-overload]
        for name, value in state['shadow'].items():  # type: ignore[attr-defined]
            self.shadow[name].copy_(value)


class _Swapped:
    def __init__(self, shadow: dict[str, torch.Tensor], named: NamedParameters) -> None:
        self._shadow, self._named = shadow, named

    @torch.no_grad()
    def __enter__(self) -> None:
        self._kept = [p.detach().clone() for _, p in self._named]
        for name, parameter in self._named:
            parameter.copy_(self._shadow[name])

    @torch.no_grad()
    def __exit__(self, *_: object) -> None:
        for (_, parameter), kept in zip(self._named, self._kept, strict=True):
            parameter.copy_(kept)
