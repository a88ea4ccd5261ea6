# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads an MCAP file from its beginning, as far as it is whole: for recordings that were cut off.

Ordinary readers start at the index at the end, which a killed recorder never wrote. Layout:
https://mcap.dev/spec; a record is an opcode, a length (8 bytes), and content.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vla_adapter_ros.errors import DatasetError

MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
_CHUNK_HEAD = struct.Struct('<QQQI')


@dataclass(frozen=True)
class Channel:
    """A topic with its type and the type's definition."""

    topic: str
    kind: str
    definition: str
    qos: str


@dataclass(frozen=True)
class ScannedMessage:
    """One message: its channel, when it was recorded [ns], and its bytes."""

    channel: Channel
    time: int
    data: bytes


class McapScan:
    """Iterates over the messages of an MCAP file up to where it ends or is damaged.

    Attributes:
        cut_off: after iterating: the file ended within a record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schemas: dict[int, tuple[str, str]] = {}
        self._channels: dict[int, Channel] = {}
        self.cut_off = False

    def __iter__(self) -> Iterator[ScannedMessage]:
        with self._path.open('rb') as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise DatasetError(f'{self._path}: not an MCAP file')
            for code, content in self._records(file):
                if code == _CHUNK:
                    yield from self._chunk(content)
                else:
                    yield from self._record(code, content)

    def _records(self, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
        while True:
            head = file.read(9)
            if len(head) < 9:
                # A whole file is left at its data end.
                self.cut_off = True
                return
            code, length = head[0], int.from_bytes(head[1:], 'little')
            if code == _DATA_END:
                return
            content = file.read(length)
            if len(content) < length:
                self.cut_off = True
                return
            yield code, content

    def _chunk(self, content: bytes) -> Iterator[ScannedMessage]:
        size = _CHUNK_HEAD.unpack_from(content)[2]
        compression, place = _text(content, _CHUNK_HEAD.size)
        try:
            data = _decompressed(content[place + 8 :], compression, size)
        except (ValueError, RuntimeError, OSError) as error:
            raise DatasetError(f'{self._path}: damaged chunk: {error}') from error
        place = 0
        while place + 9 <= len(data):
            length = int.from_bytes(data[place + 1 : place + 9], 'little')
            yield from self._record(data[place], data[place + 9 : place + 9 + length])
            place += 9 + length

    def _record(self, code: int, content: bytes) -> Iterator[ScannedMessage]:
        if code == _SCHEMA:
            name, place = _text(content, 2)
            _, place = _text(content, place)
            self._schemas[_number(content, 0)] = (name, _text(content, place)[0])
        elif code == _CHANNEL:
            topic, place = _text(content, 4)
            _, place = _text(content, place)
            kind, definition = self._schemas.get(_number(content, 2), ('', ''))
            qos = _map(content, place).get('offered_qos_profiles', '')
            self._channels[_number(content, 0)] = Channel(topic, kind, definition, qos)
        elif code == _MESSAGE:
            time = int.from_bytes(content[6:14], 'little')
            yield ScannedMessage(self._channels[_number(content, 0)], time, content[22:])


def _decompressed(data: bytes, compression: str, size: int) -> bytes:
    if compression == '':
        found: Any = data
    elif compression == 'zstd':
        import sys

        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        found = zstd.decompress(data)
    elif compression == 'lz4':
        import lz4.frame

        found = lz4.frame.decompress(data)
    else:
        raise ValueError(f'compression {compression!r}')
    if len(found) != size:
        raise ValueError(f'{len(found)} bytes, expected {size}')
    return found


def _number(content: bytes, place: int) -> int:
    return int.from_bytes(content[place : place + 2], 'little')


def _text(content: bytes, place: int) -> tuple[str, int]:
    end = place + 4 + int.from_bytes(content[place : place + 4], 'little')
    return content[place + 4 : end].decode('utf8', 'replace'), end


def _map(content: bytes, place: int) -> dict[str, str]:
    end = place + 4 + int.from_bytes(content[place : place + 4], 'little')
    place += 4
    found = {}
    while place < end:
        key, place = _text(content, place)
        found[key], place = _text(content, place)
    return found
