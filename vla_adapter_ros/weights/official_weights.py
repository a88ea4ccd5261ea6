# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The weights of official directories, opened lazily under our parameter names."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from vla_adapter_ros.architecture.config import VisionTowerConfig, VLAAdapterConfig
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.weights import lora, official
from vla_adapter_ros.weights.files import read_json_object
from vla_adapter_ros.weights.metadata import WEIGHTS_FILE, CheckpointMetadata
from vla_adapter_ros.weights.tensors import LazyTensor, open_pt, open_safetensors

LOGGER = logging.getLogger(__name__)
QUERIES = 'action_queries.weight'
_BLOCK = re.compile(r'action_head\.model\.mlp_resnet_blocks\.(\d+)\.')
# The official loader adapts FiLM towers with rank 32 and alpha 16, whatever training did.
FILM_LORA_SCALE = 16 / 32
_WRAPPED = '.base_layer.weight'
_Value = TypeVar('_Value')


@dataclass(frozen=True)
class OpenCheckpoint:
    """A checkpoint's metadata and its tensors by our parameter names, not yet read."""

    metadata: CheckpointMetadata
    tensors: dict[str, LazyTensor]
    unused: dict[str, LazyTensor]


def open_official(
    directory: Path,
    towers: Mapping[str, VisionTowerConfig] | None,
    overrides: Mapping[str, Any],
    base: str | Path | None = None,
) -> OpenCheckpoint:
    """Open an official directory without reading its weights.

    Args:
        directory: the checkpoint.
        towers: shapes of vision towers with unknown names.
        overrides: fields of the configuration.
        base: directory that training started from, if the LoRA adapter is not merged.

    Raises:
        CheckpointError: a file is missing, damaged, or not of the same step as the others.
        ConfigError: an override names no field, or has an impossible value.
    """
    metadata = official.read_official_metadata(directory, towers, overrides, base)
    files = official.component_files(directory, metadata.config.use_proprio)
    if official.is_unmerged(directory):
        place = official.base_directory(directory, base)
        tensors = _merged_vlm(directory, place, film=official.FILM in files)
    else:
        tensors = official_vlm(directory)
    for kind, path in files.items():
        values = {
            name: LazyTensor.of(value, f'{path}: {name}')
            for name, value in state_dict(path).items()
        }
        if kind == official.FILM:
            tensors |= _film_towers(values, directory, path)
        else:
            tensors |= {f'{kind}.{official.strip_ddp_prefix(n)}': v for n, v in values.items()}
    config = refine(metadata.config, tensors, overrides)
    if 'chunk_size' not in overrides:
        _say_platform(directory, config)
    pattern = official.unused_pattern(config)
    unused = {name: lazy for name, lazy in tensors.items() if pattern.fullmatch(name)}
    used = {official.local_name(n): lazy for n, lazy in tensors.items() if n not in unused}
    return OpenCheckpoint(replace(metadata, config=config), used, unused)


def _say_platform(directory: Path, config: VLAAdapterConfig) -> None:
    """Warn where a robot of one's own may have been taken for a platform of the paper."""
    sizes = (config.action_dim, config.proprio_dim)
    platform = official.PLATFORMS.get(sizes, 'none of the paper')
    if platform != official.LIBERO:
        LOGGER.warning(
            '%s: %d action and %d state values, taken for %s: chunks of %d steps. The files do '
            'not record this; if training had another NUM_ACTIONS_CHUNK, give chunk_size=N '
            '(convert: --set chunk_size=N)', directory, *sizes, platform, config.chunk_size,
        )  # fmt: skip


def state_dict(path: Path) -> dict[str, Tensor]:
    """Map the tensors of a `.pt` file into memory.

    Raises:
        CheckpointError: it holds something else, such as a trainer's state around them.
    """
    content = open_pt(path)
    if isinstance(content, Mapping) and all(isinstance(v, Tensor) for v in content.values()):
        return dict(content)
    inner = sorted(
        key
        for key, value in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(value, Mapping) and any(isinstance(v, Tensor) for v in value.values())
    )
    way_out = (
        f'its tensors are in {inner}; save them alone: '
        f"torch.save(torch.load('{path.name}')[{inner[0]!r}], '{path.name}')"
        if inner
        else f'it holds {_kinds(content)}'
    )
    raise CheckpointError(f'{path}: expected tensors by parameter name, {way_out}')


