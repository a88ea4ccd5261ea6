# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Fixed-shape forward passes: static input buffers, compiled blocks, CUDA graphs.

The released code spends most of its time in launching some 2,900 small kernels from Python. A CUDA
graph launches them in one call; for that every shape and address must be fixed, so prompts are
padded to one length.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_adapter_ros.inference.session import InferenceSession, Prompt
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.processing.pipeline import ModelInputs, padded_prompts

# LIBERO's prompts have 41 to 56 tokens, those of word-list tokenizers 5 to 15.
BUCKETS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 576)
CAPTURE_WARM_UPS = 3
COMPILE_MODE = 'max-autotune-no-cudagraphs'


def bucket_of(length: int) -> int | None:
    """Return the smallest bucket that a prompt of `length` tokens fits, or None."""
    return next((bucket for bucket in BUCKETS if length <= bucket), None)


class StaticInputs:
    """A session's inputs at fixed addresses, the prompts padded to a fixed length.

    Args:
        session: prepares prompts.
        length: prompt length to pad to.
        example: determines the other shapes.
        device: where the buffers are; on CUDA they are filled through pinned host memory.
        batch: observations at once.
    """

    def __init__(
        self,
        session: InferenceSession,
        length: int,
        example: ModelInputs,
        device: torch.device,
        batch: int = 1,
    ) -> None:
        self._session = session
        self._length = length
        self._device = device
        pinned = device.type == 'cuda'
        self._host = [
            torch.zeros(
                batch, *array.shape, dtype=torch.from_numpy(array).dtype, pin_memory=pinned
            )
            for array in (example.pixel_values, example.proprio)
        ]
        self._views = [tensor.numpy() for tensor in self._host]
        self.pixel_values, self.proprio = (
            tensor.to(device) if pinned else tensor for tensor in self._host
        )
        self._loaded_ids = [example.input_ids] * batch
        self.prompt = self._padded(self._loaded_ids)

    @torch.inference_mode()
    def load(self, inputs: Sequence[ModelInputs]) -> None:
        """Copy the inputs of 1 to `batch` observations in, and the last one to the rows left.

        Allocates only when an instruction changed.
        """
        rows = [*inputs, *[inputs[-1]] * (len(self._views[0]) - len(inputs))]
        for i, row in enumerate(rows):
            np.copyto(self._views[0][i], row.pixel_values)
            np.copyto(self._views[1][i], row.proprio)
        if self._device.type == 'cuda':
            self.pixel_values.copy_(self._host[0], non_blocking=True)
            self.proprio.copy_(self._host[1], non_blocking=True)
        prompts = [row.input_ids for row in rows]
        if not all(map(np.array_equal, prompts, self._loaded_ids)):
            new = self._padded(prompts)
            for old_tensor, new_tensor in zip(self.prompt.tensors(), new.tensors()):
                old_tensor.copy_(new_tensor)
            self._loaded_ids = prompts

    def _padded(self, prompts: Sequence[np.ndarray]) -> Prompt:
        ids, mask = padded_prompts(prompts, 0, self._length)
        return self._session.prompt(ids.to(self._device), mask.to(self._device))


class CapturedForward:
    """The complete forward pass for prompts up to one length, as one CUDA graph.

    Args:
        session: the network.
        length: prompt length to capture for.
        example: inputs to warm up with.
        device: a CUDA device.
        batch: observations at once.
    """

    def __init__(
        self,
        session: InferenceSession,
        length: int,
        example: ModelInputs,
        device: torch.device,
        batch: int = 1,
    ) -> None:
        self.length, self.batch = length, batch
        self._stream = torch.cuda.Stream(device)
        self._graph = torch.cuda.CUDAGraph()
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            self._inputs = inputs = StaticInputs(session, length, example, device, batch)
            inputs.load([example])
            # Lazy initialisation of libraries and autotuning must happen before the capture.
            for _ in range(CAPTURE_WARM_UPS):
                session(inputs.pixel_values, inputs.prompt, inputs.proprio)
            self._stream.synchronize()
            # What other threads ask of the GPU meanwhile must not spoil the capture.
            with torch.cuda.graph(
                self._graph, stream=self._stream, capture_error_mode='thread_local'
            ):
                actions = session(inputs.pixel_values, inputs.prompt, inputs.proprio)
                self._actions = actions.float()
        self._result = torch.empty(self._actions.shape, pin_memory=True)

    def fits(self, inputs: Sequence[ModelInputs]) -> bool:
        """Return whether there are few enough, with prompts that are short enough."""
        short = all(len(row.input_ids) <= self.length for row in inputs)
        return short and len(inputs) <= self.batch

    def run(self, inputs: Sequence[ModelInputs]) -> np.ndarray:
        """Return normalised actions (len(inputs), K, A); waits once, for the result."""
        with torch.cuda.stream(self._stream):
            self._inputs.load(inputs)
            self._graph.replay()
            self._result.copy_(self._actions, non_blocking=True)
            self._stream.synchronize()
        return self._result[: len(inputs)].numpy().copy()


def keep_compiled() -> None:
    """Let torch keep what it compiles: its own folder is below /tmp, gone at the next boot."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    folder = Path(base) / 'vla_adapter_ros' / 'inductor'
    os.environ.setdefault('TORCHINDUCTOR_CACHE_DIR', str(folder))


def compile_blocks(model: VLAAdapter, backend: str | Callable[..., Any] = 'inductor') -> int:
    """Compile the repeated blocks of the network, in place; return how many.

    Blocks of one kind share one compilation, which saves minutes over compiling the network.
    """
    if backend == 'inductor':
        keep_compiled()
    blocks = model.repeated_blocks
    mode = COMPILE_MODE if backend == 'inductor' else None
    for block in blocks:
        block.compile(fullgraph=True, dynamic=False, backend=backend, mode=mode)
    return len(blocks)
