# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Where a network comes from and where it goes: random weights, checkpoints, VLMs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vla_adapter_ros.architecture.config import VisionTowerConfig, VLAAdapterConfig
from vla_adapter_ros.model.small.initialise import initialise
from vla_adapter_ros.weights.metadata import CheckpointMetadata
from vla_adapter_ros.weights.own import load, save
from vla_adapter_ros.weights.prismatic import load_vlm
from vla_adapter_ros.weights.released import model_folder

NetworkT = TypeVar('NetworkT', bound='StoredNetwork')


class StoredNetwork(nn.Module):
    """What `VLAAdapter` does with files."""

    config: VLAAdapterConfig
    metadata: CheckpointMetadata

    @classmethod
    def from_config(
        cls: type[NetworkT],
        config: VLAAdapterConfig,
        *,
        device: str | torch.device = 'cpu',
        dtype: torch.dtype = torch.float32,
    ) -> NetworkT:
        """Build with random weights; on `meta` without any."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with torch.device(device):
                model = cls(config)
        finally:
            torch.set_default_dtype(before)
        if torch.device(device).type != 'meta':
            initialise(model)
        return model.eval()

    @classmethod
    def from_pretrained(
        cls: type[NetworkT],
        directory: str | Path,
        *,
        dtype: torch.dtype | None = torch.float32,
        device: str | torch.device = 'cpu',
        vision_towers: Mapping[str, VisionTowerConfig] | None = None,
        base: str | Path | None = None,
        revision: str | None = None,
        **overrides: Any,
    ) -> NetworkT:
        """Load a checkpoint: our own format or an official directory.

        Args:
            directory: the checkpoint, or its address on the Hub, `org/name@revision`.
            dtype: of the parameters; None keeps them as stored (mapped from the file).
            device: of the parameters.
            vision_towers: shapes of an official checkpoint's vision towers by their
                `timm_model_ids` entry, where that is not a released one.
            base: the directory that an official run started from, if its LoRA adapter is not
                merged; default: the one that the adapter names.
            revision: of a model on the Hub, in place of `@revision`: a branch, tag or commit.
            overrides: fields of `VLAAdapterConfig` or its sections, by name, in place of the
                checkpoint's; e.g. `num_images` and `chunk_size`, which official files do not
                record, or `rope_precision`.

        Returns:
            The network in evaluation mode; `metadata` holds statistics, contract and the rest.

        Raises:
            CheckpointError: files are missing or damaged, or the tensors do not fit the
                configuration; missing, unexpected and mis-shaped ones are listed.
            ConfigError: an override names no field, or has an impossible value.
        """
        if revision is not None:
            directory = model_folder(directory, revision=revision)
        options = {'dtype': dtype, 'device': device, 'vision_towers': vision_towers}
        return load(cls, directory, overrides=overrides, base=base, **options)

    @classmethod
    def from_vlm(
        cls: type[NetworkT],
        source: str | Path,
        config: VLAAdapterConfig | None = None,
        **options: Any,
    ) -> NetworkT:
        """Pre-trained VLM with a new policy, to train from; see `weights.prismatic.load_vlm`."""
        return load_vlm(cls, source, config, **options)

    def save_pretrained(
        self,
        directory: str | Path,
        *,
        state_dict: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype | None = None,
        **metadata: dict[str, Any] | None,
    ) -> CheckpointMetadata:
        """Write `model.safetensors` and `vla_adapter.json`, each atomically.

        Args:
            directory: made if missing. Tokenizer files are the caller's to add.
            state_dict: weights to write instead of the network's own, e.g. with LoRA merged.
            dtype: to store in; default as they are.
            metadata: `robot`, `statistics`, `preprocessing`, `training` of `CheckpointMetadata`;
                those not given (or None) are kept from when the network was loaded.

        Raises:
            CheckpointError: the weights do not fit the configuration; nothing is written.
        """
        return save(self, directory, state_dict=state_dict, dtype=dtype, **metadata)
