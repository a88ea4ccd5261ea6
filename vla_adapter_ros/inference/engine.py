# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Running the network on a device: choice of device and precision, warm-up, compilation.

    CPU   exact prompt length, eager, packed weights; float32, bfloat16, or int8 (gated by its
          action error)
    GPU   CUDA graphs captured at the start, optionally with compiled blocks; bfloat16

The GPU path is checked on the CPU as far as that goes (padding, static buffers, compilation
without graph breaks). Its speed has not been measured yet.

One thread must own an engine: a CUDA graph is captured and replayed by the same thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.cuda_graphs import CapturedForward, bucket_of, compile_blocks
from vla_adapter_ros.inference.int8 import (
    INT8_NEEDS,
    ActionError,
    check_actions,
    int8_works,
    quantise,
)
from vla_adapter_ros.inference.joined import join_language_layers
from vla_adapter_ros.inference.packed_linear import pack_if_possible
from vla_adapter_ros.inference.session import InferenceSession, Prompt
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.processing.images import ImageConfig
from vla_adapter_ros.processing.pipeline import ModelInputs, padded_prompts
from vla_adapter_ros.processing.pixels import Pixels

CACHED_PROMPTS = 16
# Instructions this much longer than the examples' fit the same graph; others run without it.
SPARE_TOKENS = 16
LOGGER = logging.getLogger(__name__)
DTYPES = {
    'float32': torch.float32,
    'bfloat16': torch.bfloat16,
    'float16': torch.float16,
    'int8': torch.bfloat16,  # activations between the layers: half the memory traffic of float32
}


class DeviceError(VLAAdapterError):
    """The requested device or precision is not available or cannot run the network."""


@dataclass(frozen=True)
class EngineSettings:
    """Device, precision and threads.

    Attributes:
        device: `auto` (CUDA if there is one), `cpu`, `cuda`, `cuda:1`, …
        dtype: `float32`, `bfloat16`, `float16`, `int8` (CPU) or `auto`: bfloat16 on CUDA, float16
            on a GPU that lacks it, float32 on the CPU (a checkpoint's policy then looks for a
            faster one with the same actions, `precision.py`).
        compile: compile the network's blocks on CUDA (minutes at the first start). Ignored on the
            CPU, where it took minutes to gain a tenth.
        threads: CPU threads; 0: all cores but one, for the rest of the robot's software.
    """

    device: str = 'auto'
    dtype: str = 'auto'
    compile: bool = False
    threads: int = 0

    def resolved(self) -> tuple[torch.device, str]:
        """Return the device and the name of the precision.

        Raises:
            DeviceError: no such device or precision here; the message lists those available.
        """
        name = self.device
        if name == 'auto':
            name = 'cuda' if torch.cuda.is_available() else 'cpu'
        if not re.fullmatch(r'cpu|cuda(:\d+)?', name):
            raise DeviceError(f'device: got {name!r}, expected auto, cpu, cuda or cuda:N')
        device = torch.device(name)
        if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
            raise DeviceError(f'device: got {name!r}, this machine has {_devices()}')
        dtype = self.dtype
        if dtype == 'auto':
            dtype = _gpu_dtype(device) if device.type == 'cuda' else 'float32'
        if dtype not in DTYPES:
            raise DeviceError(f'dtype: got {dtype!r}, expected one of {["auto", *DTYPES]}')
        if dtype == 'int8' and device.type != 'cpu':
            raise DeviceError('dtype: int8 runs on the CPU only; use bfloat16 on a GPU')
        if dtype == 'int8' and not int8_works():
            raise DeviceError(f'dtype: int8 needs {INT8_NEEDS}; use auto')
        return device, dtype

    @property
    def load_dtype(self) -> torch.dtype:
        """The dtype to load weights in."""
        return DTYPES[self.resolved()[1]]

    def apply_threads(self) -> int:
        """Set torch's CPU threads and return how many."""
        threads = self.threads or max(1, len(os.sched_getaffinity(0)) - 1)
        torch.set_num_threads(threads)
        return threads


def _gpu_dtype(device: torch.device) -> str:
    """Return the 16-bit format that a GPU computes in: bfloat16 came with Ampere."""
    return 'bfloat16' if torch.cuda.get_device_capability(device) >= (8, 0) else 'float16'


def _batch(rows: Sequence[np.ndarray]) -> torch.Tensor:
    """Return arrays of one shape as a batch; one alone is not copied."""
    return torch.from_numpy(rows[0][None] if len(rows) == 1 else np.stack(rows))


def _devices() -> str:
    return ', '.join(['cpu', *(f'cuda:{i}' for i in range(torch.cuda.device_count()))])


