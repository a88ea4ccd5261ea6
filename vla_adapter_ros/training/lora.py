# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""LoRA: attach adapters, and export weights with them merged in.

The merge is an export, not a conversion: the training model stays as it is, and everything that
is not an adapter (ActionQueries, policy, proprioception) is carried over unchanged. The official
merge script rebuilds the model from its base and so loses the trained ActionQueries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.model.precision import without_autocast
from vla_adapter_ros.training.config import AdaptationConfig


class LoraLinear(nn.Module):
    """Linear layer that does not train, plus a product of low rank that does: Wx + b + s·B(Ax).

    Computed in the dtype of the frozen weight, with 16-bit copies of the float32 factors: inputs
    are kept once for the backward pass, and nothing passes through float32 on the way.

    Args:
        base: the frozen layer.
        rank: of the product.
        scale: s, alpha over rank.
        dropout: probability, of the product's input.
    """

    def __init__(self, base: nn.Linear, rank: int, scale: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.base_layer, self.scale, self.dropout = base.requires_grad_(False), scale, dropout
        like = {'device': base.weight.device, 'dtype': torch.float32}
        # A and Bᵀ beside each other (rank, in + out): one cast, one gradient. Initialised as by
        # peft's `gaussian`, as in the official code.
        a = torch.randn(rank, base.in_features, **like) / rank
        self.lora_factors = nn.Parameter(torch.cat((a, a.new_zeros(rank, len(base.weight))), 1))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), in the dtype of the frozen weight."""
        weight, bias = self.base_layer.weight, self.base_layer.bias
        x = x.to(weight.dtype)
        with without_autocast(x):
            dropout = self.dropout if self.training else 0.0
            # A compiler finds its own kernels, and needs plain operations for it.
            if not dropout and not torch.compiler.is_compiling():
                return _LowRank.apply(x, weight, bias, self.lora_factors, self.scale)
            a, b = self.lora_factors.to(x.dtype).split((x.shape[-1], len(weight)), dim=1)
            low = F.dropout(x, dropout) @ a.t() @ b
            return F.linear(x, weight, bias) + self.scale * low

    def delta(self) -> Tensor:
        """Return what the adapter adds to the weight, (out, in) float32."""
        sizes = self.base_layer.in_features, self.base_layer.out_features
        a, b = self.lora_factors.detach().split(sizes, dim=1)
        return self.scale * (b.t() @ a)


class _LowRank(torch.autograd.Function):
    """Wx + b + s·B(Ax): three products forwards, five backwards, one cast each way."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, factors: Tensor, scale: float
    ) -> Tensor:
        rows, factors = x.reshape(-1, x.shape[-1]), factors.to(x.dtype)
        a, b = factors.split((x.shape[-1], len(weight)), dim=1)
        inner = rows @ a.t()
        result = F.linear(rows, weight, bias).addmm_(inner, b, alpha=scale)
        ctx.save_for_backward(rows, weight, factors, inner)
        ctx.scale, ctx.shape = scale, x.shape
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, factors, inner = ctx.saved_tensors
        a, b = factors.split((rows.shape[1], len(weight)), dim=1)
        gradient = gradients[0].reshape(-1, len(weight))
        empty = gradient.new_empty(())  # not read: beta is zero
        into = torch.addmm(empty, gradient, b.t(), beta=0, alpha=ctx.scale)
        to_factors = torch.empty_like(factors)
        to_a, to_b = to_factors.split((rows.shape[1], len(weight)), dim=1)
        torch.mm(into.t(), rows, out=to_a)
        torch.addmm(empty, inner.t(), gradient, beta=0, alpha=ctx.scale, out=to_b)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = (gradient @ weight).addmm_(into, a).view(ctx.shape)
        return to_x, None, None, to_factors.float(), None


def attach_lora(module: nn.Module, targets: Sequence[str], config: AdaptationConfig) -> None:
    """Replace the linear layers named `targets` by LoRA layers, in place.

    Rank, alpha = 2·rank, dropout 0 and Gaussian initialisation follow the official code. The
    adapters are float32 whatever the dtype of the frozen layer below.
    """
    alpha = 2 * config.rank if config.alpha is None else config.alpha
    for name in targets:
        parent, _, child = name.rpartition('.')
        owner = module.get_submodule(parent)
        layer = LoraLinear(
            getattr(owner, child), config.rank, alpha / config.rank, config.dropout
        )
        setattr(owner, child, layer)


def merged_state_dict(
    module: nn.Module, dtype: torch.dtype | None = None
) -> dict[str, torch.Tensor]:
    """Return the weights under their names without LoRA, on the CPU, adapters added in float32.

    Made and brought to the CPU one tensor at a time: the training device needs room for one layer
    more, not for the whole network. Without LoRA layers on a CPU this is the module's own state.

    Args:
        module: the network.
        dtype: of the weights; None: float32 for what trained, and as stored for the rest.
    """
    layers = {n: layer for n, layer in module.named_modules() if isinstance(layer, LoraLinear)}
    merged: dict[str, torch.Tensor] = {}
    for name, value in module.state_dict().items():
        if '.lora_' in name:
            continue
        plain = name.replace('.base_layer.', '.')
        layer = layers.get(plain.removesuffix('.weight')) if plain.endswith('.weight') else None
        if layer is not None:
            # Not rounded to a frozen layer's bf16: that would lose part of what was learned.
            value = value.float() + layer.delta()
        merged[plain] = value.to('cpu', dtype if value.is_floating_point() else None)
    return merged
