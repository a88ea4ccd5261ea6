# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads `.npy` files that hold a pickled object, of arrays and plain values only.

A pickle can call any function of Python. Here it can call those that rebuild arrays, and no other.
"""

from __future__ import annotations

import codecs
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.errors import DatasetError, readable

_MODULES = ('numpy.core.multiarray', 'numpy._core.multiarray')
_REBUILD = np.empty(0).__reduce__()[0]
_SCALAR = np.float64(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('_codecs', 'encode'): codecs.encode,
    **{(module, '_reconstruct'): _REBUILD for module in _MODULES},
    **{(module, 'scalar'): _SCALAR for module in _MODULES},
}


# The unpickler in C reserves memory for whatever number an entry of its memo has.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f'it asks for {module}.{name}, which is not an array')
        return _ALLOWED[module, name]


def read_pickled(file: Path) -> Any:
    """Return the object that `numpy.save` pickled into a file, as `numpy.load(file).item()` does.

    Raises:
        DatasetError: missing, damaged, or it holds more than arrays and plain values.
    """
    with readable(file, DatasetError):
        content = io.BytesIO(file.read_bytes())
        major, minor = np.lib.format.read_magic(content)
        read_header = getattr(np.lib.format, f'read_array_header_{major}_{minor}')
        shape, _, kind = read_header(content)
        if shape != () or not kind.hasobject:
            raise DatasetError(f'{file}: holds an array {shape} of {kind}, expected one object')
        return np.asarray(_Unpickler(content).load(), object).item()
