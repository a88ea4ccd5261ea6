# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Loading networks of either kind of checkpoint directory, and saving our own format.

Our own format is `model.safetensors` (weights under their official names) and `vla_adapter.json`
(everything else), see `metadata.py`. Networks are built on the meta device and take their weights
from the mapped file, so that start-up costs what reading the file costs.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from vla_adapter_ros.architecture.config import VisionTowerConfig, VLAAdapterConfig
from vla_adapter_ros.errors import CheckpointError, readable
from vla_adapter_ros.weights.directory import read_checkpoint_metadata
from vla_adapter_ros.weights.files import make_folder, write_json
from vla_adapter_ros.weights.metadata import (
    ADAPTERS_FILE,
    METADATA_FILE,
    WEIGHTS_FILE,
    CheckpointMetadata,
    software_versions,
)
from vla_adapter_ros.weights.official import is_official, local_name
from vla_adapter_ros.weights.official_weights import OpenCheckpoint, open_official
from vla_adapter_ros.weights.released import model_folder
from vla_adapter_ros.weights.tensors import (
    LazyTensor,
    check_names,
    dtype_name,
    load_parameters,
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


def load(
    network: type[NetworkT],
    directory: str | Path,
    *,
    dtype: torch.dtype | None = torch.float32,
    device: str | torch.device = 'cpu',
    vision_towers: Mapping[str, VisionTowerConfig] | None = None,
    overrides: Mapping[str, Any] | None = None,
    base: str | Path | None = None,
) -> NetworkT:
    """Load a network; arguments and errors as for `VLAAdapter.from_pretrained`."""
    opened = open_checkpoint(directory, vision_towers, overrides, base)
    model = network.from_config(opened.metadata.config, device='meta')
    where = f'checkpoint {directory}'
    load_parameters(model, opened.tensors, dtype=dtype, device=device, where=where)
    model.metadata = opened.metadata
    return model.eval()


def open_checkpoint(
    directory: str | Path,
    vision_towers: Mapping[str, VisionTowerConfig] | None = None,
    overrides: Mapping[str, Any] | None = None,
    base: str | Path | None = None,
) -> OpenCheckpoint:
    """Open a directory of either kind, or one on the Hub, without reading its weights.

    Raises:
        CheckpointError: it is missing, damaged, or of neither kind.
        ConfigError: an override names no field, or has an impossible value.
    """
    directory = model_folder(directory)
    overrides = dict(overrides or {})
    with readable(f'checkpoint {directory}', CheckpointError):
        if (directory / METADATA_FILE).is_file() or not is_official(directory):
            return _open_own(directory, overrides)
        return open_official(directory, vision_towers, overrides, base)


def _open_own(directory: Path, overrides: dict[str, Any]) -> OpenCheckpoint:
    metadata = read_checkpoint_metadata(directory)
    metadata = replace(metadata, config=metadata.config.override(**overrides))
    return OpenCheckpoint(metadata, open_weights(directory, metadata), {})


def open_weights(
    directory: Path, metadata: CheckpointMetadata, file: str = WEIGHTS_FILE
) -> dict[str, LazyTensor]:
    """Open a file of weights of our own format, by our parameter names.

    Raises:
        CheckpointError: it is missing, or of another checkpoint than the metadata.
    """
    path = directory / file
    if not path.is_file():
        partial = (
            f'; {ADAPTERS_FILE} holds only what trained. To make a whole checkpoint: python -m '
            f'vla_adapter_ros.training.checkpoints.merge {directory} OUTPUT'
        )
        hint = partial if (directory / ADAPTERS_FILE).is_file() else ''
        raise CheckpointError(f'checkpoint {directory}: {file} is missing{hint}')
    stored = (read_safetensors_header(path)[0].get('__metadata__') or {}).get('checkpoint_id')
    if stored != (metadata.checkpoint_id or None):
        raise CheckpointError(
            f'checkpoint {directory}: {METADATA_FILE} and {file} are of different '
            f'checkpoints ({metadata.checkpoint_id or "none"} and {stored or "none"}); '
            'a save was probably interrupted'
        )
    return {local_name(name): lazy for name, lazy in open_safetensors(path).items()}


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
    file: str = WEIGHTS_FILE,
    **metadata: Any,
) -> CheckpointMetadata:
    """Write our own format; see `VLAAdapter.save_pretrained`.

    `file` names the file of the weights; under another name they may be a part of the network.
    """
    directory = Path(directory).expanduser()
    make_folder(directory)
    values = dict(model.state_dict() if state_dict is None else state_dict)
    if file == WEIGHTS_FILE:
        expected = expected_shapes(type(model), model.config)
        got = {name: tuple(value.shape) for name, value in values.items()}
        check_names(expected, got, f'saving to {directory}')
    if any(value.is_meta for value in values.values()):
        raise CheckpointError(f'saving to {directory}: the network has no weights (meta device)')
    tensors = {
        name.removeprefix('policy.'): value.to(dtype or value.dtype)
        for name, value in values.items()
    }
    stored = {dtype_name(value) for value in tensors.values()}
    record = replace(
        model.metadata,
        config=model.config,
        checkpoint_id=uuid.uuid4().hex,
        versions=software_versions('torch', 'transformers', 'safetensors', 'numpy'),
        dtype=stored.pop() if len(stored) == 1 else 'mixed',
        **{key: value for key, value in metadata.items() if value is not None},
    )
    # The weights first: until the metadata follows, its old id tells that the save is unfinished.
    save_safetensors(directory / file, tensors, {'checkpoint_id': record.checkpoint_id})
    write_json(directory / METADATA_FILE, record.to_dict())
    return record
