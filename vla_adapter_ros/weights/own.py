# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Loading networks of either kind of checkpoint directory, and saving our own format.

Our own format is `model.safetensors` (weights under their official names) and `vla_adapter.json`
(everything else), see `metadata.py`. Networks are built on the meta device and take their weights
from the mapped file, so that start-up costs what reading the file costs.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from vla_adapter_ros.architecture.config import VisionTowerConfig, VLAAdapterConfig
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.weights import official
from vla_adapter_ros.weights.directory import read_checkpoint_metadata
from vla_adapter_ros.weights.files import make_folder, read_json_object, write_json
from vla_adapter_ros.weights.metadata import (
    METADATA_FILE,
    WEIGHTS_FILE,
    CheckpointMetadata,
    software_versions,
)
from vla_adapter_ros.weights.released import model_folder
from vla_adapter_ros.weights.tensors import (
    LazyTensor,
    check_names,
    load_parameters,
    open_pt,
    open_safetensors,
    read_safetensors_header,
    save_safetensors,
)


class Network(Protocol):
    """Interface of the network class (`VLAAdapter`), which callers hand in."""

    config: VLAAdapterConfig
    metadata: CheckpointMetadata

    @classmethod
    def from_config(cls, config: VLAAdapterConfig, *, device: str | torch.device = 'cpu') -> Any:
        """Build with random weights; on `meta` without any."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights by parameter name."""
        ...


NetworkT = TypeVar('NetworkT', bound=Network)


@dataclass(frozen=True)
class OpenCheckpoint:
    """A checkpoint's metadata and its tensors by our parameter names, not yet read."""

    metadata: CheckpointMetadata
    tensors: dict[str, LazyTensor]
    unused: dict[str, LazyTensor]


