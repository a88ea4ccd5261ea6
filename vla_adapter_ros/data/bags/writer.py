# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Writes rosbag2 MCAP bags that `ros2 bag play` accepts, without ROS.

Through the rosbags library. Metadata version 8 is also read by Humble; version 9 writes the
quality of service in a form that releases before Jazzy cannot read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isal import isal_zlib

from vla_adapter_ros.data.bags.file import message_types
from vla_adapter_ros.errors import DatasetError

if TYPE_CHECKING:
    from rosbags.interfaces import Connection, Qos

# Place of the checksum in a chunk record: behind its opcode, length, two times and size [bytes].
_CHECKSUM_AT = 9 + 3 * 8


class BagWriter:
    """One bag being written.

    Args:
        path: folder of the bag; must not exist.
        custom: text kept in the bag's metadata.

    Raises:
        DatasetError: the path exists.
    """

    def __init__(self, path: Path, custom: Mapping[str, str]) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer

        if path.exists():
            raise DatasetError(f'bag {path}: already exists')
        self._writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
        for key, value in custom.items():
            self._writer.set_custom_data(key, value)
        self._writer.open()
        _add_checksums(self._writer.storage)
        self._connections: dict[str, Connection] = {}

    def set_custom(self, key: str, value: str) -> None:
        """Set text in the metadata; written when the bag is closed."""
        self._writer.set_custom_data(key, value)

    def add_topic(
        self, topic: str, kind: str, *, definition: str | None = None, latched: bool = False
    ) -> None:
        """Declare a topic before its first message.

        Args:
            topic: name.
            kind: message type, as `sensor_msgs/msg/Image`.
            definition: text of the .msg file, for types that are not part of ROS itself.
            latched: offered to late subscribers, as the instruction.

        Raises:
            DatasetError: the type is unknown and no definition is given.
        """
        if topic in self._connections:
            return
        store: Any = message_types()
        if definition is not None and kind not in store.fielddefs:
            from rosbags.typesys import get_types_from_msg

            store.register(get_types_from_msg(definition, kind))
        if kind not in store.fielddefs:
            raise DatasetError(f'topic {topic}: unknown type {kind}, and no definition of it')
        self._connections[topic] = self._writer.add_connection(
            topic, kind, typestore=store, offered_qos_profiles=[_qos(latched)]
        )

    def write(self, topic: str, time: int, data: bytes | memoryview) -> None:
        """Append a message (CDR) recorded at `time` [ns]."""
        self._writer.write(self._connections[topic], time, data)

    def channels(self) -> dict[str, int]:
        """Return the number of each topic's channel in the file."""
        return {topic: connection.id for topic, connection in self._connections.items()}

    def flush(self) -> None:
        """Bring all messages so far to the disk, so that they survive a power cut."""
        storage: Any = self._writer.storage
        if storage is not None and storage.chunk.msgs:
            storage.close_chunk()
            storage.bio.flush()
            os.fdatasync(storage.bio.fileno())

    def close(self) -> None:
        """Write the index and metadata.yaml."""
        self._writer.close()

    def abort(self) -> None:
        """Stop writing; the file keeps its messages but has no index."""
        storage: Any = self._writer.storage
        if storage is not None:
            storage.bio.close()


def _add_checksums(storage: Any) -> None:
    """Let rosbags' MCAP writer give each chunk its checksum; it leaves them out (0.11).

    Without one, a damaged chunk reads as messages with holes in their images.
    """
    close_chunk = storage.close_chunk

    def close_with_checksum() -> None:
        place, content = storage.bio.tell(), storage.chunk.bio.getvalue()
        close_chunk()
        end = storage.bio.tell()
        storage.bio.seek(place + _CHECKSUM_AT)
        storage.bio.write(struct.pack('<I', isal_zlib.crc32(content)))
        storage.bio.seek(end)

    storage.close_chunk = close_with_checksum


def _qos(latched: bool) -> Qos:
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    forever = QosTime(2147483647, 4294967295)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )
