# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Metadata of a checkpoint, readable without torch."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.errors import CheckpointError

METADATA_FILE = 'vla_adapter.json'
WEIGHTS_FILE = 'model.safetensors'
ADAPTERS_FILE = 'adapters.safetensors'  # only what a run trained, in place of all weights
FORMAT = 'vla_adapter_ros checkpoint'
FORMAT_VERSION = 1

# Files of a checkpoint that are not weights and travel with it when it is copied or converted.
TOKENIZER_FILES = (
    'tokenizer.json',
    'tokenizer_config.json',
    'vocab.json',
    'merges.txt',
    'added_tokens.json',
    'special_tokens_map.json',
    'trained_words.txt',
)


@dataclass
class CheckpointMetadata:
    """A checkpoint without its weights.

    Attributes:
        config: the network.
        robot: the robot contract it was trained for, as plain data (empty: none recorded).
        statistics: dataset key -> `action` and `proprio` statistics, for normalisation.
        preprocessing: how observations become inputs, as plain data (empty: none recorded).
        training: the recipe that made it and its results, as plain data.
        versions: of the software that wrote it.
        source: where the weights came from: `format` (`own`, `official`, `prismatic`), `path`, …
        dtype: of the stored weights.
        checkpoint_id: also inside the weights file, so that files of two checkpoints do not mix.
        preprocessor: an official checkpoint's own `preprocessor_config.json`.
    """

    config: VLAAdapterConfig
    robot: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, Any] = field(default_factory=dict)
    preprocessing: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    dtype: str = 'float32'
    checkpoint_id: str = ''
    preprocessor: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `vla_adapter.json`."""
        return {
            'format': FORMAT,
            'format_version': FORMAT_VERSION,
            'checkpoint_id': self.checkpoint_id,
            'versions': self.versions,
            'dtype': self.dtype,
            'model': self.config.to_dict(),
            'robot': self.robot,
            'preprocessing': self.preprocessing,
            'statistics': self.statistics,
            'training': self.training,
            'source': self.source,
            'preprocessor': self.preprocessor,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str) -> CheckpointMetadata:
        """Read plain data; `where` names the file in errors."""
        if data.get('format') != FORMAT:
            raise CheckpointError(
                f'{where}: format is {data.get("format")!r}, expected {FORMAT!r}'
            )
        if data.get('format_version') != FORMAT_VERSION:
            raise CheckpointError(
                f'{where}: format_version {data.get("format_version")!r}, '
                f'this software reads {FORMAT_VERSION}'
            )
        if 'model' not in data:
            raise CheckpointError(f"{where}: key 'model' (the network's configuration) is missing")
        try:
            config = VLAAdapterConfig.from_dict(data['model'])
        except ValueError as error:
            raise CheckpointError(f'{where}: model: {error}') from None
        config = _as_trained(config, data.get('training') or {})
        rest = {
            key: data[key]
            for key in cls.__dataclass_fields__
            if key != 'config' and data.get(key) is not None
        }
        return cls(config=config, **rest)


def _as_trained(config: VLAAdapterConfig, training: dict[str, Any]) -> VLAAdapterConfig:
    """Pin rotary tables that a checkpoint left to the device, by the recipe that trained it.

    Early runs recorded the precision of their tables there alone.
    """
    recipe = training.get('config') or {}
    computed = recipe.get('compute') or recipe.get('speed') or {}  # the earlier name
    precision = computed.get('precision')
    return config if precision is None else config.as_trained(precision)


def software_versions(*packages: str) -> dict[str, str]:
    """Return name → version of this package, Python, and those of `packages` that are installed.

    Kept in what is written: checkpoints, recordings, datasets.
    """
    from vla_adapter_ros import __version__

    found = {'vla_adapter_ros': __version__, 'python': sys.version.split()[0]}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