def load(
    network: type[NetworkT],
    directory: str | Path,
    *,
    dtype: torch.dtype | None = torch.float32,
    device: str | torch.device = 'cpu',
    vision_towers: Mapping[str, VisionTowerConfig] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> NetworkT:
    """Load a network; arguments and errors as for `VLAAdapter.from_pretrained`."""
    opened = open_checkpoint(directory, vision_towers, overrides)
    model = network.from_config(opened.metadata.config, device='meta')
    where = f'checkpoint {directory}'
    load_parameters(model, opened.tensors, dtype=dtype, device=device, where=where)
    model.metadata = opened.metadata
    return model.eval()


def open_checkpoint(
    directory: str | Path,
    vision_towers: Mapping[str, VisionTowerConfig] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> OpenCheckpoint:
    """Open a directory of either kind, or one on the Hub, without reading its weights.

    Raises:
        CheckpointError: it is missing, damaged, or of neither kind.
        ConfigError: an override names no field, or has an impossible value.
    """
    directory = model_folder(directory)
    overrides = dict(overrides or {})
    if (directory / METADATA_FILE).is_file() or not (directory / 'config.json').is_file():
        return _open_own(directory, overrides)
    return _open_official(directory, vision_towers, overrides)


def _open_own(directory: Path, overrides: dict[str, Any]) -> OpenCheckpoint:
    metadata = read_checkpoint_metadata(directory)
    metadata = replace(metadata, config=metadata.config.override(**overrides))
    path = directory / WEIGHTS_FILE
    if not path.is_file():
        raise CheckpointError(f'checkpoint {directory}: {WEIGHTS_FILE} is missing')
    stored = (read_safetensors_header(path)[0].get('__metadata__') or {}).get('checkpoint_id')
    if stored != (metadata.checkpoint_id or None):
        raise CheckpointError(
            f'checkpoint {directory}: {METADATA_FILE} and {WEIGHTS_FILE} are of different '
            f'checkpoints ({metadata.checkpoint_id or "none"} and {stored or "none"}); '
            'a save was probably interrupted'
        )
    tensors = {official.local_name(name): lazy for name, lazy in open_safetensors(path).items()}
    return OpenCheckpoint(metadata, tensors, {})


def _open_official(
    directory: Path, towers: Mapping[str, VisionTowerConfig] | None, overrides: dict[str, Any]
) -> OpenCheckpoint:
    metadata = official.read_official_metadata(directory, towers, overrides)
    tensors = _official_vlm(directory)
    head = official.head_file(directory)
    for name, value in open_pt(head).items():
        tensors[f'action_head.{official.strip_ddp_prefix(name)}'] = LazyTensor.of(value)
    proprio = official.optional_file(directory, 'proprio_projector')
    for name, value in (open_pt(proprio) if proprio else {}).items():
        tensors[f'proprio_projector.{official.strip_ddp_prefix(name)}'] = LazyTensor.of(value)
    film = official.optional_file(directory, 'vision_backbone')
    for name, value in (open_pt(film) if film else {}).items():
        tensors[official.film_name(name)] = LazyTensor.of(value)
    config = refine(metadata.config, tensors, overrides)
    pattern = official.unused_pattern(config)
    unused = {name: lazy for name, lazy in tensors.items() if pattern.fullmatch(name)}
    used = {official.local_name(n): lazy for n, lazy in tensors.items() if n not in unused}
    return OpenCheckpoint(replace(metadata, config=config), used, unused)


def _official_vlm(directory: Path) -> dict[str, LazyTensor]:
    """Open the VLM's tensors, from one file or from shards named by an index."""
    index = directory / 'model.safetensors.index.json'
    if index.is_file():
        shards = sorted(set((read_json_object(index).get('weight_map') or {}).values()))
    else:
        shards = [WEIGHTS_FILE]
    missing = [name for name in shards if not (directory / name).is_file()]
    if missing or not shards:
        adapter = (directory / 'lora_adapter').is_dir()
        hint = '; its LoRA adapter is not merged yet' if adapter else ''
        raise CheckpointError(f'checkpoint {directory}: missing {missing or [WEIGHTS_FILE]}{hint}')
    tensors: dict[str, LazyTensor] = {}
    for name in shards:
        tensors |= open_safetensors(directory / name)
    return tensors


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
    embeddings = tensors.get('language_model.model.embed_tokens.weight')
    if embeddings is not None and not {'language', 'vocab_size'} & overrides.keys():
        # Vocabularies are padded for speed, and not every config.json records the padded size.
        found['language'] = replace(config.language, vocab_size=embeddings.shape[0])
    sizes = (found.get('action_dim', 0), found.get('proprio_dim', 0))
    if 'chunk_size' not in overrides and sizes in official.CHUNK_LENGTHS:
        found['chunk_size'] = official.CHUNK_LENGTHS[sizes]
    return config.replace(**found)


def expected_shapes(
    network: type[Network], config: VLAAdapterConfig
) -> dict[str, tuple[int, ...]]:
    """Return parameter name → shape of a network, without building its weights."""
    empty = network.from_config(config, device='meta')
    return {name: tuple(value.shape) for name, value in empty.state_dict().items()}


def save(
    model: Network,
    directory: str | Path,
    *,
    state_dict: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
    **metadata: Any,
) -> CheckpointMetadata:
    """Write our own format; see `VLAAdapter.save_pretrained`."""
    directory = Path(directory).expanduser()
    make_folder(directory)
    values = dict(model.state_dict() if state_dict is None else state_dict)
    expected = expected_shapes(type(model), model.config)
    check_names(expected, {n: tuple(v.shape) for n, v in values.items()}, f'saving to {directory}')
    if any(value.is_meta for value in values.values()):
        raise CheckpointError(f'saving to {directory}: the network has no weights (meta device)')
    tensors = {
        name.removeprefix('policy.'): value.to(dtype or value.dtype)
        for name, value in values.items()
    }
    stored = {str(value.dtype).removeprefix('torch.') for value in tensors.values()}
    record = replace(
        model.metadata,
        config=model.config,
        checkpoint_id=uuid.uuid4().hex,
        versions=software_versions('torch', 'transformers', 'safetensors', 'numpy'),
        dtype=stored.pop() if len(stored) == 1 else 'mixed',
        **{key: value for key, value in metadata.items() if value is not None},
    )
    # The weights first: until the metadata follows, its old id tells that the save is unfinished.
    save_safetensors(directory / WEIGHTS_FILE, tensors, {'checkpoint_id': record.checkpoint_id})
    write_json(directory / METADATA_FILE, record.to_dict())
    return record
