# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads what is left of a damaged MCAP file: goes on behind damage, and says where it was.

Ordinary readers start at the index at the end, which a killed recorder never wrote, and end at the
first record that cannot be read.
"""

from __future__ import annotations

import io
import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vla_adapter_ros.data.bags.mcap_index import MAGIC
from vla_adapter_ros.errors import DatasetError

if TYPE_CHECKING:
    from mcap.records import Channel, McapRecord, Message, Schema

_HEAD = struct.Struct('<BQ')  # opcode, length of the content
_OPCODES = range(0x01, 0x10)
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x03, 0x04, 0x05, 0x06
# A chunk may begin where its opcode is followed by a length below 2^40.
_CHUNK_START = re.compile(rb'\x06.{5}\x00{3}', re.DOTALL)
# Bytes of a chunk before its compressed data: times, sizes, checksum, name of the compression.
_CHUNK_HEAD = struct.Struct('<QQQII')
_COMPRESSIONS = (b'', b'lz4', b'zstd')
# More than a killed recorder was writing when it ended: a chunk with an image [bytes].
_LONGEST_CUT = 16 << 20


class McapScan:
    """The readable content of one MCAP file.

    Attributes:
        schemas: id → schema; those of a damaged beginning are found at the end of a closed file.
        channels: id → channel.
        damage: what the last reading could not read. A file that ends early is not damaged: that
            is what a killed recorder leaves.

    Raises:
        DatasetError: the file cannot be read, or is no MCAP file.
    """

    def __init__(self, path: Path) -> None:
        from mcap.records import Channel, Schema

        self._path = path
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        self.damage: list[str] = []
        try:
            self._places = list(_record_places(path))
            for record in self._records():
                if isinstance(record, Schema):
                    self.schemas.setdefault(record.id, record)
                elif isinstance(record, Channel):
                    self.channels.setdefault(record.id, record)
        except OSError as error:
            raise DatasetError(f'{path}: cannot be read: {error.strerror}') from error
        if not self._places and path.stat().st_size:
            raise DatasetError(f'{path}: not an MCAP file, or nothing of it is readable')

    def messages(self) -> Iterator[Message]:
        """Yield the readable messages in the order of the file; then `damage` is complete."""
        from mcap.records import Message

        return (record for record in self._records() if isinstance(record, Message))

    def _records(self) -> Iterator[McapRecord]:
        self.damage = []
        after = len(MAGIC)
        with self._path.open('rb') as file:
            for opcode, start, length in self._places:
                if (gap := start - _HEAD.size - after) > 0:
                    self.damage.append(f'{gap} bytes at byte {after}')
                after = start + length
                if opcode not in (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK):
                    continue
                file.seek(start)
                try:
                    yield from _parsed(opcode, file.read(length))
                except Exception as error:  # each decompressor has errors of its own
                    self.damage.append(f'record at byte {start}: {error}')
        if (gap := self._path.stat().st_size - after) > _LONGEST_CUT:
            self.damage.append(f'{gap} bytes at byte {after}')


def _parsed(opcode: int, content: bytes) -> list[McapRecord]:
    """Return the records of a record's content: of a chunk, what is in it."""
    from mcap.data_stream import ReadDataStream
    from mcap.records import Channel, Chunk, Message, Schema
    from mcap.stream_reader import breakup_chunk

    stream = ReadDataStream(io.BytesIO(content))
    if opcode == _SCHEMA:
        return [Schema.read(stream)]
    if opcode == _CHANNEL:
        return [Channel.read(stream)]
    if opcode == _MESSAGE:
        return [Message.read(stream, len(content))]
    chunk = Chunk.read(stream)
    # The library takes an unknown compression for none.
    if chunk.compression.encode() not in _COMPRESSIONS:
        raise DatasetError(f'unknown compression {chunk.compression!r}')
    return breakup_chunk(chunk, validate_crc=True)


def _record_places(path: Path) -> Iterator[tuple[int, int, int]]:
    """Yield (opcode, start of the content, its length) of the records outside of chunks."""
    size = path.stat().st_size
    if not size:
        return
    with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begins = data[: len(MAGIC)] == MAGIC
        place: int | None = len(MAGIC) if begins else _next_chunk(data, 0)
        while place is not None and place + _HEAD.size <= size:
            opcode, length = _HEAD.unpack_from(data, place)
            start = place + _HEAD.size
            if opcode in _OPCODES and start + length <= size:
                yield opcode, start, length
                place = start + length
            elif size - place == len(MAGIC) and data[place:] == MAGIC:
                return
            else:
                place = _next_chunk(data, place + 1)


def _next_chunk(data: mmap.mmap, place: int) -> int | None:
    """Return the place of the next complete chunk record, or None."""
    for found in _CHUNK_START.finditer(data, place):
        start = found.start() + _HEAD.size
        length = _HEAD.unpack_from(data, found.start())[1]
        if start + length > len(data) or length < _CHUNK_HEAD.size + 8:
            continue
        name_length = _CHUNK_HEAD.unpack_from(data, start)[-1]
        if name_length > 4:
            continue
        name_at = start + _CHUNK_HEAD.size
        name = data[name_at : name_at + name_length]
        (content,) = struct.unpack_from('<Q', data, name_at + name_length)
        if name in _COMPRESSIONS and content == length - _CHUNK_HEAD.size - name_length - 8:
            return found.start()
    return None
