# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Random access to the messages of MCAP files with an index and uncompressed chunks.

These are the files of our recorder, and of `ros2 bag record` without compression. The rosbags
library reads and copies a whole chunk, images and all, for each small message in it.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from isal import isal_zlib

from vla_adapter_ros.errors import DatasetError

if TYPE_CHECKING:
    from mcap.records import ChunkIndex
    from mcap.summary import Summary

_MESSAGE_INDEX, _MESSAGE, _CHUNK = 0x07, 0x05, 0x06
MAGIC = b'\x89MCAP0\r\n'  # at both ends of a file
_HEAD = struct.Struct('<BQ')  # opcode, length of the content
_INDEX_HEAD = struct.Struct('<BQHI')  # … channel, bytes of the entries
_MESSAGE_HEAD = struct.Struct('<BQHIQQ')  # … channel, number, times
# Times, size, checksum, name of the compression (none), size.
_CHUNK_HEAD = struct.Struct('<BQQQQIIQ')
_ENTRY = np.dtype([('time', '<u8'), ('offset', '<u8')])
_PIECE = 1 << 18  # [bytes], what fits into a core's cache
_SHORT = 1 << 10  # [bytes], longer than a joint state


@dataclass(frozen=True)
class TopicIndex:
    """Where the messages of a topic are, in the order of their times.

    Attributes:
        times: (N,) of recording [ns].
        files: (N,) number of the file.
        chunks: (N,) number of the chunk in all files.
        places: (N,) of the message records [byte in the file].
    """

    times: np.ndarray
    files: np.ndarray
    chunks: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.times)