class Engine:
    """The network on its device, fed with `ModelInputs`.

    Args:
        model: on the CPU or already on the device; converted in place, and on the CPU its linear
            layers replaced (`packed_linear.py`): the engine owns it from here on.
        settings: device and precision.
    """

    def __init__(self, model: VLAAdapter, settings: EngineSettings | None = None) -> None:
        self.settings = settings or EngineSettings()
        self.device, self.dtype = self.settings.resolved()
        self.threads = self.settings.apply_threads()
        self.model = model.to(self.device, DTYPES[self.dtype]).eval()
        self.int8_error: ActionError | None = None
        self._quantised = False
        self._captured: list[CapturedForward] = []  # the smallest batch first
        self._pixels: Pixels | None = None
        self._compiled = False
        if self.device.type == 'cuda':
            join_language_layers(self.model.decoder)
            if self.settings.compile:
                compile_blocks(self.model)
                self._compiled = True
        if self.device.type == 'cpu' and self.dtype != 'int8':
            pack_if_possible(self.model)
        self._prepare_session()

    def take_views(self, images: ImageConfig) -> None:
        """Crop and normalise resized views (n, S, S, 3) uint8 on the device, from now on.

        On a GPU that is part of the graph, and an eighth of the bytes are copied to it.
        """
        self._pixels = Pixels(images).to(self.device)
        self._captured = []
        self._prepare_session()

    def _prepare_session(self) -> None:
        self.session = InferenceSession(self.model, pixels=self._pixels)
        self._prompts: OrderedDict[tuple[bytes, ...], Prompt] = OrderedDict()

    @property
    def chunk_size(self) -> int:
        """Actions in a chunk."""
        return self.model.config.chunk_size

    def prepare(self, examples: Sequence[ModelInputs], batch: int = 1) -> None:
        """Warm up before the first real call: quantise and check, or capture a CUDA graph.

        Args:
            examples: inputs like those to come. A graph is captured for prompts of their
                length and some tokens more; capturing takes seconds, so `run` never does.
            batch: observations at once in `run_many`; above 1, a second graph is captured.

        Raises:
            QuantisationError: int8 changes the actions of `examples` too much.
            DeviceError: the actions are not finite; float16 ends at 65504.
        """
        if self.dtype == 'int8' and not self._quantised:
            self._quantise(examples)
        if self.device.type == 'cuda' and not self._captured:
            longest = max(examples, key=lambda inputs: len(inputs.input_ids))
            for size in sorted({1, batch}):
                self._capture(longest, size)
        results = [self.run(inputs) for inputs in examples]
        if batch > 1:
            results += list(self.run_many([examples[i % len(examples)] for i in range(batch)]))
        if not np.isfinite(results).all():
            raise DeviceError(f'dtype: {self.dtype} gives actions that are not finite')

    def _quantise(self, examples: Sequence[ModelInputs]) -> None:
        reference = np.stack([self.run(inputs) for inputs in examples])
        count = quantise(self.model)
        self._prepare_session()
        self._quantised = True
        actions = np.stack([self.run(inputs) for inputs in examples])
        self.int8_error = check_actions(actions, reference)
        LOGGER.info('int8: %d linear layers, %s', count, self.int8_error)

    def run(self, inputs: ModelInputs) -> np.ndarray:
        """Return the normalised actions (K, A) float32 of one observation."""
        return self.run_many([inputs])[0]

    @torch.inference_mode()
    def run_many(self, inputs: Sequence[ModelInputs]) -> np.ndarray:
        """Return the normalised actions (B, K, A) float32 of B observations, in one batch.

        Prompts may differ: the shorter ones are padded, which changes no action.
        """
        if graph := next((g for g in self._captured if g.fits(inputs)), None):
            return graph.run(inputs)
        pixels = _batch([row.pixel_values for row in inputs]).to(self.device)
        proprio = _batch([row.proprio for row in inputs]).to(self.device)
        with self._nothing_compiled():
            actions = self.session(pixels, self._prompt(inputs), proprio)
        return actions.float().cpu().numpy()

    def _nothing_compiled(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context without compilation: of each new length it would take minutes."""
        if not self._compiled:
            return contextlib.nullcontext()
        return torch.compiler.set_stance('force_eager')

    def _prompt(self, inputs: Sequence[ModelInputs]) -> Prompt:
        """Return the prepared prompts of some instructions, cached for the last ones."""
        key = tuple(row.input_ids.tobytes() for row in inputs)
        if len(set(key)) == 1:
            key = key[:1]
        if key not in self._prompts:
            rows = [row.input_ids for row in inputs[: len(key)]]
            ids, mask = (t.to(self.device) for t in padded_prompts(rows, 0))
            ragged = len({len(row) for row in rows}) > 1
            self._prompts[key] = self.session.prompt(ids, mask if ragged else None)
            if len(self._prompts) > CACHED_PROMPTS:
                self._prompts.popitem(last=False)
        return self._prompts[key]

    def _capture(self, longest: ModelInputs, batch: int) -> None:
        """Capture a graph for the longest example's prompt; without one calls are slower."""
        length = len(longest.input_ids)
        bucket = bucket_of(length + SPARE_TOKENS) or bucket_of(length)
        if bucket is None:
            LOGGER.warning('no CUDA graph: a prompt of %d tokens is too long', length)
            return
        try:
            self._captured.append(
                CapturedForward(self.session, bucket, longest, self.device, batch)
            )
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            LOGGER.warning('CUDA graph for %d prompt tokens failed: %s', bucket, reason)
