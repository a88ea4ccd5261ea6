# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What a bag says of itself in metadata.yaml; its messages are not looked at."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import ContractError, DatasetError
from vla_adapter_ros.plain_yaml import parse_yaml
from vla_adapter_ros.robot.contract import RobotContract

METADATA = 'metadata.yaml'
# Keys of our recorder in the bag's custom data; values are JSON, or text for the instruction.
CONTRACT, TOPICS, INSTRUCTION, SUCCESS = 'contract', 'topics', 'instruction', 'success'
RECOVERY = 'python -m vla_adapter_ros.data.bags.recover'


class BagMetadata:
    """A bag's description.

    Args:
        path: folder with metadata.yaml.

    Raises:
        DatasetError: not a bag, or damaged; the message says how to recover it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / METADATA).is_file():
            raise DatasetError(
                f'bag {self.path}: no {METADATA}: not a bag, or its recording was cut off; '
                f'try {RECOVERY} {self.path}'
            )
        try:
            content = parse_yaml((self.path / METADATA).read_text(encoding='utf-8'))
            self._information: dict[str, Any] = content['rosbag2_bagfile_information']
            self._topics = [
                (entry['topic_metadata']['name'], entry['topic_metadata']['type'],
                 entry['message_count'])
                for entry in self._information['topics_with_message_count']
            ]  # fmt: skip
            start = self._information['starting_time']['nanoseconds_since_epoch']
            end = start + self._information['duration']['nanoseconds'] + 1
            self._facts = [start, end, self._information['message_count'], sorted(self._topics)]
        except Exception as error:  # a foreign file may hold anything
            raise self.damaged(error) from error

    def damaged(self, error: Exception) -> DatasetError:
        """Return what to raise for an error in its files."""
        return DatasetError(
            f'bag {self.path}: truncated or damaged: {error}; try {RECOVERY} {self.path}'
        )

    @cached_property
    def files(self) -> list[Path] | None:
        """Its MCAP files in the order of the recording; None: other storage, or compressed."""
        found = self._information
        compressed = (found.get('compression_mode') or 'none').lower() != 'none'
        if found['storage_identifier'] != 'mcap' or compressed:
            return None
        return [self.path / Path(name).name for name in found['relative_file_paths']]

    @cached_property
    def types(self) -> dict[str, str]:
        """Topic → message type, of the topics that have messages."""
        return {topic: kind for topic, kind, count in self._topics if count}

    @cached_property
    def custom(self) -> dict[str, str]:
        """The recorder's metadata."""
        data = self._information.get('custom_data')
        return {str(key): str(value) for key, value in (data or {}).items()}

    @property
    def success(self) -> bool | None:
        """Whether the task was done, as marked at the end of the recording; None: not marked."""
        return {'true': True, 'false': False}.get(self.custom.get(SUCCESS, '').lower())

    @property
    def identity(self) -> str:
        """A hash of what was recorded when: equal for copies of one recording, and only then."""
        return hashlib.sha256(json.dumps(self._facts).encode()).hexdigest()[:16]

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
