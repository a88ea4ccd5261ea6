# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What a checkpoint of a run holds: the whole network, or only what trained, to merge later."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.training.adaptation import adapt, frozen_dtype
from vla_adapter_ros.training.assembly import TrainingSetup, start_model
from vla_adapter_ros.training.checkpoints.card import write_card
from vla_adapter_ros.training.config import TrainConfig
from vla_adapter_ros.training.config_loader import build
from vla_adapter_ros.training.lora import merged_state_dict
from vla_adapter_ros.training.optimizer import trainable
from vla_adapter_ros.weights.directory import read_checkpoint_metadata
from vla_adapter_ros.weights.metadata import ADAPTERS_FILE, CheckpointMetadata
from vla_adapter_ros.weights.own import open_weights
from vla_adapter_ros.weights.tensors import check_names


def stored_dtype(config: TrainConfig) -> torch.dtype | None:
    """Return the dtype of a run's stored weights; None: each as it trains."""
    return torch.bfloat16 if config.save.dtype == 'bfloat16' else None


def write_checkpoint(
    setup: TrainingSetup, config: TrainConfig, folder: Path, results: dict[str, Any],
    whole: bool = False,
) -> None:
    """Write a self-describing checkpoint of the present weights.

    Args:
        setup: of the run.
        config: its recipe; `save.weights` and `save.dtype` say what is written.
        folder: for the files.
        results: recipe, step and what else is known of the run.
        whole: write the whole network whatever the recipe says.
    """
    dtype = stored_dtype(config)
    if whole or config.save.weights == 'merged':
        setup.save(folder, merged_state_dict(setup.model, dtype), results)
    else:
        parts = {n: p.detach().to('cpu', dtype) for n, p in trainable(setup.model)}
        setup.save(folder, parts, results, file=ADAPTERS_FILE)
    write_card(folder)


def merge(checkpoint: Path, output: Path, start: str | None = None) -> CheckpointMetadata:
    """Make a whole checkpoint of one that holds only what trained.

    Args:
        checkpoint: of a run with `save.weights=adapters`.
        output: folder of the result; must not exist.
        start: where the weights lie that the run started from; None: where they lay then.

    Returns:
        The metadata of the result.

    Raises:
        CheckpointError: no such checkpoint, `output` exists, or the start weights do not fit.
        ConfigError: the recipe of the checkpoint cannot be read.
    """
    if output.exists():
        raise CheckpointError(f'{output}: exists; name a new folder')
    metadata = read_checkpoint_metadata(checkpoint)
    recipe = metadata.training.get('config')
    if recipe is None or not (checkpoint / ADAPTERS_FILE).is_file():
        raise CheckpointError(
            f'checkpoint {checkpoint}: has no {ADAPTERS_FILE} to merge; only checkpoints of runs '
            'with save.weights=adapters have'
        )
    config = build(TrainConfig, recipe)
    if start is not None:
        config = replace(config, start=replace(config.start, path=start))
    model = start_model(config, metadata.config)
    adapt(model, config.adaptation, frozen_dtype(config))
    _load_trained(model, checkpoint, metadata)
    model.metadata = metadata
    result = model.save_pretrained(
        output, state_dict=merged_state_dict(model, stored_dtype(config))
    )
    Tokenizer.from_directory(checkpoint).save(output)
    write_card(output)
    return result


def _load_trained(model: VLAAdapter, folder: Path, metadata: CheckpointMetadata) -> None:
    stored = open_weights(folder, metadata, ADAPTERS_FILE)
    parameters: dict[str, nn.Parameter] = dict(trainable(model))
    check_names(
        {name: tuple(value.shape) for name, value in parameters.items()},
        {name: lazy.shape for name, lazy in stored.items()},
        f'checkpoint {folder}',
    )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(stored[name].read_finite(parameter.dtype))
