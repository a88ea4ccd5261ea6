# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads `.npy` files that hold a pickled object, of arrays and plain values only.

A pickle can call any function of Python. Here it can call none: stand-ins of ours take what it
says of arrays. Numpy's own would trust it (a damaged state of a dtype ends the process).
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from vla_adapter_ros.errors import DatasetError, readable

_PLAIN = re.compile(r'[<>|=]?(b1|[iu][1248]|f[248]|O8?|[US]\d{1,6})')


class _Kind:
    """A dtype of numbers, texts or objects."""

    def __init__(self, name: str, *_: object) -> None:
        if not isinstance(name, str) or not _PLAIN.fullmatch(name):
            raise pickle.UnpicklingError(f'dtype {str(name)[:40]!r} is not plain')
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array; iterates over its first axis."""

    def __init__(self, *_: object) -> None:
        self.values = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, data = state
        if kind.dtype.hasobject:
            found = np.empty(len(data), object)
            found[:] = data
        else:
            found = np.frombuffer(data, kind.dtype)
        self.values = found.reshape(shape, order='F' if by_columns else 'C')

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)


def _scalar(kind: _Kind, data: bytes) -> Any:
    (value,) = np.frombuffer(data, kind.dtype).tolist()
    return value


def _encode(text: str, *_: object) -> bytes:
    return text.encode('latin1')


_STAND_INS: dict[tuple[str, str], Any] = {
    ('numpy', 'ndarray'): _Array,
    ('numpy', 'dtype'): _Kind,
    ('_codecs', 'encode'): _encode,
}
for _module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
    _STAND_INS[_module, '_reconstruct'] = _Array
    _STAND_INS[_module, 'scalar'] = _scalar


# The unpickler in C reserves memory for whatever number an entry of its memo has.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f'it asks for {module}.{name}, which is not an array')
        return _STAND_INS[module, name]


def unpickle(content: IO[bytes]) -> Any:
    """Return the next object of a stream; an array as numpy's.

    Raises:
        pickle.UnpicklingError: it holds more than arrays and plain values; damage raises others.
    """
    found = _Unpickler(content).load()
    return found.values if isinstance(found, _Array) else found


def read_pickled(file: Path) -> Any:
    """Return the object that `numpy.save` pickled into a file, as `numpy.load(file).item()` does.

    Arrays in it can be iterated over, and no more.

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
        found = unpickle(content)
        return found.item() if isinstance(found, np.ndarray) else found
