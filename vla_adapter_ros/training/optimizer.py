# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""AdamW (or Muon) over fp32 master weights, and an optional moving average of the weights.

Precision. Every parameter that trains is stored in float32 and computed with under bf16 autocast.
bf16 has 8 bits of mantissa: at lr 1e-4 an AdamW step is about 1e-4, while a weight of 0.05 can
only move in steps of 2.4e-4, so with bf16 storage (the official code) most updates round to
nothing. Frozen weights are never updated and may be stored in bf16. The cost is small: LoRA at
rank 64, the ActionQueries and the policy are about a quarter of the model.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vla_adapter_ros.training.config import OptimizerConfig, ScheduleConfig
from vla_adapter_ros.training.muon import MuonAdamW, is_matrix

NamedParameters = list[tuple[str, nn.Parameter]]


def trainable(module: nn.Module) -> NamedParameters:
    """Return the parameters that train, with their names, in the module's order."""
    return [(n, p) for n, p in module.named_parameters() if p.requires_grad]


def parameter_groups(
    named: NamedParameters, config: OptimizerConfig, is_backbone: Iterable[str] = ()
) -> list[dict[str, object]]:
    """Return groups by learning rate (policy or backbone), weight decay and, for Muon, kind.

    Args:
        named: the trainable parameters.
        config: rates and decay. Without `decay_all` only matrices decay.
        is_backbone: names of the parameters that get `backbone_lr`.
    """
    backbone = set(is_backbone)
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in named:
        lr = config.backbone_lr if name in backbone and config.backbone_lr else config.lr
        decays = config.decay_all or parameter.ndim >= 2
        muon = config.kind == 'muon' and is_matrix(name, parameter)
        key = (lr, config.weight_decay if decays else 0.0, muon)
        groups.setdefault(key, []).append(parameter)
    return [
        {'params': members, 'lr': lr, 'peak_lr': lr, 'weight_decay': decay, 'muon': muon}
        for (lr, decay, muon), members in groups.items()
    ]


def make_optimizer(
    groups: list[dict[str, object]], config: OptimizerConfig, fused: bool
) -> torch.optim.AdamW:
    """Return AdamW, with Muon if so configured; `fused`: AdamW in one kernel (CUDA and CPU)."""
    kind = MuonAdamW if config.kind == 'muon' else torch.optim.AdamW
    return kind(groups, lr=config.lr, betas=config.betas, fused=fused)


def rate_factor(step: int, steps: int, schedule: ScheduleConfig) -> float:
    """Return the fraction of the peak rate at optimiser step `step` (0-based) of `steps`.

    A function of the step alone: nothing to save, nothing to lose on resume.

    Warm-up is linear and its first step is already above 0; the cosine then falls from 1 to the
    floor at the last step (paper §4: cosine, 10 % warm-up). The official code resets its rate to
    the base value at every step, so neither its warm-up nor its decay takes effect; `constant`
    without warm-up is that behaviour.
    """
    warmup = round(schedule.warmup * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule.kind == 'constant':
        return 1.0
    if schedule.kind == 'step':
        return 1.0 if step < schedule.decay_at * steps else 0.1
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return schedule.floor + (1 - schedule.floor) * cosine


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's rate to `factor` times its peak."""
    for group in optimizer.param_groups:
        group['lr'] = group['peak_lr'] * factor


class WeightAverage:
    """Exponential moving average of the trained weights, in float32.

    The decay warms up as (1 + n) / (10 + n), so that the random start is forgotten.
    """

    def __init__(self, named: NamedParameters, decay: float) -> None:
        def lerp(mean: list[Tensor], weights: list[Tensor], count: Tensor | int) -> None:
            warm = (1 + int(count)) / (10 + int(count))
            torch._foreach_lerp_(mean, weights, 1 - min(decay, warm))

        self._trained = nn.ParameterList(parameter for _, parameter in named)
        self.model = AveragedModel(self._trained, multi_avg_fn=lerp)
        self.update()  # the first update copies

    def update(self) -> None:
        """Move the average towards the present weights."""
        self.model.update_parameters(self._trained)

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Return a context in which the network holds the averaged weights.

        Network and average exchange their memory: a copy of what trains, at the first save, would
        be more than training needed until then.
        """
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for weight, mean in zip(self._trained, self.model.module, strict=True):
            weight.data, mean.data = mean.data, weight.data
