# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The network of the benchmark in OpenVINO, to be measured beside ours."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vla_adapter_ros.inference.export_formats import save_openvino
from vla_adapter_ros.inference.exported import Arrays, open_openvino
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.processing.pipeline import ModelInputs

PACKAGES = ('onnx', 'onnxscript', 'openvino')
PRECISIONS = {'float32': 'f32', 'bfloat16': 'bf16'}  # of `Mode.dtype`


class _Network(nn.Module):
    def __init__(self, model: VLAAdapter) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor, input_ids: Tensor, proprio: Tensor) -> Tensor:
        return self.model(pixel_values, input_ids, proprio)


def is_installed() -> bool:
    """Return whether all packages are there."""
    return all(find_spec(name) is not None for name in PACKAGES)


def openvino_call(
    model: VLAAdapter, dtype: str, threads: int, example: ModelInputs, folder: Path
) -> Callable[[ModelInputs], np.ndarray]:
    """Return a function from inputs to normalised actions.

    Args:
        model: the network, in float32 and without packed layers.
        dtype: precision that OpenVINO computes in.
        threads: CPU threads.
        example: inputs; others must have a prompt of this length.
        folder: gets the converted network, or has it from an earlier call.

    Raises:
        ExportError: a package is missing.
    """
    file = folder / 'network.xml'
    if not file.is_file():
        inputs = {name: torch.from_numpy(array) for name, array in _arrays(example).items()}
        save_openvino(_Network(model).eval(), inputs, file)
    run = open_openvino(file, 'cpu', threads, PRECISIONS[dtype])
    return lambda inputs: run(_arrays(inputs))[0].astype(np.float32)


def _arrays(inputs: ModelInputs) -> Arrays:
    """Return the inputs of the converted network by name, with a batch of one; copies."""
    arrays = {
        'pixel_values': inputs.pixel_values,
        'input_ids': np.asarray(inputs.input_ids, np.int64),
        'proprio': inputs.proprio,
    }
    return {name: np.array(array)[None] for name, array in arrays.items()}
