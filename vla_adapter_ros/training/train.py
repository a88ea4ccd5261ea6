# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Train a VLA-Adapter.

python -m vla_adapter_ros.training.train --config config/train/paper.yaml key=value …
torchrun --nproc-per-node 4 -m vla_adapter_ros.training.train --config … key=value …
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import platform
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.training.config import TrainConfig, load_config
from vla_adapter_ros.training.config_loader import build, describe, to_dict

# Memory of a card [GB] → batch_size of its recipe, config/train/small_memory_*gb.yaml.
RECIPE_BATCHES = {80: 16, 40: 8, 24: 4, 10: 1}
RECOMPILE_LIMIT = 64
# Settings that may change when a run is resumed: they do not affect the result.
RESUMABLE_CHANGES = ('output_dir', 'log', 'save', 'simulation', 'compute')
RESUMABLE_DATA_CHANGES = ('workers', 'prefetch', 'cache')


def run(config: TrainConfig) -> Path:
    """Train as configured; return the folder of the last checkpoint.

    Raises:
        VLAAdapterError: settings, data or weights do not fit, or the run cannot continue.
    """
    import torch

    try:
        return _run(config)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise out_of_memory(config, _last(config)) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # the message of torch on a CPU
            raise
        raise out_of_memory(config, _last(config)) from error


def _last(config: TrainConfig) -> Path | None:
    from vla_adapter_ros.training.checkpoints.run_folder import RunFolder

    return RunFolder(Path(config.output_dir), config.save.keep_last).last()


def _run(config: TrainConfig) -> Path:
    from vla_adapter_ros.data.hub import pinned
    from vla_adapter_ros.training.adaptation import adapt, frozen_dtype
    from vla_adapter_ros.training.assembly import build_setup
    from vla_adapter_ros.training.batches import TrainingBatches
    from vla_adapter_ros.training.checkpoints.content import write_checkpoint
    from vla_adapter_ros.training.metrics import RunLog
    from vla_adapter_ros.training.processes import Processes
    from vla_adapter_ros.training.trainer import Hooks, Trainer, TrainingError
    from vla_adapter_ros.training.validation import validation_hook
    from vla_adapter_ros.weights.released import pinned_model

    accelerator = make_accelerator(config)
    processes = Processes(accelerator)
    main = processes.is_first
    with processes.first_alone():  # the first process downloads, and builds the cache
        # The checkpoints name the commit that the run was trained on.
        datasets = [pinned(path) for path in config.data.datasets]
        config = replace(
            config,
            data=replace(config.data, datasets=datasets),
            start=replace(config.start, path=pinned_model(config.start.source)),
        )
        setup = build_setup(config, progress=main)
    backbone = adapt(setup.model, config.adaptation, frozen_dtype(config))
    apply_compute_settings(setup.model, config)
    if config.compute.feature_cache:
        from vla_adapter_ros.training.feature_cache import use_feature_cache

        with processes.first_alone():
            use_feature_cache(setup, config, accelerator.device, main)
    batches = TrainingBatches(
        config, setup.mixture, setup.collate, processes.rank, processes.count
    )
    recipe = to_dict(config)

    def write(folder: Path, step: int, whole: bool = False) -> None:
        results = {'config': recipe, 'step': step, 'processes': processes.count}
        write_checkpoint(setup, config, folder, results, whole)

    device = accelerator.device
    validate = validation_hook(setup, config, device, processes) if setup.validation else None
    if not config.save.validate_every:
        validate = None
    hooks = Hooks(write, validate, simulation_hook(config, write, device.type))
    processes.wait()  # one may have loaded its weights from a slower disk
    trainer = Trainer(config, setup.model, batches, hooks, accelerator, backbone, processes)
    last = trainer.folder.last() if config.save.resume else None
    if last is not None:
        check_resumable(last, recipe)
        trainer.resume(last)
    try:
        with RunLog(
            Path(config.output_dir), config.log, recipe, main, trainer.step
        ) as log:
            trainer.train(log)
    except OSError as error:  # disk full, not writable
        raise TrainingError(
            f'{error.filename or config.output_dir}: {error.strerror or error}; '
            f'the last good checkpoint is {trainer.folder.last() or "none"}'
        ) from error
    finally:
        accelerator.end_training()
    return trainer.folder.last() or Path(config.output_dir)


