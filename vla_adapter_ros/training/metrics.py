# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Metrics of a run: phase times, throughput, MFU, memory; where they are written."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import secrets
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from vla_adapter_ros.training.config import LogConfig
from vla_adapter_ros.weights.files import make_folder, write_text

# Dense bf16 peak of one device [TFLOP/s], from the vendors' data sheets.
_PEAK_TFLOPS = {
    'H200': 989.0, 'H100 PCIe': 756.0, 'H100': 989.0, 'A100': 312.0, 'L40S': 362.0, 'L40': 181.0,
    'L4': 121.0, 'A6000': 155.0, 'RTX 5090': 209.5, 'RTX 4090': 165.2, 'RTX 3090': 71.0,
    'T4': 65.0,
}


class PhaseTimer:
    """Time spent in each phase of the step [s]; on CUDA measured by events, without waiting."""

    def __init__(self, cuda: bool) -> None:
        self._cuda = cuda
        self._marks: list[tuple[str, Any]] = []

    def start(self) -> None:
        """Begin a step (or continue after another micro-step)."""
        self._mark('')

    def end(self, phase: str) -> None:
        """Give the time since the last mark to `phase`."""
        self._mark(phase)

    def _mark(self, phase: str) -> None:
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((phase, event))
        else:
            self._marks.append((phase, time.perf_counter()))

    def collect(self) -> dict[str, float]:
        """Return phase → seconds since the last collect, and forget them."""
        if self._cuda:
            torch.cuda.synchronize()
        totals: dict[str, float] = defaultdict(float)
        for (_, before), (phase, after) in zip(self._marks, self._marks[1:]):
            if phase:
                gone = before.elapsed_time(after) / 1e3 if self._cuda else after - before
                totals[phase] += gone
        self._marks.clear()
        return dict(totals)


def peak_flops(device: torch.device, config: LogConfig) -> float | None:
    """Return the dense peak of one device [FLOP/s], or None if it is not known."""
    if config.peak_tflops:
        return config.peak_tflops * 1e12
    if device.type != 'cuda':
        return None
    return known_peak(torch.cuda.get_device_name(device))


def known_peak(name: str) -> float | None:
    """Return the dense peak [FLOP/s] of a device by its name (`NVIDIA L4`; an L40 is another)."""
    found = (v for key, v in _PEAK_TFLOPS.items() if re.search(rf'\b{key}\b', name))
    return next((value * 1e12 for value in found), None)


def peak_memory_gb(device: torch.device) -> float:
    """Return the most memory the run has held [GB]: of the GPU, or of this process."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 1e9
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class RunLog:
    """Writes numbers to metrics.jsonl, TensorBoard, and Weights & Biases when asked.

    Args:
        folder: the run's folder.
        config: which of them.
        description: the run's configuration, stored with it.
        active: False on all but the first process; nothing is then written.
        step: at which the run goes on; what was logged of later steps is removed.
    """

    def __init__(
        self, folder: Path, config: LogConfig, description: dict[str, Any], active: bool,
        step: int = 0,
    ) -> None:
        self._file = self._board = self._wandb = None
        if not active:
            return
        make_folder(folder)
        lines = folder / 'metrics.jsonl'
        _forget_after(step, lines)
        self._file = lines.open('a', encoding='utf-8')
        if config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / 'tensorboard'), purge_step=step + 1)
        if config.wandb:
            self._wandb = _start_wandb(config.wandb, folder, description)

    def write(self, step: int, values: dict[str, float], group: str) -> None:
        """Log named numbers of one step under `group`."""
        if self._file is None:
            return
        named = {f'{group}/{k}': round(float(v), 6) for k, v in values.items()}
        self._file.write(json.dumps({'step': step, **named}) + '\n')
        self._file.flush()
        if self._board is not None:
            for name, value in named.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(named, step=step)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Flush and close everything."""
        for sink in (self._file, self._board):
            if sink is not None:
                sink.close()
        if self._wandb is not None:
            self._wandb.finish()


def _forget_after(step: int, path: Path) -> None:
    """Remove the lines of steps after `step`, and one that a crash cut off."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if json.loads(line)['step'] <= step:
                kept.append(line + '\n')
    write_text(path, ''.join(kept))


def _start_wandb(project: str, folder: Path, description: dict[str, Any]) -> Any:
    try:
        import wandb
    except ImportError:
        print(f'log.wandb={project}: the package wandb is not installed; '
              'logging continues without it', file=sys.stderr)
        return None
    try:
        return wandb.init(
            project=project, dir=str(folder), config=description, id=_wandb_id(folder),
            resume='allow',
        )  # fmt: skip
    except (wandb.Error, OSError) as error:  # a missing key or network must not stop the training
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        print(f'log.wandb={project}: cannot be started ({reason}); logging continues without it; '
              'WANDB_MODE=offline needs no account', file=sys.stderr)
        return None


def _wandb_id(folder: Path) -> str:
    """Return the run's name for Weights & Biases, so that a resumed run continues its charts."""
    path = folder / 'wandb_id.txt'
    if not path.is_file():
        path.write_text(secrets.token_hex(4) + '\n', encoding='utf-8')
    return path.read_text(encoding='utf-8').strip()
