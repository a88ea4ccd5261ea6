# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""LoRA through peft: attach adapters, and export weights with them merged in.

The merge is an export, not a conversion: the training model stays as it is, and everything that
is not an adapter (ActionQueries, policy, proprioception) is carried over unchanged. The official
merge script rebuilds the model from its base and so loses the trained ActionQueries.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from vla_adapter_ros.training.config import AdaptationConfig

_ADAPTER = 'default'


def attach_lora(module: nn.Module, targets: Sequence[str], config: AdaptationConfig) -> None:
    """Replace the linear layers named `targets` by LoRA layers, in place.

    Rank, alpha = 2·rank, dropout 0 and Gaussian initialisation follow the official code. The
    adapters are float32 whatever the dtype of the frozen layer below.
    """
    from peft import LoraConfig, inject_adapter_in_model

    lora = LoraConfig(
        r=config.rank,
        lora_alpha=2 * config.rank if config.alpha is None else config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(targets),
        init_lora_weights='gaussian',
    )
    flags = {name: p.requires_grad for name, p in module.named_parameters()}
    inject_adapter_in_model(lora, module, adapter_name=_ADAPTER)
    for name, parameter in module.named_parameters():
        if 'lora_' in name:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        else:  # peft freezes everything else; what trained before still does
            parameter.requires_grad_(flags[name.replace('.base_layer.', '.')])


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
    from peft.tuners.lora import LoraLayer

    layers = {n: layer for n, layer in module.named_modules() if isinstance(layer, LoraLayer)}
    merged: dict[str, torch.Tensor] = {}
    for name, value in module.state_dict().items():
        if '.lora_' in name:
            continue
        plain = name.replace('.base_layer.', '.')
        layer = layers.get(plain.removesuffix('.weight')) if plain.endswith('.weight') else None
        if layer is not None:
            # Not rounded to a frozen layer's bf16: that would lose part of what was learned.
            delta = layer.get_delta_weight(_ADAPTER).detach().float()
            value = value.float() + delta.reshape(value.shape)
        merged[plain] = value.to('cpu', dtype if value.is_floating_point() else None)
    return merged
