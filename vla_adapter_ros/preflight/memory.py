# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Whether a checkpoint's weights fit into the memory of this machine and of its GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vla_adapter_ros.preflight.checks import FAIL, PASS, SKIP, Check

# Of exported networks, which run in the precision that they are stored in.
_EXPORTED = ('.onnx', '.data', '.pt2')
_SUFFIXES = ('.safetensors', '.pt', '.bin', *_EXPORTED)
_GIB = float(1 << 30)
# Weights in memory, activations, and the other programs on a robot's computer.
_MEMORY_FACTOR = 1.5
# Bytes of the numbers that a GPU computes with; int8 runs on the CPU only.
_NUMBER_BYTES = {'float32': 4, 'bfloat16': 2, 'float16': 2}


def check_memory(directory: Path, device: str, dtype: str) -> Check:
    """Check free main memory against the size of the weights.

    Args:
        directory: of the checkpoint.
        device: `cpu` or a GPU, as torch names it.
        dtype: of the computation, resolved.
    """
    sizes = weight_bytes(directory)
    # The weights lie in main memory as stored; a CPU computes with them there.
    widened = sizes[2] if device == 'cpu' and dtype == 'float32' else 0
    return _compared('memory', available_memory(), sum(sizes.values()) + widened)


def check_gpu_memory(directory: Path, device: str, dtype: str) -> Check:
    """Check a GPU's free memory against the weights in the precision that they run in."""
    import torch

    if device == 'cpu':
        return Check('GPU memory', SKIP, 'no GPU is used')
    sizes, width = weight_bytes(directory), _NUMBER_BYTES[dtype]
    floats = sum(total // size * width for size, total in sizes.items() if size > 1)
    return _compared('GPU memory', torch.cuda.mem_get_info(device)[0], floats + sizes[1])


def _compared(name: str, free: float, weights: int) -> Check:
    needed = weights * _MEMORY_FACTOR
    text = f'{free / _GIB:.1f} GiB free, about {needed / _GIB:.1f} GiB needed'
    if free < needed:
        return Check(name, FAIL, f'{text}; close programs or use another machine')
    return Check(name, PASS, text)


def available_memory(path: Path = Path('/proc/meminfo')) -> float:
    """Return free main memory [bytes], reclaimable caches included."""
    for line in path.read_text().splitlines():
        if line.startswith('MemAvailable:'):
            return float(line.split()[1]) * 1024.0
    return float('inf')


def stored_bytes(directory: Path) -> int:
    """Return the size of a checkpoint's files of weights."""
    return sum(p.stat().st_size for p in directory.iterdir() if p.suffix in _SUFFIXES)


def weight_bytes(directory: Path) -> Counter[int]:
    """Return bytes of one number → bytes of all weights that are stored so; 1: not converted.

    Raises:
        CheckpointError: a file is damaged or was not fetched.
    """
    from vla_adapter_ros.weights.tensors import read_safetensors_header

    found: Counter[int] = Counter()
    for path in directory.glob('*.safetensors'):
        header, _ = read_safetensors_header(path)
        for name, tensor in header.items():
            if name != '__metadata__':
                begin, end = tensor['data_offsets']
                digits = ''.join(filter(str.isdigit, tensor['dtype'].split('_')[0])) or '8'
                found[max(1, int(digits) // 8)] += end - begin
    for pattern in ('*.pt', '*.bin'):
        for path in directory.glob(pattern):
            found.update(_pickled_bytes(path))
    found[1] += sum(p.stat().st_size for p in directory.iterdir() if p.suffix in _EXPORTED)
    return found


def _pickled_bytes(path: Path) -> Counter[int]:
    """Return the same of a file of torch, whose tensors are not read."""
    import torch

    try:
        content = torch.load(path, map_location='meta', weights_only=True, mmap=True)
    except Exception:  # an older format, or not a file of tensors: counted as it is
        return Counter({4: path.stat().st_size})
    found: Counter[int] = Counter()
    for tensor in _tensors(content):
        found[tensor.element_size()] += tensor.numel() * tensor.element_size()
    return found


def _tensors(content: Any) -> Iterator[Any]:
    if isinstance(content, dict):
        for value in content.values():
            yield from _tensors(value)
    elif hasattr(content, 'element_size'):
        yield content
