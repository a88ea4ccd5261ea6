# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Fixed-shape forward passes: static input buffers, compiled blocks, CUDA graphs.

The released code spends most of its time in launching some 2,800 small kernels from Python. A CUDA
graph launches them all at once; for that every shape and address must be fixed, so prompts are
padded to one of a few lengths, each with a graph of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.processing.pipeline import ModelInputs

# LIBERO's prompts have 41 to 56 tokens, those of word-list tokenizers 5 to 15.
BUCKETS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 576)
CAPTURE_WARM_UPS = 3
COMPILE_MODE = 'max-autotune-no-cudagraphs'


def bucket_of(length: int) -> int | None:
    """Return the smallest bucket that a prompt of `length` tokens fits, or None."""
    return next((bucket for bucket in BUCKETS if length <= bucket), None)


class StaticInputs:
    """Model inputs at fixed addresses, the prompt padded to a fixed length.

    Args:
        length: prompt length to pad to.
        example: gives the other shapes.
        device: where the buffers are; on CUDA they are filled through pinned host memory.
    """

    def __init__(self, length: int, example: ModelInputs, device: torch.device) -> None:
        pinned = device.type == 'cuda'
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            'pixel_values': (example.pixel_values.shape, torch.float32),
            'input_ids': ((length,), torch.int64),
            'attention_mask': ((length,), torch.int64),
            'proprio': (example.proprio.shape, torch.float32),
        }
        self.length = length
        self._host = {
            name: torch.zeros(1, *shape, dtype=dtype, pin_memory=pinned)
            for name, (shape, dtype) in shapes.items()
        }
        self._views = {name: tensor[0].numpy() for name, tensor in self._host.items()}
        self.tensors = {
            name: tensor.to(device) if pinned else tensor for name, tensor in self._host.items()
        }

    def load(self, inputs: ModelInputs) -> None:
        """Copy one observation's inputs in; nothing is allocated."""
        count = len(inputs.input_ids)
        np.copyto(self._views['pixel_values'], inputs.pixel_values)
        np.copyto(self._views['proprio'], inputs.proprio)
        for name, values in (('input_ids', inputs.input_ids), ('attention_mask', 1)):
            self._views[name][:count] = values
            self._views[name][count:] = 0
        for name, tensor in self.tensors.items():
            if tensor is not self._host[name]:
                tensor.copy_(self._host[name], non_blocking=True)


class CapturedForward:
    """The whole forward pass for prompts up to one length, as one CUDA graph.

    Args:
        forward: the network.
        length: prompt length to capture for.
        example: inputs to warm up with.
        device: a CUDA device.
    """

    def __init__(
        self,
        forward: Callable[..., Tensor],
        length: int,
        example: ModelInputs,
        device: torch.device,
    ) -> None:
        self._inputs = StaticInputs(length, example, device)
        self._inputs.load(example)
        self._stream = torch.cuda.Stream(device)
        self._graph = torch.cuda.CUDAGraph()
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            # Lazy initialisation of libraries and autotuning must happen before the capture.
            for _ in range(CAPTURE_WARM_UPS):
                forward(**self._inputs.tensors)
            self._stream.synchronize()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._actions = forward(**self._inputs.tensors)[0].float()
        self._result = torch.empty(self._actions.shape, pin_memory=True)

    def run(self, inputs: ModelInputs) -> np.ndarray:
        """Return normalised actions (K, A); waits once, for the result."""
        with torch.cuda.stream(self._stream):
            self._inputs.load(inputs)
            self._graph.replay()
            self._result.copy_(self._actions, non_blocking=True)
            self._stream.synchronize()
        return self._result.numpy().copy()


def compile_blocks(model: VLAAdapter, backend: str = 'inductor') -> int:
    """Compile the repeated blocks of towers and language model, in place; return how many.

    Blocks of one kind share one compilation, so that this costs minutes less than compiling the
    network as a whole.
    """
    blocks: list[nn.Module] = [
        block for tower in model.vision_backbone.towers for block in tower.blocks
    ]
    blocks += model.decoder.layers
    mode = COMPILE_MODE if backend == 'inductor' else None
    for block in blocks:
        block.compile(fullgraph=True, dynamic=False, backend=backend, mode=mode)
    return len(blocks)