def _kinds(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f'a {type(content).__name__}'
    others = [key for key, value in content.items() if not isinstance(value, Tensor)]
    return f'other values: {sorted(map(str, others))[:5]}'


def official_vlm(directory: Path) -> dict[str, LazyTensor]:
    """Open the VLM's tensors, from one file or from shards named by an index."""
    index = directory / 'model.safetensors.index.json'
    if index.is_file():
        entries = read_json_object(index).get('weight_map')
        files = list(entries.values()) if isinstance(entries, dict) else []
        if not all(isinstance(name, str) and Path(name).name == name for name in files):
            raise CheckpointError(f'{index}: weight_map: expected names of files beside it')
        shards = sorted(set(files))
    else:
        shards = [WEIGHTS_FILE]
    missing = [name for name in shards if not (directory / name).is_file()]
    if missing or not shards:
        raise CheckpointError(f'checkpoint {directory}: missing {missing or [WEIGHTS_FILE]}')
    tensors: dict[str, LazyTensor] = {}
    for name in shards:
        tensors |= open_safetensors(directory / name)
    return tensors


def _merged_vlm(directory: Path, base: Path, film: bool) -> dict[str, LazyTensor]:
    """Open the VLM that training started from, with the directory's LoRA adapter merged in.

    `film`: the towers have a file of their own, with the same adapters in it. Those in the folder
    have the names of the wrapper around FiLM blocks, and fit no tower without it.
    """
    folder = directory / official.ADAPTER
    weights = official_vlm(base)
    trained, halves = lora.read_adapter(folder)
    if film:
        trained, halves = _without_towers(trained), _without_towers(halves)
    elif any(name.startswith(official.FILM_WRAPPER) for name in (*trained, *halves)):
        raise CheckpointError(
            f'checkpoint {directory}: {folder.name} is of towers with FiLM, whose '
            f'{official.FILM}--*checkpoint.pt is missing; copy it from the folder of the training'
        )
    if QUERIES not in trained:
        LOGGER.warning(
            '%s: the official trainer does not store the ActionQueries that it trained; those of '
            '%s are used, as its own merging script does. Actions will differ from training',
            folder, base,
        )  # fmt: skip
    unread = official.UNREAD_LAYERS
    halves = {n: pair for n, pair in halves.items() if f'{n}.weight' in weights or n not in unread}
    return lora.merge(weights | trained, halves, lora.read_scale(folder, halves), folder)


def _without_towers(values: Mapping[str, _Value]) -> dict[str, _Value]:
    return {n: value for n, value in values.items() if not n.startswith(f'{official.FILM}.')}


def _film_towers(
    values: Mapping[str, LazyTensor], directory: Path, path: Path
) -> dict[str, LazyTensor]:
    """Return the towers of a FiLM file, which the official trainer saves with unmerged LoRA."""
    named = {official.film_name(n): v for n, v in values.items()}
    whole, halves = lora.split(named)
    wrapped = (n.removesuffix(_WRAPPED) for n in named if n.endswith(_WRAPPED))
    if bare := next((layer for layer in wrapped if layer not in halves), None):
        raise CheckpointError(f'{path}: the adapter of {bare} is missing')
    scale, folder = FILM_LORA_SCALE, directory / official.ADAPTER
    if halves and (folder / lora.ADAPTER_CONFIG).is_file():
        scale = lora.read_scale(folder, halves)
    elif halves:
        LOGGER.warning(
            '%s: no %s says how LoRA was scaled in training; merged by %s as in the official '
            'loader', path, folder / lora.ADAPTER_CONFIG, scale,
        )  # fmt: skip
    return lora.merge(whole, halves, scale, path)


def refine(
    config: VLAAdapterConfig, tensors: Mapping[str, LazyTensor], overrides: Mapping[str, Any]
) -> VLAAdapterConfig:
    """Take from the tensors the sizes that official files do not record."""
    found: dict[str, Any] = {}
    for field, name, axis in (
        ('action_dim', 'action_head.model.fc2.weight', 0),
        ('proprio_dim', 'proprio_projector.fc1.weight', 1),
        ('num_queries', 'action_queries.weight', 0),
    ):
        if name in tensors and field not in overrides:
            found[field] = tensors[name].shape[axis]
    blocks = len({m[1] for m in map(_BLOCK.match, tensors) if m})
    if blocks not in (0, config.policy_blocks) and not {'policy', 'blocks'} & overrides.keys():
        # The released head has 24, whatever the number of the language model's layers.
        found['policy'] = replace(config.policy, blocks=blocks)
    embeddings = tensors.get('language_model.model.embed_tokens.weight')
    if embeddings is not None and not {'language', 'vocab_size'} & overrides.keys():
        # Vocabularies are padded for speed, and not every config.json records the padded size.
        found['language'] = replace(config.language, vocab_size=embeddings.shape[0])
    sizes = (found.get('action_dim', 0), found.get('proprio_dim', 0))
    if 'chunk_size' not in overrides and sizes in official.CHUNK_LENGTHS:
        found['chunk_size'] = official.CHUNK_LENGTHS[sizes]
    return config.replace(**found)
