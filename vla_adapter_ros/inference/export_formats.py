# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Writers of exported policies, one for each engine. The engines are optional packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from vla_adapter_ros.inference.exported import (
    OUTPUT,
    Run,
    needed,
    open_aoti,
    open_onnx,
    open_openvino,
)


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
    needed('onnx onnxscript onnxruntime', 'onnx', 'onnxscript', 'onnxruntime')
    _save_onnx(module, example, file)
    return open_onnx(file, 'cpu')


def _save_onnx(module: nn.Module, example: dict[str, Tensor], file: Path) -> None:
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


def write_openvino(module: nn.Module, example: dict[str, Tensor], file: Path, dtype: str) -> Run:
    """Write OpenVINO's IR by way of ONNX, as `write_onnx`."""
    save_openvino(module, example, file, half=dtype == 'float16')
    return open_openvino(file, 'cpu')


def save_openvino(
    module: nn.Module, example: dict[str, Tensor], file: Path, *, half: bool = False
) -> None:
    """Write OpenVINO's IR without running it; the module becomes one in float32."""
    *_, openvino = needed('onnx onnxscript openvino', 'onnx', 'onnxscript', 'openvino')
    onnx = file.with_suffix('.onnx')
    _save_onnx(module.float(), example, onnx)
    openvino.save_model(openvino.convert_model(onnx), file, compress_to_fp16=half)
    for path in onnx.parent.glob(f'{onnx.name}*'):
        path.unlink()


def write_aoti(module: nn.Module, example: dict[str, Tensor], file: Path, dtype: str) -> Run:
    """Write a package of compiled code for this machine's CPU, as `write_onnx`."""
    with torch.no_grad():
        program = torch.export.export(module, (), kwargs=example, strict=False)
    torch._inductor.aoti_compile_and_package(program, package_path=str(file))
    return open_aoti(file, 'cpu')


FORMATS: dict[str, Callable[[nn.Module, dict[str, Tensor], Path, str], Run]] = {
    'onnx': write_onnx,
    'openvino': write_openvino,
    'aoti': write_aoti,
}
EXTENSIONS = {'onnx': 'onnx', 'openvino': 'xml', 'aoti': 'pt2'}
