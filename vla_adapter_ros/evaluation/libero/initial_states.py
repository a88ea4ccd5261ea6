# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""LIBERO's files of initial states, which `torch.save` wrote; nothing in them is run.

Read without torch, which LIBERO's interpreter need not have: only arrays of numbers are known.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from vla_adapter_ros.data.public.pickled import unpickle
from vla_adapter_ros.errors import DatasetError, readable

_TORCH = 0x1950A86A20F9469CFC6C  # first object of a file that torch wrote before 1.6
_HEADERS = 2  # objects between that and the array: the version, and how the machine stores numbers
_LARGEST = 256 << 20  # [bytes]; upstream's have 50 KB


def read_states(file: Path) -> np.ndarray:
    """Return the array (N, S) float64 of N states that a file holds.

    Raises:
        DatasetError: the file is missing, damaged, or holds something else.
    """
    with readable(file, DatasetError):
        if (size := file.stat().st_size) > _LARGEST:
            raise DatasetError(f'{file}: {size} bytes, more than states can have ({_LARGEST})')
        content = io.BytesIO(file.read_bytes())
        found = _zipped(file, content) if zipfile.is_zipfile(content) else _old(file, content)
    numbers = isinstance(found, np.ndarray) and found.dtype.kind == 'f'
    if not numbers or found.ndim != 2 or not found.size or not np.isfinite(found).all():
        raise DatasetError(f'{file}: expected an array (states, numbers) of finite numbers')
    return found.astype(np.float64)


def _zipped(file: Path, content: IO[bytes]) -> Any:
    with zipfile.ZipFile(content) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith('data.pkl'))
        if archive.getinfo(name).file_size > _LARGEST:
            raise DatasetError(f'{file}: unpacks to more than {_LARGEST} bytes')
        return unpickle(io.BytesIO(archive.read(name)))


def _old(file: Path, content: IO[bytes]) -> Any:
    content.seek(0)
    if unpickle(content) != _TORCH:
        raise DatasetError(f'{file}: not a file of torch')
    for _ in range(_HEADERS):
        unpickle(content)
    return unpickle(content)
