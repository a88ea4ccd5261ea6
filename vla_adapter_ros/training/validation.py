# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Errors on held-out episodes while training, and open-loop plots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vla_adapter_ros.evaluation.open_loop import action_names
from vla_adapter_ros.training.assembly import TrainingSetup
from vla_adapter_ros.training.batches import validation_inputs
from vla_adapter_ros.training.config import TrainConfig
from vla_adapter_ros.training.processes import Processes
from vla_adapter_ros.training.trainer import Batch


@torch.no_grad()
def validate(
    setup: TrainingSetup, config: TrainConfig, device: torch.device, processes: Processes
) -> dict[str, float]:
    """Return mean absolute errors: `l1` (normalised), and per joint in physical units.

    Each process computes its part of the batches; all return the same. Chunk steps after the end
    of an episode are left out of the physical figures.
    """
    setup.model.eval()
    size = setup.model.config.action_dim
    normalised, physical = np.zeros(2), np.zeros((2, size))  # sums and counts
    inputs = validation_inputs(
        setup.collate, setup.validation, config, device, processes.rank, processes.count
    )
    for name, samples, batch in inputs:
        predicted = _predict(setup, config, batch)
        error = (predicted - batch['actions'].float()).abs()
        if 'valid' in batch:
            error = error[batch['valid']]
        normalised += error.double().sum().item(), error.numel()
        actions = setup.collate.actions[name]
        offset = np.abs(actions.denormalise(predicted.cpu().numpy()) - samples.actions)
        real = offset[~samples.is_pad]
        physical += real.sum(axis=0, dtype=np.float64), np.full(size, len(real))
    total, count = processes.sum(normalised)
    sums, counts = processes.sum(physical)
    names = action_names(setup.contract, size)
    errors = {f'l1_{n}': float(e) for n, e in zip(names, sums / counts, strict=True)}
    return {'l1': float(total / count)} | errors


def _predict(setup: TrainingSetup, config: TrainConfig, batch: Batch) -> torch.Tensor:
    """Return normalised actions, computed in the precision of training."""
    mixed = config.compute.precision == 'bf16'
    with torch.autocast(batch['proprio'].device.type, torch.bfloat16, enabled=mixed):
        return setup.model.predict(
            batch['pixel_values'], batch['input_ids'], batch['proprio'],
            attention_mask=batch['attention_mask'],
        )  # fmt: skip


def validation_hook(
    setup: TrainingSetup, config: TrainConfig, device: torch.device, processes: Processes
) -> Callable[[int], dict[str, float]]:
    """Return the trainer's validation: errors, and on the first process plots as PNG."""

    def run(step: int) -> dict[str, float]:
        errors = validate(setup, config, device, processes)
        if processes.is_first and config.save.plots:
            _plot_episodes(setup, config, device, step)
        return errors

    return run


def _plot_episodes(
    setup: TrainingSetup, config: TrainConfig, device: torch.device, step: int
) -> None:
    from vla_adapter_ros.evaluation.open_loop import plot_chunks, with_units

    names = with_units(
        action_names(setup.contract, setup.model.config.action_dim), setup.contract
    )
    dataset = setup.validation[0]
    actions = setup.collate.actions[dataset.name]
    folder = Path(config.output_dir) / 'plots'
    long_enough = [e for e in dataset.selected if dataset.indices_of(e)]
    for episode in long_enough[: config.save.plots]:
        samples = dataset.batch(np.array(dataset.indices_of(episode)))
        batch = setup.collate(samples, device, False, dataset.name)
        predicted = _predict(setup, config, batch)
        plot_chunks(
            samples.actions, actions.denormalise(predicted.cpu().numpy()), names,
            folder / f'step-{step:08d}-episode-{episode:05d}.png', samples.instructions[0],
        )  # fmt: skip
