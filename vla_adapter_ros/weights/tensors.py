# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Weights from files without copies: lazy tensors, and strict loading with a readable diff."""

from __future__ import annotations

import json
import math
import pickle
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vla_adapter_ros.errors import CheckpointError, readable
from vla_adapter_ros.weights.files import pointer_hint, replacement

SHOWN = 10  # names per kind of mismatch in an error message
CHUNK_ELEMENTS = 1 << 20  # converted at a time: small enough to stay in the cache
DTYPES = {
    'F64': torch.float64,
    'F32': torch.float32,
    'F16': torch.float16,
    'BF16': torch.bfloat16,
    'I64': torch.int64,
    'I32': torch.int32,
    'I8': torch.int8,
    'U8': torch.uint8,
    'BOOL': torch.bool,
}


@dataclass(frozen=True)
class LazyTensor:
    """A tensor of a file: known shape, values on `read(dtype)` (None: as stored).

    `floating`: they are real numbers, not integers or others that a weight cannot be.
    `source`: file and name there, for messages.
    """

    shape: tuple[int, ...]
    read: Callable[[torch.dtype | None], Tensor]
    floating: bool = True
    source: str = ''

    @classmethod
    def of(cls, tensor: Tensor, source: str = '') -> LazyTensor:
        """Wrap a tensor in memory."""
        return cls(
            tuple(tensor.shape),
            lambda dtype: tensor if dtype is None else tensor.to(dtype),
            tensor.is_floating_point(),
            source,
        )

    def read_finite(
        self, dtype: torch.dtype | None, device: str | torch.device = 'cpu'
    ) -> Tensor:
        """Read the values onto a device, contiguous.

        Raises:
            CheckpointError: some are not finite, as stored or in `dtype`.
        """
        value = self.read(dtype).to(device)
        if not is_finite(value):
            check_finite(self)
            largest = self.read(torch.float64).abs().max()
            raise CheckpointError(
                f'{self.source}: holds {largest:.3g}, more than {dtype_name(value)} can '
                f'({torch.finfo(value.dtype).max:.3g}); use a wider dtype'
            )
        return value if value.is_contiguous() else value.contiguous()


def is_finite(values: Tensor) -> bool:
    """Return whether all values are finite, in the time of reading them once."""
    if not values.numel():
        return True
    # NaN wins both; `isfinite` takes 30 times as long. A sum would overflow.
    low, high = torch.aminmax(values)
    return math.isfinite(low) and math.isfinite(high)


def check_finite(lazy: LazyTensor) -> None:
    """Raise CheckpointError if a tensor's stored values are not all finite."""
    values = lazy.read(torch.float64)  # the widest: none overflows by the conversion
    if not is_finite(values):
        bad = int((~values.isfinite()).sum())
        raise CheckpointError(
            f'{lazy.source}: {bad} of {values.numel()} values are NaN or infinite; the file is '
            'damaged, or its training had diverged'
        )


def dtype_name(values: Tensor) -> str:
    """Return the name of a tensor's dtype, e.g. `float16`."""
    return str(values.dtype).removeprefix('torch.')


def open_safetensors(path: Path) -> dict[str, LazyTensor]:
    """Index one safetensors file.

    Values in the wanted dtype are mapped from the file; others are read tensor by tensor and
    converted, so that the file's own pages never add to the process's memory.
    """
    header, start = read_safetensors_header(path)
    try:
        handle = safe_open(path, framework='pt')
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f'{path}: damaged or not a safetensors file: {error}') from None
    tensors: dict[str, LazyTensor] = {}
    for name, entry in header.items():
        if name == '__metadata__':
            continue
        if entry['dtype'] not in DTYPES:
            raise CheckpointError(f'{path}: {name}: dtype {entry["dtype"]} is not supported')
        read = partial(_read, path, handle, name, entry, start)
        floating = DTYPES[entry['dtype']].is_floating_point
        tensors[name] = LazyTensor(tuple(entry['shape']), read, floating, f'{path}: {name}')
    return tensors


def _read(
    path: Path,
    handle: Any,
    name: str,
    entry: dict[str, Any],
    start: int,
    dtype: torch.dtype | None,
) -> Tensor:
    """Map a tensor from the file, or read it chunk by chunk into another dtype."""
    stored = DTYPES[entry['dtype']]
    if dtype is None or dtype == stored:
        return handle.get_tensor(name)
    result = torch.empty(entry['shape'], dtype=dtype)
    flat = result.view(-1)
    scratch = torch.empty(min(CHUNK_ELEMENTS, max(1, flat.numel())), dtype=stored)
    window = memoryview(scratch.view(torch.uint8).numpy())
    with path.open('rb', buffering=0) as file:
        file.seek(start + entry['data_offsets'][0])
        for begin in range(0, flat.numel(), CHUNK_ELEMENTS):
            count = min(CHUNK_ELEMENTS, flat.numel() - begin)
            size = count * stored.itemsize
            if file.readinto(window[:size]) != size:
                raise CheckpointError(f'{path}: ends in the middle of a tensor')
            flat[begin : begin + count].copy_(scratch[:count])
    return result


