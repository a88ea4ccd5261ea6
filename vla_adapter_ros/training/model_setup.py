# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From the recipe's `model` entry to a network configuration."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from vla_adapter_ros.architecture.config import LLAMA2_7B, OPENVLA_7B, VLAAdapterConfig
from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.training.config_loader import merged

PRESETS = {
    'pro': VLAAdapterConfig.full('pro'),
    'original': VLAAdapterConfig.full('original'),
    'dit': VLAAdapterConfig.full('dit'),
    'llama2-7b': VLAAdapterConfig(language=LLAMA2_7B),  # Prismatic VLM on LLaMA-2
    'openvla-7b': VLAAdapterConfig(language=OPENVLA_7B),
    'tiny': VLAAdapterConfig.tiny(),
}


def network_config(entry: Mapping[str, Any], **forced: Any) -> VLAAdapterConfig:
    """Return the network of a recipe.

    Args:
        entry: `preset` and nested changes, e.g. {preset: tiny, policy: {kind: dit}}. `vision` is
            a list of towers, or a mapping applied to every tower of the preset.
        forced: fields that the data decide (`proprio_dim`, `action_dim`, `vocab_size`).

    Raises:
        ConfigError: unknown preset or key, or a value no network can be built from.
    """
    changes = copy.deepcopy(dict(entry))
    preset = changes.pop('preset', 'pro')
    if preset not in PRESETS:
        raise ConfigError(f'model.preset: got {preset!r}, expected one of {list(PRESETS)}')
    data = PRESETS[preset].to_dict()
    towers = changes.get('vision')
    if isinstance(towers, Mapping):
        changes['vision'] = [{**tower, **towers} for tower in data['vision']]
    vocabulary = forced.pop('vocab_size', None)
    data = merged(data, changes)
    if vocabulary is not None:
        data['language']['vocab_size'] = vocabulary
    return VLAAdapterConfig.from_dict({**data, **forced})
