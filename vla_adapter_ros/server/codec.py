# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""msgpack with arrays, as openpi's clients write it, and nothing that a stranger could abuse.

A message is a map with text keys. An array is the map `{b'__ndarray__': True, b'data': bytes,
b'dtype': '<f4', b'shape': [..]}`, a numpy scalar `{b'__npgeneric__': True, b'data': number,
b'dtype': '<f4'}`. What comes in is never executed (no pickle, no objects, no extension types), and
decoding takes memory in proportion to the message, which the caller limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vla_adapter_ros.errors import MessageError

# Little-endian numbers and booleans: what observations and actions are made of.
DTYPES = frozenset(
    ('|b1', '|u1', '|i1', '<u2', '<i2', '<u4', '<i4', '<u8', '<i8', '<f2', '<f4', '<f8')
)
MOST_DIMENSIONS = 4
# Of one list or map; of text [bytes]; of all lists and maps of a message.
MOST_ITEMS = 128
MOST_TEXT_BYTES = 65536
MOST_CONTAINERS = 2048
_ARRAY, _SCALAR = b'__ndarray__', b'__npgeneric__'
_ARRAY_KEYS = {_ARRAY, b'data', b'dtype', b'shape'}
_SCALAR_KEYS = {_SCALAR, b'data', b'dtype'}


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message of text, numbers, None, bytes, lists, maps and arrays as msgpack.

    Raises:
        MessageError: it contains something else, or an array of a type that is not allowed.
    """
    import msgpack

    try:
        return msgpack.packb(message, default=_encode_other)
    except (TypeError, ValueError, OverflowError) as error:
        raise MessageError(f'message cannot be sent: {error}') from None


def decode(data: bytes | bytearray) -> dict[str, Any]:
    """Return the message in `data`; arrays are read-only views of it.

    Raises:
        MessageError: not one map with text keys, or anything in it is not allowed; says what.
    """
    import msgpack

    if not isinstance(data, (bytes, bytearray)):
        raise MessageError(f'message: got {type(data).__name__}, expected binary msgpack')
    reader = _Reader()
    try:
        message = msgpack.unpackb(
            data, raw=False, strict_map_key=True,
            object_hook=reader.map, list_hook=reader.list,
            max_str_len=MOST_TEXT_BYTES, max_array_len=MOST_ITEMS, max_map_len=MOST_ITEMS,
            max_ext_len=0,
        )  # fmt: skip
    except MessageError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        text = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise MessageError(f'message is not msgpack that is accepted here: {text}') from None
    if not isinstance(message, dict):
        raise MessageError(f'message: got {type(message).__name__}, expected a map')
    return message


class _Reader:
    """Turns the maps of one message into arrays, and counts its lists and maps."""

    def __init__(self) -> None:
        self._left = MOST_CONTAINERS

    def list(self, values: list[Any]) -> list[Any]:
        self._count()
        return values

    def map(self, values: dict[Any, Any]) -> Any:
        self._count()
        if _ARRAY in values:
            return _decode_array(values)
        if _SCALAR in values:
            return _decode_scalar(values)
        if not all(isinstance(key, str) for key in values):
            raise MessageError('message: got a map with keys that are not text')
        return values

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise MessageError(f'message has more than {MOST_CONTAINERS} lists and maps')


def _encode_other(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.str not in DTYPES:
            raise MessageError(f'array of {value.dtype} cannot be sent; allowed: {_allowed()}')
        data = np.ascontiguousarray(value).tobytes()
        shape = list(value.shape)
        return {_ARRAY: True, b'data': data, b'dtype': value.dtype.str, b'shape': shape}
    if isinstance(value, np.generic) and value.dtype.str in DTYPES:
        return {_SCALAR: True, b'data': value.item(), b'dtype': value.dtype.str}
    raise MessageError(f'{type(value).__name__} cannot be sent')


def _decode_array(values: dict[Any, Any]) -> np.ndarray:
    if values.keys() != _ARRAY_KEYS:
        raise MessageError('array: expected data, dtype and shape')
    dtype, shape, data = _dtype(values[b'dtype']), values[b'shape'], values[b'data']
    if not isinstance(shape, list) or len(shape) > MOST_DIMENSIONS:
        raise MessageError(f'array.shape: expected a list of at most {MOST_DIMENSIONS} lengths')
    if not all(type(length) is int and 0 <= length < 2**31 for length in shape):
        raise MessageError('array.shape: expected whole numbers from 0')
    if not isinstance(data, bytes):
        raise MessageError(f'array.data: got {type(data).__name__}, expected bytes')
    if (size := math.prod(shape) * dtype.itemsize) != len(data):
        raise MessageError(
            f'array: {len(data)} bytes of data, but shape {shape} of {dtype} has {size}'
        )
    return np.frombuffer(data, dtype).reshape(shape)


def _decode_scalar(values: dict[Any, Any]) -> np.generic:
    if values.keys() != _SCALAR_KEYS or not isinstance(values[b'data'], (bool, int, float)):
        raise MessageError('number: expected data and dtype')
    dtype = _dtype(values[b'dtype'])
    try:
        with np.errstate(all='ignore'):
            return dtype.type(values[b'data'])
    except (OverflowError, ValueError):
        raise MessageError(f'number: {values[b"data"]!r} is not a {dtype}') from None


def _dtype(name: Any) -> np.dtype:
    if isinstance(name, str) and name in DTYPES:
        return np.dtype(name)
    shown = repr(name)[:40]
    raise MessageError(f'array.dtype: got {shown}, allowed: {_allowed()}')


def _allowed() -> str:
    return ', '.join(sorted(DTYPES))