def read_safetensors_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file and the byte where its data starts."""
    try:
        with path.open('rb') as file:
            (size,) = struct.unpack('<Q', file.read(8))
            if size > min(path.stat().st_size, 100 << 20):
                raise ValueError('header longer than the file')
            header = json.loads(file.read(size))
            for name, entry in header.items():
                if name != '__metadata__':
                    _check_entry(name, entry)
            return header, 8 + size
    except (OSError, struct.error, ValueError, AttributeError, RecursionError) as error:
        hint = pointer_hint(path) or f': {error}'
        raise CheckpointError(f'{path}: damaged or not a safetensors file{hint}') from None


def _check_entry(name: str, entry: Any) -> None:
    """Raise ValueError unless a header's entry has all it must, of the right kinds."""
    good = isinstance(entry, dict) and isinstance(entry.get('dtype'), str)
    lists = [entry.get(key) for key in ('shape', 'data_offsets')] if good else [None]
    if not all(isinstance(found, list) and all(type(n) is int for n in found) for found in lists):
        raise ValueError(f'{name}: expected dtype, shape and data_offsets')
    if len(entry['data_offsets']) != 2:
        raise ValueError(f'{name}: expected two data_offsets')


def open_pt(path: Path, mmap: bool = True) -> Any:
    """Map a `.pt` file into memory, or read it, refusing all but plain tensors and containers."""
    if hint := pointer_hint(path):
        raise CheckpointError(f'{path}{hint}')
    with readable(path, CheckpointError):
        try:
            return torch.load(path, map_location='cpu', weights_only=True, mmap=mmap)
        except pickle.UnpicklingError as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(
                f'{path}: holds more than tensors and is refused, since reading it could run '
                f'code: {reason}'
            ) from None


def load_parameters(
    model: nn.Module,
    tensors: Mapping[str, LazyTensor],
    *,
    dtype: torch.dtype | None,
    device: str | torch.device,
    where: str,
    newly_initialised: Iterable[str] = (),
) -> None:
    """Load every parameter of a model built on `meta` from a file, or refuse.

    Args:
        model: the network; its parameters are replaced, not copied into.
        tensors: values by parameter name.
        dtype: of the parameters; None keeps each as stored.
        device: of the parameters.
        where: names the checkpoint in errors.
        newly_initialised: prefixes of parameters that the checkpoint need not have; they stay
            as they are.

    Raises:
        CheckpointError: names are missing or unexpected, shapes differ, or values are not real
            numbers (all are listed); or one is NaN or infinite, as stored or in `dtype`.
    """
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    wanted = {
        name: shape
        for name, shape in expected.items()
        if name in tensors or not name.startswith(tuple(newly_initialised))
    }
    check_names(wanted, {name: lazy.shape for name, lazy in tensors.items()}, where)
    if odd := sorted(name for name in wanted if not tensors[name].floating):
        raise CheckpointError(f'{where}: not real numbers, as weights must be: {odd[:SHOWN]}')
    values = {name: tensors[name].read_finite(dtype, device) for name in wanted}
    model.load_state_dict(values, strict=False, assign=True)


def check_names(
    expected: Mapping[str, tuple[int, ...]], got: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Compare names and shapes; raise CheckpointError listing every kind of difference."""
    differences = {
        'missing': sorted(set(expected) - set(got)),
        'unexpected': sorted(set(got) - set(expected)),
        'mis-shaped': [
            f'{name}: stored {list(got[name])}, the network has {list(expected[name])}'
            for name in sorted(set(expected) & set(got))
            if tuple(got[name]) != tuple(expected[name])
        ],
    }
    lines = []
    for kind, names in differences.items():
        if names:
            lines += [f'  {kind} ({len(names)}):', *(f'    {name}' for name in names[:SHOWN])]
        if len(names) > SHOWN:
            lines.append(f'    … and {len(names) - SHOWN} more')
    if lines:
        raise CheckpointError(f'{where}: does not fit the network\n' + '\n'.join(lines))


def save_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Replace a safetensors file atomically."""
    with replacement(path) as temporary:
        save_file(_contiguous(tensors), temporary, metadata={'format': 'pt'} | metadata)
        temporary.chmod(0o644)  # the library creates its files readable by the owner alone


def save_pt(path: Path, tensors: dict[str, Tensor]) -> None:
    """Replace a `.pt` file of tensors atomically."""
    with replacement(path) as temporary:
        torch.save(_contiguous(tensors), temporary)


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().contiguous() for name, value in tensors.items()}
