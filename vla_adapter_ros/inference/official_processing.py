# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Preprocessing of official checkpoints, whose files record only part of it."""

from __future__ import annotations

from typing import Any

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.processing.images import (
    DINO_STATISTICS,
    SIGLIP_STATISTICS,
    ImageConfig,
    Triple,
)
from vla_adapter_ros.processing.pipeline import ProcessingConfig
from vla_adapter_ros.weights.metadata import CheckpointMetadata

# The order of the official evaluation: the scene first, then the wrist (ALOHA has two).
CAMERAS = ('third_person', 'wrist', 'wrist_right')
# ALOHA is the one platform that the official code normalises by minimum and maximum.
ALOHA_ACTION_DIM = 14


def official_processing(metadata: CheckpointMetadata) -> ProcessingConfig:
    """Return the official evaluation's processing for an official checkpoint."""
    config = metadata.config
    towers = len(config.vision)
    return ProcessingConfig(
        images=ImageConfig(
            size=config.image_size,
            normalisations=_normalisations(metadata.preprocessor, towers),
        ),
        cameras=_cameras(config.num_images),
        prompt_format='qwen_chat' if config.language.family == 'qwen2' else 'in_out',
        normalisation='bounds' if config.action_dim == ALOHA_ACTION_DIM else 'bounds_q99',
    )


def _cameras(count: int) -> tuple[str, ...]:
    more = tuple(f'camera_{i}' for i in range(len(CAMERAS), count))
    return (CAMERAS + more)[:count]


def _normalisations(
    preprocessor: dict[str, Any], towers: int
) -> tuple[tuple[Triple, Triple], ...]:
    """Return the values of `preprocessor_config.json`, or the released ones without that file."""
    stated = preprocessor.get('tvf_normalize_params')
    if stated is None:
        return (DINO_STATISTICS, SIGLIP_STATISTICS)[:towers]
    if len(stated) != towers:
        raise CheckpointError(
            f'preprocessor_config.json: tvf_normalize_params for {len(stated)} towers, '
            f'the network has {towers}'
        )
    return tuple((tuple(entry['mean']), tuple(entry['std'])) for entry in stated)
