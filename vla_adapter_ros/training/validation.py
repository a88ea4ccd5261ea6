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
from vla_adapter_ros.training.trainer import Batch


@torch.no_grad()
def validate(setup: TrainingSetup, config: TrainConfig, device: torch.device) -> dict[str, float]:
    """Return mean absolute errors: `l1` (normalised), and per joint in physical units.

    Chunk steps after the end of an episode are left out of the physical figures.
    """
    setup.model.eval()
    normalised: list[float] = []
    physical: list[np.ndarray] = []
    for name, samples, batch in validation_inputs(setup.collate, setup.validation, config, device):
        predicted = _predict(setup, config, batch)
        normalised.append((predicted - batch['actions'].float()).abs().mean().item())
        actions = setup.collate.actions[name]
        error = np.abs(actions.denormalise(predicted.cpu().numpy()) - samples.actions)
        physical.append(error[~samples.is_pad])
    joint = np.concatenate(physical).mean(axis=0)
    names = action_names(setup.contract, setup.model.config.action_dim)
    errors = {'l1': float(np.mean(normalised))}
    return errors | {f'l1_{n}': float(e) for n, e in zip(names, joint, strict=True)}


def _predict(setup: TrainingSetup, config: TrainConfig, batch: Batch) -> torch.Tensor:
    """Return normalised actions, computed in the precision of training."""
    mixed = config.compute.precision == 'bf16'
    with torch.autocast(batch['proprio'].device.type, torch.bfloat16, enabled=mixed):
        return setup.model.predict(
            batch['pixel_values'], batch['input_ids'], batch['proprio'],
            attention_mask=batch['attention_mask'],
        )  # fmt: skip


def validation_hook(
    setup: TrainingSetup, config: TrainConfig, device: torch.device, plot: bool
) -> Callable[[int], dict[str, float]]:
    """Return the trainer's validation: errors, and on the first process plots as PNG."""

    def run(step: int) -> dict[str, float]:
        errors = validate(setup, config, device)
        if plot and config.save.plots:
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
