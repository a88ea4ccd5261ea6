# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Time, memory and arithmetic of a network on its device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_adapter_ros.inference.packed_linear import PackedLinear, packing_works

MATRIX_SIDE = {'cpu': 1024, 'cuda': 8192}
MATRIX_REPEATS = 8


@dataclass
class Samples:
    """Durations of one call [s]: wall time, and CPU time of this process."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Return percentiles of both, in milliseconds."""
        result = {f'wall_p{p}_ms': _percentile(self.wall, p) for p in (50, 95, 99)}
        return result | {f'cpu_p{p}_ms': _percentile(self.cpu, p) for p in (50, 95, 99)}


def _percentile(values: list[float], percent: int) -> float:
    return 1e3 * float(np.percentile(values, percent)) if values else float('nan')


class StageTimer:
    """Times parts of a network while it runs, each under a stage's name.

    A stage that runs several times in a call is summed; one that runs inside another counts for
    itself only.

    Args:
        device: on CUDA it is synchronised around every stage, to separate the stages; take totals
            from calls without this timer.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._open: list[list[float]] = []
        self._sums: dict[str, list[float]] = {}
        self._undo: list[Callable[[], None]] = []
        self.samples: dict[str, Samples] = {}

    def watch(self, stage: str, owner: object, method: str) -> None:
        """Count calls of `owner.method` as `stage`, until `stop`."""
        original = getattr(owner, method)

        def measured(*args: Any, **kwargs: Any) -> Any:
            self._enter()
            try:
                return original(*args, **kwargs)
            finally:
                self._leave(stage)

        self.samples.setdefault(stage, Samples())
        setattr(owner, method, measured)
        # The instance's attribute hides the class's method; removing it brings that back.
        self._undo.append(lambda: delattr(owner, method))

    def stop(self) -> None:
        """Leave all watched objects as they were."""
        while self._undo:
            self._undo.pop()()

    def finish_call(self) -> None:
        """Store the sums of one call as samples."""
        for stage, (wall, cpu) in self._sums.items():
            self.samples[stage].wall.append(wall)
            self.samples[stage].cpu.append(cpu)
        self._sums = {}

    def _enter(self) -> None:
        synchronize(self._device)
        # Start of wall and CPU, then what nested stages have taken of each.
        self._open.append([time.perf_counter(), time.process_time(), 0.0, 0.0])

    def _leave(self, stage: str) -> None:
        synchronize(self._device)
        wall_start, cpu_start, nested_wall, nested_cpu = self._open.pop()
        wall, cpu = time.perf_counter() - wall_start, time.process_time() - cpu_start
        if self._open:
            self._open[-1][2] += wall
            self._open[-1][3] += cpu
        sums = self._sums.setdefault(stage, [0.0, 0.0])
        sums[0] += wall - nested_wall
        sums[1] += cpu - nested_cpu


def timed(call: Callable[[], object], device: torch.device, samples: Samples) -> object:
    """Run `call`, wait for the device, and add the duration to `samples`."""
    synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    synchronize(device)
    samples.wall.append(time.perf_counter() - wall)
    samples.cpu.append(time.process_time() - cpu)
    return result


def synchronize(device: torch.device) -> None:
    """Wait for the device's work."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


@torch.inference_mode()
def matrix_rate(device: torch.device, dtype: str) -> float:
    """Return the operations per second of a large square matrix product; the best of all methods.

    On the CPU by CPU time, so that it compares with CPU times of one thread.
    """
    side = MATRIX_SIDE[device.type]
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    products: list[Callable[[], object]] = []
    if dtype == 'int8':
        a8, b8 = a.mul(40).to(torch.int8), b.mul(40).to(torch.int8).t()
        products.append(lambda: torch._int_mm(a8, b8))
    else:
        a, b = a.to(getattr(torch, dtype)), b.to(getattr(torch, dtype))
        products.append(lambda: a @ b)
        if device.type == 'cpu' and packing_works(a.dtype):
            linear = torch.nn.Linear(side, side, bias=False, dtype=a.dtype)
            products.append(partial(PackedLinear(linear), a))
    samples = Samples()
    for product in products * MATRIX_REPEATS:
        timed(product, device, samples)
    return 2.0 * side**3 / min(samples.cpu if device.type == 'cpu' else samples.wall)


def count_flops(call: Callable[[], object]) -> int:
    """Return the floating-point operations of a call's matrix products and attentions."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


class PeakMemory:
    """Peak memory since construction: of the device on CUDA, of the process on the CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(device)
        else:
            reset_peak_rss()

    def bytes(self) -> int:
        """Return the peak in bytes."""
        if self._device.type == 'cuda':
            return int(torch.cuda.max_memory_allocated(self._device))
        return peak_rss()


def reset_peak_rss() -> None:
    """Reset this process's peak resident size (Linux only)."""
    try:
        Path('/proc/self/clear_refs').write_text('5')
    except OSError:
        return


def peak_rss() -> int:
    """Return this process's peak resident size in bytes since the last reset."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmHWM:'):
            return 1024 * int(line.split()[1])
    raise OSError('/proc/self/status has no VmHWM')
