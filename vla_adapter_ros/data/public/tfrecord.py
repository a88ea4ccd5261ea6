# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""TFRecord files and `tf.train.Example` without TensorFlow.

A record is: length (8 bytes), masked CRC of it (4), data, masked CRC of the data (4). An Example
is a protocol buffer: Example.features(1).feature(1) is a map from name to Feature, which holds a
bytes_list(1), float_list(2) or int64_list(3), each with repeated value(1). Only the requested
features are parsed; the pages of the others are not even read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from vla_adapter_ros.errors import DatasetError

_MASK_DELTA = 0xA282EAD8
_LENGTH_PREFIXED, _FIXED32 = 2, 5


def record_bounds(buffer: memoryview, name: str) -> tuple[list[tuple[int, int]], str]:
    """Return (start, end) of each record's data, and what of the file is lost, or ''.

    Behind a damaged length nothing tells where the next record begins: the rest is lost.
    """
    bounds: list[tuple[int, int]] = []
    place, size = 0, len(buffer)
    while place < size:
        length = int.from_bytes(buffer[place : place + 8], 'little')
        start = place + 12
        if start <= size and not _is_right(buffer, place, place + 8):
            return bounds, f'{name}: damaged length at byte {place}: the rest is left out'
        if start + length + 4 > size:
            return bounds, f'{name}: truncated at byte {place}, record {len(bounds)}'
        bounds.append((start, start + length))
        place = start + length + 4
    return bounds, ''


def check_record(buffer: memoryview, start: int, end: int, name: str) -> None:
    """Raise DatasetError unless the record's checksum is right."""
    if not _is_right(buffer, start, end):
        raise DatasetError(f'{name}: damaged record at byte {start}: wrong checksum')


def _is_right(buffer: memoryview, start: int, end: int) -> bool:
    import google_crc32c

    crc = google_crc32c.value(bytes(buffer[start:end]))
    masked = ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
    return masked == int.from_bytes(buffer[end : end + 4], 'little')


def parse_example(data: memoryview, wanted: Collection[str]) -> dict[str, Any]:
    """Return the wanted features that are there.

    Returns:
        name → list of memoryviews (bytes), float32 array or int64 array.

    Raises:
        DatasetError: not a `tf.train.Example`.
    """
    found: dict[str, Any] = {}
    try:
        for _, features in _fields(data):
            for _, entry in _fields(features):
                parts = dict(_fields(entry))
                name = bytes(parts[1]).decode()
                if name in wanted:
                    found[name] = _feature(parts[2])
    except (IndexError, KeyError, ValueError) as error:
        raise DatasetError(f'not a tf.train.Example: {error}') from error
    return found


def _feature(data: memoryview) -> Any:
    for kind, values in _fields(data):
        if kind == 1:
            return [value for _, value in _fields(values)]
        if kind == 2:
            return _floats(values)
        return _integers(values)
    return []


def _floats(data: memoryview) -> np.ndarray:
    if not len(data):
        return np.zeros(0, np.float32)
    if data[0] & 7 == _FIXED32:
        # Unpacked: one tag byte before each value.
        packed = np.frombuffer(data, np.uint8).reshape(-1, 5)[:, 1:]
        return np.ascontiguousarray(packed).view('<f4').ravel()
    return np.concatenate([np.frombuffer(v, '<f4') for _, v in _fields(data)])


def _integers(data: memoryview) -> np.ndarray:
    values: list[int] = []
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        end = place
        if tag & 7 == _LENGTH_PREFIXED:
            length, place = _varint(data, place)
            end = place + length
        while True:
            value, place = _varint(data, place)
            values.append(value - (1 << 64) if value >> 63 else value)
            if place >= end:
                break
    return np.array(values, np.int64)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of each length-prefixed field."""
    place, size = 0, len(data)
    while place < size:
        tag, place = _varint(data, place)
        if tag & 7 != _LENGTH_PREFIXED:
            raise ValueError(f'field {tag >> 3} has wire type {tag & 7}')
        length, place = _varint(data, place)
        if place + length > size:
            raise ValueError(f'field {tag >> 3} runs past the end')
        yield tag >> 3, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
