# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Training speed of a recipe, against a plain loop over the same data and network.

    python -m benchmarks.training --config config/train/tiny_sim.yaml key=value …

The plain loop is what a first version would be: each batch is loaded and prepared when it is
needed, nothing is compiled, the optimiser goes parameter by parameter. A recipe with
`compute.feature_cache=true` is compared with itself without the cache as well. On a CPU all take
turns, so that other work on the machine hits each; on a GPU one follows the other.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vla_adapter_ros.data.training.loader import load_batches
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.training.adaptation import adapt, frozen_dtype
from vla_adapter_ros.training.assembly import build_setup
from vla_adapter_ros.training.batches import TrainingBatches
from vla_adapter_ros.training.config import TrainConfig, load_config
from vla_adapter_ros.training.feature_cache import use_feature_cache
from vla_adapter_ros.training.optimizer import make_optimizer, parameter_groups, trainable
from vla_adapter_ros.training.train import apply_compute_settings, make_accelerator
from vla_adapter_ros.training.trainer import LossModule


def _step(config: TrainConfig, accelerator: Any) -> Callable[[], None]:
    """Return a function that makes one optimiser step of a fresh network as configured."""
    setup = build_setup(config, progress=False)
    adapt(setup.model, config.adaptation, frozen_dtype(config))
    apply_compute_settings(setup.model, config)
    if config.compute.feature_cache:
        use_feature_cache(setup, config, accelerator.device, progress=True)
    batches = TrainingBatches(config, setup.mixture, setup.collate, 0, 1)
    named = trainable(setup.model.train())
    groups = parameter_groups(named, config.optimizer)
    optimizer = make_optimizer(groups, config.optimizer, config.compute.fused_optimizer)
    if not config.compute.fused_optimizer:
        for group in optimizer.param_groups:
            group['foreach'] = False
    module, optimizer = accelerator.prepare(LossModule(setup.model), optimizer)
    stream: Iterator[Any] = load_batches(
        setup.mixture, batches.order, workers=config.data.workers, ahead=config.data.prefetch
    )

    def step() -> None:
        for _ in range(config.accumulate):
            batch = batches.prepare(next(stream), accelerator.device)
            accelerator.backward(module(batch) / config.accumulate)
        accelerator.clip_grad_norm_([p for _, p in named], config.optimizer.clip_norm or 1e9)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if accelerator.device.type == 'cuda':
            torch.cuda.synchronize()

    return step


def plain(config: TrainConfig) -> TrainConfig:
    """Return the same run without prefetch, compilation, fused optimiser and feature cache."""
    compute = replace(config.compute, compile=False, fused_optimizer=False, feature_cache=False)
    return replace(config, data=replace(config.data, workers=0), compute=compute)


def _time_steps(
    variants: dict[str, TrainConfig], accelerator: Any, steps: int, warm_up: int
) -> dict[str, list[float]]:
    """Return the seconds of each step of each variant; they take turns."""
    runs = {name: _step(variant, accelerator) for name, variant in variants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(steps + warm_up):
        for name, step in runs.items():
            began = time.perf_counter()
            step()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - began)
    accelerator.free_memory()
    return seconds


def compare(config: TrainConfig, steps: int, warm_up: int = 3) -> dict[str, float]:
    """Return samples/s of recipe and plain loop (median step of each), and the ratio.

    With a feature cache also those of the recipe without it, and `feature_cache_ratio`.
    """
    accelerator = make_accelerator(config)
    variants = {'recipe': config, 'plain_loop': plain(config)}
    if config.compute.feature_cache:
        compute = replace(config.compute, feature_cache=False)
        variants['no_feature_cache'] = replace(config, compute=compute)
    if accelerator.device.type == 'cuda':  # two networks may not fit; nobody shares the card
        turns = [{name: variant} for name, variant in variants.items()]
    else:
        turns = [variants]
    seconds: dict[str, list[float]] = {}
    for together in turns:
        seconds |= _time_steps(together, accelerator, steps, warm_up)
        gc.collect()
        torch.cuda.empty_cache()
    samples = config.batch_size * config.accumulate
    rates = {name: samples / float(np.median(times)) for name, times in seconds.items()}
    figures = {f'{name}_samples_per_s': rate for name, rate in rates.items()}
    figures['ratio'] = rates['recipe'] / rates['plain_loop']
    if 'no_feature_cache' in rates:
        figures['feature_cache_ratio'] = rates['recipe'] / rates['no_feature_cache']
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.training',
        description='Measure the training speed of a recipe against a plain loop over the same '
        'data and network; prints one JSON object.',
    )
    parser.add_argument('--config', help='recipe (YAML)')
    parser.add_argument('--steps', type=int, default=20, help='timed steps of each (20)')
    parser.add_argument('overrides', nargs='*', metavar='key=value', help='settings of training')
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config, options.overrides)
        print(json.dumps(compare(config, options.steps), indent=2))
    except VLAAdapterError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
