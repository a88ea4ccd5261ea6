# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Writers of exported policies, one for each engine. The engines are optional packages."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vla_adapter_ros.inference.exportable import ExportError

Run = Callable[[dict[str, np.ndarray]], np.ndarray]
OUTPUT = 'actions'


def _needed(name: str, *packages: str) -> list[Any]:
    try:
        return [importlib.import_module(package) for package in packages]
    except ImportError as error:
        raise ExportError(f'{error}; run: pip install {name}') from error


def write_onnx(module: nn.Module, example: dict[str, Tensor], file: Path, dtype: str) -> Run:
    """Write ONNX, weights in a file beside it; returns a function that runs it.

    Args:
        module: `ExportablePolicy`.
        example: inputs by name.
        file: to write.
        dtype: of the weights.

    Raises:
        ExportError: a package is missing.
    """
    *_, runtime = _needed('onnx onnxscript onnxruntime', 'onnx', 'onnxscript', 'onnxruntime')
    program = torch.onnx.export(
        module,
        (),
        kwargs=example,
        input_names=list(example),
        output_names=[OUTPUT],
        dynamo=True,
        verbose=False,
    )
    for node in program.model.graph:
        node.metadata_props.clear()  # each carries its Python stack, with paths of this machine
    program.save(str(file), external_data=True)
    session = runtime.InferenceSession(str(file), providers=['CPUExecutionProvider'])
    return lambda inputs: session.run([OUTPUT], inputs)[0]


def write_openvino(module: nn.Module, example: dict[str, Tensor], file: Path, dtype: str) -> Run:
    """Write OpenVINO's IR by way of ONNX, as `write_onnx`."""
    *_, openvino = _needed('onnx onnxscript openvino', 'onnx', 'onnxscript', 'openvino')
    onnx = file.with_suffix('.onnx')
    write_onnx(module.float(), example, onnx, 'float32')
    openvino.save_model(openvino.convert_model(onnx), file, compress_to_fp16=dtype == 'float16')
    for path in onnx.parent.glob(f'{onnx.name}*'):
        path.unlink()
    # Computed in float32 whatever the CPU would choose: compared is what was written.
    settings = {'INFERENCE_PRECISION_HINT': 'f32'}
    compiled = openvino.Core().compile_model(file, 'CPU', settings)
    return lambda inputs: compiled(inputs)[OUTPUT]


def write_aoti(module: nn.Module, example: dict[str, Tensor], file: Path, dtype: str) -> Run:
    """Write a package of compiled code for this machine's CPU, as `write_onnx`."""
    with torch.no_grad():
        program = torch.export.export(module, (), kwargs=example, strict=False)
    torch._inductor.aoti_compile_and_package(program, package_path=str(file))
    package = torch._inductor.aoti_load_package(str(file))

    def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return package(**{name: torch.from_numpy(value) for name, value in inputs.items()}).numpy()

    return run


FORMATS: dict[str, Callable[[nn.Module, dict[str, Tensor], Path, str], Run]] = {
    'onnx': write_onnx,
    'openvino': write_openvino,
    'aoti': write_aoti,
}
EXTENSIONS = {'onnx': 'onnx', 'openvino': 'xml', 'aoti': 'pt2'}