def make_accelerator(config: TrainConfig) -> Any:
    """Return the accelerator: device, mixed precision, and whatever torchrun started.

    Raises:
        ConfigError: the device does not exist here.
    """
    import torch
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    from vla_adapter_ros.errors import ConfigError

    compute = config.compute
    if compute.device not in ('auto', 'cpu', 'cuda'):
        raise ConfigError(f'compute.device: got {compute.device!r}, expected auto, cpu or cuda')
    if compute.device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('compute.device: got cuda, but torch sees no GPU here; use cpu or auto')
    if compute.threads:
        torch.set_num_threads(compute.threads)
    on_cpu = compute.device == 'cpu' or not torch.cuda.is_available()
    if on_cpu:
        _keep_freed_memory()
        # Said of depthwise kernels (24, 1, 7, 7): only the stride of the single channel differs.
        warnings.filterwarnings('ignore', 'Grad strides do not match bucket view strides')
    # accelerate remembers the first precision of a process; a notebook may train twice.
    AcceleratorState._reset_state()
    return Accelerator(
        cpu=on_cpu,
        mixed_precision='bf16' if compute.precision == 'bf16' else 'no',
        kwargs_handlers=[
            DistributedDataParallelKwargs(
                # Gradients live in the buffers that are sent: no second copy of them.
                gradient_as_bucket_view=True,
                # Each step computes the same graph. torch notes it in the first backward pass,
                # which must not be one of several whose gradients are not sent.
                static_graph=config.accumulate == 1,
            )
        ],
    )


def _keep_freed_memory() -> None:
    """Have glibc keep freed memory: each step of a CPU allocates the same tensors again.

    Otherwise large ones go back to the kernel, which maps and clears their pages at each step.
    """
    if platform.libc_ver()[0] == 'glibc':
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, at its maximum


def apply_compute_settings(model: Any, config: TrainConfig) -> None:
    """Switch on gradient checkpointing and the compilation of stems and repeated blocks."""
    model.set_gradient_checkpointing(config.compute.gradient_checkpointing)
    if config.compute.compile and _has_compiler():
        import torch._dynamo

        from vla_adapter_ros.model.small.stem import ConvStem, KeypointToken

        # Blocks of all kinds share torch's budget of compiled forms (8), since they are compiled
        # through one method. Towers, layers and policy, with gradients and without, need more;
        # what lies beyond it would run uncompiled.
        torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
        stems = [part for part in model.modules() if isinstance(part, (ConvStem, KeypointToken))]
        for part in [*stems, *model.repeated_blocks]:
            part.compile()  # in place: parameter names stay


def _has_compiler() -> bool:
    """Return whether there is a C++ compiler, which torch needs to compile; warn if not."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError:
        print('compute.compile: no C++ compiler (g++) here; training goes on without it',
              file=sys.stderr)  # fmt: skip
        return False
    return True


def simulation_hook(
    config: TrainConfig, write: Callable[[Path, int, bool], None], device: str
) -> Callable[[int], dict[str, float]] | None:
    """Return the trainer's success rate in simulation, or None if it is off."""
    if not config.simulation.every:
        return None
    import tempfile

    from vla_adapter_ros.training.simulation_check import check_tasks, success_rates

    check_tasks(config.simulation)

    def evaluate(step: int) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), step, True)
            return success_rates(Path(folder), config.simulation, device)

    return evaluate


