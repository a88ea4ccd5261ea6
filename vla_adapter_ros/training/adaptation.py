# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Which parameters train: policy and ActionQueries alone, plus LoRA, or everything.

LoRA is applied to every linear layer of the backbone that affects the result. The official target
list also hits layers whose output is never read (LM head, last blocks of both towers, SigLIP's
attention pooling); these layers do not exist in this model. The patch convolutions stay frozen.
FiLM's layers are new to a VLM: with LoRA they train whole, as in the official code.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from vla_adapter_ros.architecture.config import VLM_MODULES
from vla_adapter_ros.training.config import AdaptationConfig, TrainConfig
from vla_adapter_ros.training.lora import attach_lora
from vla_adapter_ros.weights.prismatic import film_layers


def backbone_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters of towers, projector and language model."""
    for name, parameter in model.named_parameters():
        if name.split('.', 1)[0] in VLM_MODULES:
            yield name, parameter


def unread_parts(model: nn.Module) -> tuple[str, ...]:
    """Return name prefixes of language-model layers above the last one the policy reads.

    Where the policy reads only early layers (paper, Figure 4), nothing above them has a gradient;
    data-parallel training refuses parameters that train but get none.
    """
    count, last = model.config.language.layers, max(model.config.layer_of_block)
    layers = [f'language_model.model.layers.{index}.' for index in range(last, count)]
    return (*layers, 'language_model.model.norm.') if layers else ()


def lora_targets(model: nn.Module) -> list[str]:
    """Return the names of the backbone's linear layers that the policy's result depends on."""
    unread, film = unread_parts(model), set(film_layers(model))
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and name.split('.', 1)[0] in VLM_MODULES
        and not f'{name}.'.startswith(unread)
        and name not in film
    ]


def frozen_dtype(config: TrainConfig) -> torch.dtype:
    """Return the storage of the weights that do not train (see `optimizer.py`)."""
    return torch.bfloat16 if config.compute.precision == 'bf16' else torch.float32


def adapt(model: nn.Module, config: AdaptationConfig, frozen_dtype: torch.dtype) -> list[str]:
    """Make the model train as `config` says, in place.

    Args:
        model: the network, in float32.
        config: frozen, lora or full.
        frozen_dtype: storage of the weights that do not train (see `optimizer.py`).

    Returns:
        The names of the backbone parameters that train.
    """
    unread, film = unread_parts(model), set(film_layers(model))
    for name, parameter in backbone_parameters(model):
        trains = config.mode == 'full' and not name.startswith(unread)
        new = config.mode == 'lora' and name.rpartition('.')[0] in film
        parameter.requires_grad_(trains or new)
    if config.mode == 'lora':
        attach_lora(model, lora_targets(model), config)
    for _, parameter in backbone_parameters(model):
        if not parameter.requires_grad and parameter.is_floating_point():
            parameter.data = parameter.data.to(frozen_dtype)
    return [name for name, p in backbone_parameters(model) if p.requires_grad]


def count_by_module(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return top-level module → (parameters that train, parameters that do not)."""
    counts: dict[str, list[int]] = {}
    for name, parameter in model.named_parameters():
        entry = counts.setdefault(name.split('.', 1)[0], [0, 0])
        entry[0 if parameter.requires_grad else 1] += parameter.numel()
    return {name: (train, fixed) for name, (train, fixed) in counts.items()}
