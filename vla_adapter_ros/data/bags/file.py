# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reading rosbag2 bags (MCAP and SQLite) without ROS."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from vla_adapter_ros.errors import ContractError, DatasetError
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.sections import YAML_LOADER

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

METADATA = 'metadata.yaml'
# Keys of our recorder in the bag's custom data; values are JSON, or text for the instruction.
CONTRACT, TOPICS, INSTRUCTION, SUCCESS = 'contract', 'topics', 'instruction', 'success'
RECOVERY = 'python -m vla_adapter_ros.data.bags.recover'
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


class BagFile:
    """One bag, open for reading.

    Args:
        path: folder with metadata.yaml.

    Raises:
        DatasetError: not a bag, truncated or damaged; the message says how to recover it.
    """

    def __init__(self, path: str | Path) -> None:
        from rosbags.rosbag2 import Reader

        self.path = Path(path)
        if not (self.path / METADATA).is_file():
            raise DatasetError(
                f'bag {self.path}: no {METADATA}: not a bag, or its recording was cut off; '
                f'try {RECOVERY} {self.path}'
            )
        try:
            self._reader = Reader(self.path)
            self._reader.open()
        except Exception as error:  # a foreign file may hold anything
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DatasetError:
        return DatasetError(
            f'bag {self.path}: truncated or damaged: {error}; try {RECOVERY} {self.path}'
        )

    @cached_property
    def types(self) -> dict[str, str]:
        """Topic → message type, of the topics that have messages."""
        return {c.topic: c.msgtype for c in self._reader.connections if c.msgcount}

    @cached_property
    def custom(self) -> dict[str, str]:
        """The recorder's metadata."""
        information = yaml.load((self.path / METADATA).read_text(), YAML_LOADER)
        data = information.get('rosbag2_bagfile_information', {}).get('custom_data')
        return {str(key): str(value) for key, value in (data or {}).items()}

    @property
    def success(self) -> bool | None:
        """Whether the task was done, as marked at the end of the recording; None: not marked."""
        return {'true': True, 'false': False}.get(self.custom.get(SUCCESS, '').lower())

    @property
    def identity(self) -> str:
        """A hash of what was recorded when: equal for copies of one recording, and only then."""
        reader = self._reader
        topics = sorted((c.topic, c.msgtype, c.msgcount) for c in reader.connections)
        facts = [reader.start_time, reader.end_time, reader.message_count, topics]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @property
    def contract(self) -> RobotContract | None:
        """The contract the bag was recorded with, if it has one.

        Raises:
            DatasetError: it has one that cannot be read.
        """
        if CONTRACT not in self.custom:
            return None
        place = f'contract of bag {self.path.name}'
        try:
            return RobotContract.from_dict(json.loads(self.custom[CONTRACT]), place)
        except (ContractError, ValueError) as error:
            raise DatasetError(f'bag {self.path}: {error}') from error

    @property
    def recorded_topics(self) -> dict[str, str]:
        """Role → topic, as our recorder wrote it; empty for other bags."""
        found = json.loads(self.custom.get(TOPICS, '{}'))
        return {str(role): str(topic) for role, topic in found.items()}

    def messages(self, topic: str, start: int = 0) -> Iterator[Message]:
        """Yield a topic's messages in the order they were recorded, from a time [ns] on.

        Raises:
            DatasetError: the bag is damaged there.
        """
        connections = [c for c in self._reader.connections if c.topic == topic]
        try:
            for _, time, data in self._reader.messages(connections, start or None):
                yield Message(time, data)
        except Exception as error:  # each storage and compression has errors of its own
            raise self._damaged(error) from error

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