def check_resumable(checkpoint: Path, recipe: dict[str, Any]) -> None:
    """Refuse to continue a run under a recipe that would change the result.

    Raises:
        TrainingError: naming the first difference.
    """
    from vla_adapter_ros.training.trainer import TrainingError
    from vla_adapter_ros.weights.directory import read_checkpoint_metadata

    before = read_checkpoint_metadata(checkpoint).training.get('config', {})
    found = differences(*map(settings_that_affect_learning, (before, recipe)))
    if found:
        raise TrainingError(
            f'resume {checkpoint}: {found[0]}; to continue training with other settings use '
            f'another output_dir with start.kind=checkpoint start.path={checkpoint}'
        )


def settings_that_affect_learning(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe that affect the result.

    A setting unknown to an older release counts as its default.
    """
    with contextlib.suppress(VLAAdapterError):  # a recipe this release cannot read stays as it is
        recipe = to_dict(build(TrainConfig, recipe))
    kept = {k: v for k, v in recipe.items() if k not in RESUMABLE_CHANGES}
    data = recipe.get('data', {})
    kept['data'] = {k: v for k, v in data.items() if k not in RESUMABLE_DATA_CHANGES}
    return kept


def differences(before: Any, now: Any, place: str = '') -> list[str]:
    """Return a line for each setting that differs between two recipes."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted({*before, *now})
        return [
            line
            for key in keys
            for line in differences(before.get(key), now.get(key), f'{place}.{key}'.lstrip('.'))
        ]
    return [] if before == now else [f'{place} was {before!r}, now is {now!r}']


def out_of_memory(config: TrainConfig, last: Path | None) -> VLAAdapterError:
    """Return the error that names a recipe for this device."""
    import torch

    from vla_adapter_ros.training.trainer import TrainingError

    gpu = torch.cuda.is_available() and config.compute.device != 'cpu'
    total = torch.cuda.mem_get_info()[1] / 1e9 if gpu else 0.0
    # A card of "24 GB" has a little more or less than that many gigabytes.
    sizes = [size for size in RECIPE_BATCHES if size <= total * 1.05] or [10]
    smaller = [size for size in sizes if RECIPE_BATCHES[size] < config.batch_size]
    advice = [f'config/train/small_memory_{smaller[0]}gb.yaml'] if smaller else []
    if config.batch_size > 1:
        advice.append('halve batch_size and double accumulate')
    if not config.compute.gradient_checkpointing:
        advice.append('set compute.gradient_checkpointing=true')
    if config.adaptation.mode != 'frozen':
        advice.append('train less (adaptation.rank, adaptation.mode)')
    where = f'on a device of {total:.0f} GB' if gpu else "in this machine's memory"
    return TrainingError(
        f'out of memory with batch_size={config.batch_size} {where}; ways out: '
        f'{", or ".join(advice) or "a device with more memory"}; last checkpoint: {last or "none"}'
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.training.train',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='settings (key=value or --key=value):\n' + '\n'.join(describe(TrainConfig)),
    )
    parser.add_argument('--config', help='recipe: a YAML file, or the name of one that ships')
    parser.add_argument(
        '--dry-run', action='store_true',
        help='print parameters per module, memory estimate, steps and the shapes of one batch',
    )  # fmt: skip
    parser.add_argument('overrides', nargs='*', metavar='key=value', help='settings; see below')
    # `--key=value` is accepted for `key=value`.
    options, settings = parser.parse_known_args(arguments)
    options.overrides += settings
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = parse(arguments)
    try:
        config = load_config(options.config, options.overrides)
        if options.dry_run:
            from vla_adapter_ros.training.dry_run import dry_run

            print(dry_run(config))
        else:
            last = run(config)
            if os.environ.get('RANK', '0') == '0':  # of torchrun's processes one is enough
                print(last)
    except VLAAdapterError as error:
        print(f'error: {error}', file=sys.stderr)
        from vla_adapter_ros.training.trainer import TrainingStopped

        return 128 + signal.SIGTERM if isinstance(error, TrainingStopped) else 1
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
