# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reading rosbag2 bags (MCAP and SQLite) without ROS."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vla_adapter_ros.data.bags.mcap_index import IndexedMcap, ends_well
from vla_adapter_ros.data.bags.metadata import METADATA, BagMetadata
from vla_adapter_ros.errors import DatasetError

if TYPE_CHECKING:
    from rosbags.rosbag2 import Reader
    from rosbags.typesys.store import Typestore

# What the stamp of a message needs of it [bytes].
HEADER_BYTES = 16
_STAMP = {True: struct.Struct('<iI'), False: struct.Struct('>iI')}


class Message(NamedTuple):
    """One recorded message: when it was recorded [ns], and its bytes (CDR)."""

    time: int
    data: bytes


@lru_cache(maxsize=1)
def message_types() -> Typestore:
    """Return the message types that all supported distributions share."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE)


def header_stamp(data: bytes) -> int:
    """Return the stamp [ns] of a message whose first field is a std_msgs/Header.

    Raises:
        DatasetError: the message is too short to have one.
    """
    if len(data) < 12:
        raise DatasetError(f'a message of {len(data)} bytes: cut off')
    seconds, nanoseconds = _STAMP[bool(data[1] & 1)].unpack_from(data, 4)
    return seconds * 1_000_000_000 + nanoseconds


def complete_bag(path: Path) -> BagMetadata:
    """Return a bag's description after a look at the ends of its files.

    Their messages are not looked at: a dataset may be made of thousands of bags.

    Raises:
        DatasetError: not a bag, or its recording was cut off; the message says how to recover it.
    """
    bag = BagMetadata(path)
    try:
        if bag.files is None:
            BagFile(path).close()
        cut = [file.name for file in bag.files or () if not ends_well(file)]
    except DatasetError:
        raise
    except Exception as error:  # a foreign description may hold anything
        raise bag.damaged(error) from error
    if cut:
        raise bag.damaged(DatasetError(f'{cut[0]} is cut off'))
    return bag


class BagFile(BagMetadata):
    """One bag, open for reading.

    Args:
        path: folder with metadata.yaml.

    Raises:
        DatasetError: not a bag, truncated or damaged; the message says how to recover it.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._reader: Reader | None = None
        try:
            self._index = self._find_index()
            if self._index is None:
                self._library()
        except Exception as error:  # a foreign file may hold anything
            raise self.damaged(error) from error

    def _find_index(self) -> IndexedMcap | None:
        """Return direct access to the messages, where the files allow it."""
        found = self._information
        formats = {
            entry['topic_metadata']['serialization_format']
            for entry in found['topics_with_message_count']
        }
        if self.files is None or formats - {'cdr'}:
            return None
        try:
            return IndexedMcap(self.files)
        except LookupError:
            return None

    def _library(self) -> Reader:
        """Return the library's reader, which reads all storages; opened when needed."""
        from rosbags.rosbag2 import Reader

        if self._reader is None:
            self._reader = Reader(self.path)
            self._reader.open()
        return self._reader

    def messages(self, topic: str, most: int | None = None) -> Iterator[Message]:
        """Yield a topic's messages in the order they were recorded.

        Args:
            topic: name.
            most: bytes of each message that are needed; there may be more.

        Raises:
            DatasetError: the bag is damaged there.
        """
        if self._index is None:
            yield from self._read_on(topic)
        elif topic in self._index.topics:
            for number, time in enumerate(self._index.topics[topic].times.tolist()):
                yield Message(time, self._read(topic, number, most))

    def numbered(
        self, topic: str, numbers: Sequence[int], times: np.ndarray
    ) -> Iterator[tuple[int, Message]]:
        """Yield some of a topic's messages with their numbers.

        Args:
            topic: name.
            numbers: in the order of `messages`, ascending.
            times: (N,) of all messages of the topic [ns].

        Raises:
            DatasetError: the bag is damaged there.
        """
        if not len(numbers):
            return
        if self._index is not None:
            for number in numbers:
                yield number, Message(int(times[number]), self._read(topic, number))
            return
        first, start, stop = 0, None, None
        if (np.diff(times) >= 0).all():
            start, stop = int(times[numbers[0]]), int(times[numbers[-1]]) + 1
            first = int(np.searchsorted(times, start))
        wanted = iter(numbers)
        number = next(wanted, None)
        # Some of the library's readers have one place in the file.
        with BagFile(self.path) as own:
            for place, message in enumerate(own._read_on(topic, start, stop), first):
                if place == number:
                    yield place, message
                    number = next(wanted, None)

    def _read(self, topic: str, number: int, most: int | None = None) -> bytes:
        assert self._index is not None
        try:
            return self._index.read(topic, number, most)
        except (DatasetError, OSError) as error:
            raise self.damaged(error) from error

    def _read_on(
        self, topic: str, start: int | None = None, stop: int | None = None
    ) -> Iterator[Message]:
        try:
            reader = self._library()
            connections = [c for c in reader.connections if c.topic == topic]
            for _, time, data in reader.messages(connections, start, stop):
                yield Message(time, data)
        except Exception as error:  # each storage and compression has errors of its own
            raise self.damaged(error) from error

    def decode(self, topic: str, data: bytes) -> Any:
        """Return a message of a topic as an object with its fields.

        Raises:
            DatasetError: its type is unknown, or the bytes do not fit it.
        """
        from rosbags.typesys.store import TypesysError

        kind = self.types[topic]
        store = message_types()
        try:
            definition = store.get_msgdef(kind)
        except (KeyError, TypesysError) as error:
            raise DatasetError(f'bag {self.path}: {topic}: unknown type {kind}') from error
        little = bool(data[1] & 1)
        read = definition.deserialize_cdr_le if little else definition.deserialize_cdr_be
        content = memoryview(data)[4:]
        try:
            message, end = read(content, 0, definition.cls, store)
        except Exception as error:  # damaged bytes may raise anything
            raise DatasetError(f'bag {self.path}: {topic}: not a {kind}: {error}') from error
        # Publishers of ready-made bytes pad them to an estimated size: zeros at the end are fine.
        if len(content) - end > 3 and any(content[end:]):
            raise DatasetError(
                f'bag {self.path}: {topic}: {len(content) - end} bytes too many for a {kind}'
            )
        return message

    def close(self) -> None:
        """Close the bag."""
        if self._index is not None:
            self._index.close()
        if self._reader is not None:
            self._reader.close()

    def __enter__(self) -> BagFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def find_bags(path: str | Path) -> list[Path]:
    """Return the bags at `path`: itself, or those in the folder, by name.

    Raises:
        DatasetError: there is none.
    """
    path = Path(path)
    if (path / METADATA).is_file() or list(path.glob('*.mcap')) or list(path.glob('*.db3')):
        return [path]
    found = sorted(file.parent for file in path.glob('[!.]*/metadata.yaml'))
    if not found:
        raise DatasetError(f'{path}: no bag here (a folder with {METADATA})')
    return found