class IndexedMcap:
    """The messages of a bag's MCAP files, by topic and number. Safe to share between threads.

    Args:
        paths: files in the order of the recording.

    Raises:
        DatasetError: a file is damaged.
        LookupError: it has no complete index, or compressed chunks: read it from its start.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._files: list[BinaryIO] = []
        try:
            self._chunks: list[tuple[int, ChunkIndex]] = []
            parts: dict[str, list[TopicIndex]] = {}
            for number, path in enumerate(paths):
                self._files.append(path.open('rb'))
                for topic, part in self._read_index(number).items():
                    parts.setdefault(topic, []).append(part)
        except BaseException:
            self.close()
            raise
        self._good: set[int] = set()
        self._lock, self._piece = threading.Lock(), memoryview(bytearray(_PIECE))
        self.topics = {topic: _joined(found) for topic, found in parts.items()}

    def _read_index(self, number: int) -> dict[str, TopicIndex]:
        summary = _summary(self._paths[number])
        entries: dict[str, list[tuple[int, np.ndarray]]] = {}
        count = 0
        for chunk in summary.chunk_indexes:
            if chunk.compression:
                raise LookupError('compressed chunks')
            self._chunks.append((number, chunk))
            for channel, found in self._chunk_entries(number, chunk):
                topic = summary.channels[channel].topic
                entries.setdefault(topic, []).append((len(self._chunks) - 1, found))
                count += len(found)
        if summary.statistics is None or summary.statistics.message_count != count:
            raise LookupError('no complete index')
        return {topic: self._topic(number, found) for topic, found in entries.items()}

    def _chunk_entries(self, number: int, chunk: ChunkIndex) -> list[tuple[int, np.ndarray]]:
        if not chunk.message_index_length:
            return []
        start = chunk.chunk_start_offset + chunk.chunk_length
        data = self._read(number, start, chunk.message_index_length)
        found, place = [], 0
        while place < len(data):
            opcode, length, channel, size = _INDEX_HEAD.unpack_from(data, place)
            if opcode != _MESSAGE_INDEX or length != size + 6 or size % _ENTRY.itemsize:
                raise self._damaged(number, start + place)
            content = np.frombuffer(data, _ENTRY, size // _ENTRY.itemsize, place + 15)
            found.append((channel, content))
            place += _HEAD.size + length
        return found

    def _topic(self, number: int, found: list[tuple[int, np.ndarray]]) -> TopicIndex:
        entries = np.concatenate([part for _, part in found])
        chunks = np.concatenate([np.full(len(part), chunk) for chunk, part in found])
        starts = [self._content(chunk) for chunk, part in found for _ in range(len(part))]
        places = np.array(starts, np.int64) + entries['offset'].astype(np.int64)
        times = entries['time'].astype(np.int64)
        order = np.lexsort((places, times))
        files = np.full(len(order), number)
        return TopicIndex(times[order], files, chunks[order], places[order])

    def _content(self, chunk: int) -> int:
        return self._chunks[chunk][1].chunk_start_offset + _CHUNK_HEAD.size

    def read(self, topic: str, number: int, most: int | None = None) -> bytes:
        """Return the bytes (CDR) of a topic's message, or `most` of them.

        Raises:
            DatasetError: the chunk that holds it is damaged.
        """
        index = self.topics[topic]
        file, place = int(index.files[number]), int(index.places[number])
        self._check_chunk(int(index.chunks[number]))
        # Mostly one read is enough: joint states are short, and of images the stamp is asked for.
        guess = _MESSAGE_HEAD.size + (_SHORT if most is None else most)
        start = os.pread(self._files[file].fileno(), guess, place)
        if len(start) < _MESSAGE_HEAD.size:
            raise self._damaged(file, place, 'the file ends early')
        opcode, length, _, _, time, _ = _MESSAGE_HEAD.unpack_from(start)
        size = length - (_MESSAGE_HEAD.size - _HEAD.size)
        if opcode != _MESSAGE or time != index.times[number] or size < 0:
            raise self._damaged(file, place)
        wanted = size if most is None else min(size, most)
        if _MESSAGE_HEAD.size + wanted <= len(start):
            return start[_MESSAGE_HEAD.size : _MESSAGE_HEAD.size + wanted]
        return self._read(file, place + _MESSAGE_HEAD.size, wanted)

    def _check_chunk(self, number: int) -> None:
        """Compare a chunk with its checksum, once."""
        if number in self._good:
            return
        file, chunk = self._chunks[number]
        place = chunk.chunk_start_offset
        head = _CHUNK_HEAD.unpack(self._read(file, place, _CHUNK_HEAD.size))
        opcode, length, _, _, size, checksum, _, stored = head
        if opcode != _CHUNK or stored != size or length != _CHUNK_HEAD.size - _HEAD.size + size:
            raise self._damaged(file, place)
        if checksum and self._checksum(file, place + _CHUNK_HEAD.size, size) != checksum:
            raise self._damaged(file, place, 'checksum mismatch in the chunk')
        self._good.add(number)

    def _checksum(self, file: int, place: int, size: int) -> int:
        found, handle = 0, self._files[file].fileno()
        with self._lock:
            while size:
                # Into the same memory: new pages would cost more than the checksum.
                count = os.preadv(handle, [self._piece[: min(_PIECE, size)]], place)
                if not count:
                    raise self._damaged(file, place, 'the file ends early')
                found = isal_zlib.crc32(self._piece[:count], found)
                place, size = place + count, size - count
        return found

    def _read(self, file: int, place: int, size: int) -> bytes:
        data = os.pread(self._files[file].fileno(), size, place)
        if len(data) != size:
            raise self._damaged(file, place, 'the file ends early')
        return data

    def _damaged(self, file: int, place: int, what: str = 'unexpected record') -> DatasetError:
        return DatasetError(f'{self._paths[file].name}: {what} at byte {place}')

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()
        self._files.clear()


def ends_well(path: Path) -> bool:
    """Return whether a file ends as its writer ends it; one that was cut off does not.

    Raises:
        OSError: it cannot be read.
    """
    with path.open('rb') as file:
        file.seek(max(0, path.stat().st_size - len(MAGIC)))
        return file.read() == MAGIC


def _summary(path: Path) -> Summary:
    from mcap.reader import SeekingReader

    with path.open('rb') as file:
        summary = SeekingReader(file).get_summary()
    if summary is None:
        raise LookupError('no index')
    return summary


def _joined(parts: Sequence[TopicIndex]) -> TopicIndex:
    names = ('times', 'files', 'chunks', 'places')
    return TopicIndex(*(np.concatenate([getattr(part, n) for part in parts]) for n in names))
