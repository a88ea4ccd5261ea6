# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Messages between an evaluation and its worker: length, JSON header, raw arrays; no pickle.

The worker runs in another interpreter, with another NumPy. Needs only NumPy.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

LENGTH = struct.Struct('>I')
MOST_HEADER_BYTES = 1 << 20
MOST_ARRAY_BYTES = 1 << 26
DTYPES = ('|u1', '<f8')


class WireError(ConnectionError):
    """The other end is gone, or sent something that is no message."""


def send(
    connection: socket.socket,
    header: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Send a message: plain JSON data, and arrays of uint8 or float64 by name."""
    stored = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    listed = [[name, array.dtype.str, list(array.shape)] for name, array in stored.items()]
    text = json.dumps({**header, 'arrays': listed}).encode()
    connection.sendall(
        LENGTH.pack(len(text)) + text + b''.join(a.tobytes() for a in stored.values())
    )


def receive(connection: socket.socket) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header and the arrays of the next message.

    Raises:
        WireError: the connection ended, or the message is malformed or too large.
        TimeoutError: the connection has a time limit, and it passed.
    """
    (length,) = LENGTH.unpack(_read(connection, LENGTH.size))
    if length > MOST_HEADER_BYTES:
        raise WireError(f'header of {length} bytes; at most {MOST_HEADER_BYTES}')
    try:
        header = json.loads(_read(connection, length))
        listed = [(str(name), dtype, tuple(shape)) for name, dtype, shape in header.pop('arrays')]
        sizes = [_size(dtype, shape) for _, dtype, shape in listed]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WireError(f'malformed header: {error!r}') from None
    if sum(sizes) > MOST_ARRAY_BYTES:
        raise WireError(f'arrays of {sum(sizes)} bytes; at most {MOST_ARRAY_BYTES}')
    arrays = {
        name: np.frombuffer(_read(connection, size), dtype).reshape(shape)
        for (name, dtype, shape), size in zip(listed, sizes, strict=True)
    }
    return header, arrays


def _size(dtype: str, shape: tuple[int, ...]) -> int:
    if dtype not in DTYPES or any(type(side) is not int or side < 0 for side in shape):
        raise ValueError(f'array {dtype} {shape}')
    size = np.dtype(dtype).itemsize
    for side in shape:
        size *= side
    return size


def _read(connection: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view, read = memoryview(data), 0
    while read < count:
        got = connection.recv_into(view[read:])
        if not got:
            raise WireError('the connection ended')
        read += got
    return data
