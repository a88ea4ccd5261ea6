# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The network of the VLA-Adapter paper. Names load on first use: importing this costs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    'VLAAdapter': 'vla_adapter_ros.model.vla',
    'VLAAdapterConfig': 'vla_adapter_ros.architecture.config',
    'VisionTowerConfig': 'vla_adapter_ros.architecture.config',
    'LanguageConfig': 'vla_adapter_ros.architecture.config',
    'PolicyConfig': 'vla_adapter_ros.architecture.config',
    'CheckpointMetadata': 'vla_adapter_ros.weights.metadata',
    'read_checkpoint_metadata': 'vla_adapter_ros.weights.directory',
}

__all__ = [
    'CheckpointMetadata',
    'LanguageConfig',
    'PolicyConfig',
    'VLAAdapter',
    'VLAAdapterConfig',
    'VisionTowerConfig',
    'read_checkpoint_metadata',
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_WHERE[name]), name)
