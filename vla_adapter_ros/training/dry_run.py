# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The dry run: sizes, memory, steps, and one real batch of a run, without training."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import nn

from vla_adapter_ros.model.precision import as_on_a_gpu
from vla_adapter_ros.training.adaptation import adapt, count_by_module, frozen_dtype
from vla_adapter_ros.training.assembly import TrainingSetup, build_setup
from vla_adapter_ros.training.batches import TrainingBatches
from vla_adapter_ros.training.config import TrainConfig


class _SavedBytes:
    """Counts what autograd keeps for the backward pass, each storage once."""

    def __init__(self, parameters: set[int]) -> None:
        self._seen = set(parameters)
        self.total = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.total += storage.nbytes()
        return tensor


def weight_memory_gb(model: nn.Module, ema: bool) -> float:
    """Return weights, gradients, AdamW moments and average [GB]; exact.

    Muon keeps one moment of a matrix, not two: with it the sum is a little less.
    """
    total = 0
    for parameter in model.parameters():
        copies = (4 + ema) if parameter.requires_grad else 1
        total += parameter.numel() * parameter.element_size() * copies
    return total / 1e9


def activation_memory_gb(setup: TrainingSetup, config: TrainConfig) -> float:
    """Return what one micro-batch keeps for its backward pass [GB].

    Measured on one sample and on two: part of it does not grow with the batch, such as the
    bfloat16 copies that autocast makes of float32 weights (half a gigabyte at the released size).
    """
    one = _saved_bytes(setup, config, 1)
    if config.batch_size == 1:
        return one / 1e9
    each = _saved_bytes(setup, config, 2) - one
    return (one + each * (config.batch_size - 1)) / 1e9


def _saved_bytes(setup: TrainingSetup, config: TrainConfig, size: int) -> int:
    """Return what autograd keeps of a forward pass over `size` samples [bytes]."""
    samples = setup.mixture.datasets[0].batch([0] * size)
    device = setup.model.device
    batch = setup.collate(samples, device, training=True)
    counter = _SavedBytes({p.untyped_storage().data_ptr() for p in setup.model.parameters()})
    mixed = config.compute.precision == 'bf16'
    setup.model.set_gradient_checkpointing(config.compute.gradient_checkpointing)
    place = nullcontext() if config.compute.device == 'cpu' else as_on_a_gpu()
    with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda tensor: tensor), place:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            setup.model.train().compute_loss(batch)
    return counter.total


def dry_run(config: TrainConfig, world: int = 1) -> str:
    """Return the report of `--dry-run`.

    Raises:
        VLAAdapterError: whatever the run itself would refuse before its first step.
    """
    setup = build_setup(config, progress=True)
    adapt(setup.model, config.adaptation, frozen_dtype(config))
    features: list[str] = []
    if config.compute.feature_cache:
        from vla_adapter_ros.training.feature_cache import describe_cache

        features = describe_cache(setup, config)
    batches = TrainingBatches(config, setup.mixture, setup.collate, 0, world)
    samples = next(batches.training(0))
    batch = batches.prepare(samples, torch.device('cpu'))
    fixed, moving = weight_memory_gb(setup.model, config.ema > 0), activation_memory_gb(
        setup, config)  # fmt: skip
    per_step = config.batch_size * config.accumulate * world
    epochs = config.steps * config.accumulate / batches.order.steps_per_epoch
    held = sum(len(d.selected) for d in setup.validation)
    shown = sum(len(d.selected) for d in setup.mixture.datasets)
    lines = [
        'parameters                        train       frozen',
        *(f'  {n:<24}{a:>15,}{b:>13,}' for n, (a, b) in count_by_module(setup.model).items()),
        f'memory (estimate)   {fixed:.2f} GB weights, gradients and AdamW + {moving:.2f} GB '
        f'activations = {fixed + moving:.2f} GB, and what the libraries take',
        f'data                {len(setup.mixture)} observations of {shown} episodes, '
        f'{held} episodes held out',
        f'steps               {config.steps} of {per_step} samples = {epochs:.1f} epochs',
        *features,
        'one batch',
        *(f'  {name:<18}{tuple(value.shape)!s:<24}{value.dtype}' for name, value in batch.items()),
        f'  first instruction  {samples.instructions[0]!r}',
    ]
    return '\n'.join(lines)
