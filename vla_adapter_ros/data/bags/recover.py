# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Saves what can be read of a bag whose recording was cut off (power cut, kill −9, full disk)."""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_adapter_ros.data.bags.file import BagFile
from vla_adapter_ros.data.bags.mcap_scan import McapScan
from vla_adapter_ros.data.bags.metadata import METADATA, BagMetadata
from vla_adapter_ros.data.bags.writer import BagWriter
from vla_adapter_ros.data.files import sync_entry, sync_folder
from vla_adapter_ros.errors import DatasetError, VLAAdapterError, readable

# Our recorder writes its metadata here first: the bag itself has it only at the end.
SIDECAR = 'recording.json'
# In the sidecar only: channel → its topic, as arguments of `BagWriter.add_topic`.
CHANNELS = 'channels'
# In the metadata of a recovered bag: what it was recovered from.
RECOVERED = 'recovered'


@dataclass(frozen=True)
class Recovered:
    """What was saved of a broken bag.

    Attributes:
        path: of the new bag.
        count: messages saved; as many were read back from it.
        lost: what could not be saved, one line each; a recording that ends early has none.
    """

    path: Path
    count: int
    lost: tuple[str, ...] = ()


def recover(bag: Path, output: Path, origin: str = 'true') -> Recovered:
    """Write a complete bag of all messages that are left of a broken one.

    Damaged chunks are left out and named; reading goes on behind them. So are topics whose type
    cannot be written (JSON, Protobuf).

    Args:
        bag: folder with .mcap files.
        output: folder of the new bag; the broken one is not changed.
        origin: kept in the new bag's metadata, as `recovered`.

    Raises:
        DatasetError: the output exists, nothing to recover from, or not a single message.
    """
    if output.exists():
        raise DatasetError(f'{output}: already exists')
    files = sorted(bag.glob('*.mcap'))
    if not files:
        raise DatasetError(
            f'bag {bag}: no .mcap file to recover (other formats: ros2 bag reindex)'
        )
    temporary = output.parent / f'.{output.name}.recovering' / output.name
    shutil.rmtree(temporary.parent, ignore_errors=True)
    try:
        copy = _Copy(bag, temporary, origin)
        for file in files:
            copy.add(file)
        copy.close()
        sync_folder(temporary)
        temporary.replace(output)
        sync_entry(output)
    finally:
        shutil.rmtree(temporary.parent, ignore_errors=True)
    return Recovered(output, copy.count, tuple(copy.lost))


class _Copy:
    """The new bag of a broken one."""

    def __init__(self, bag: Path, output: Path, origin: str) -> None:
        self._bag, self._output = bag, output
        custom = _custom(bag)
        # Our recorder's table of channels, for a bag whose first chunk is gone.
        self._declared: dict[str, dict[str, Any]] = json.loads(custom.pop(CHANNELS, '{}'))
        self._writer = BagWriter(output, custom | {RECOVERED: origin})
        self._refused: dict[str, str] = {}
        self.count = 0
        self.lost: list[str] = []

    def add(self, file: Path) -> None:
        """Copy the readable messages of one file."""
        try:
            scan = McapScan(file)
        except DatasetError as error:
            if file.stat().st_size:
                self.lost.append(str(error))
            return
        unknown: Counter[str] = Counter()
        for message in scan.messages():
            topic = self._topic(scan, message.channel_id)
            if topic in self._refused or not topic:
                unknown[self._refused.get(topic, f'of unknown channel {message.channel_id}')] += 1
                continue
            self._writer.write(topic, message.log_time, message.data)
            self.count += 1
        self.lost += [f'{file.name}: {text}' for text in scan.damage]
        self.lost += [f'{file.name}: {n} messages {reason}' for reason, n in unknown.items()]

    def _topic(self, scan: McapScan, identifier: int) -> str:
        """Return a channel's topic, declared in the new bag; '' if nobody knows the channel."""
        channel = scan.channels.get(identifier)
        if channel is None:
            declared = self._declared.get(str(identifier))
            if declared is None:
                return ''
            return self._declare(**declared)
        schema = scan.schemas.get(channel.schema_id)
        if channel.message_encoding != 'cdr' or schema is None:
            encoding = channel.message_encoding
            self._refused[channel.topic] = f'on {channel.topic}, encoded as {encoding}'
            return channel.topic
        qos = channel.metadata.get('offered_qos_profiles', '')
        return self._declare(
            channel.topic, schema.name, schema.data.decode('utf8', 'replace'),
            'durability: 1' in qos or 'transient_local' in qos,
        )  # fmt: skip

    def _declare(self, topic: str, kind: str, definition: str | None, latched: bool) -> str:
        if topic not in self._refused:
            try:
                self._writer.add_topic(topic, kind, definition=definition, latched=latched)
            except Exception as error:  # a definition may be anything
                self._refused[topic] = f'on {topic}, of type {kind}: {error}'
        return topic

    def close(self) -> None:
        """Finish the new bag and count what is in it."""
        if not self.count:
            self._writer.abort()
            reasons = ''.join(f'; {text}' for text in self.lost[:3])
            raise DatasetError(f'bag {self._bag}: no complete message in it{reasons}')
        self._writer.close()
        with BagFile(self._output) as written:
            found = sum(1 for topic in written.types for _ in written.messages(topic))
        if found != self.count:
            raise DatasetError(
                f'{self._output}: {self.count} messages were written, {found} can be read back'
            )


def _custom(bag: Path) -> dict[str, str]:
    if (bag / SIDECAR).is_file():
        with readable(bag / SIDECAR, DatasetError, 'remove it to recover the bag without it'):
            found = json.loads((bag / SIDECAR).read_text(encoding='utf-8'))
            return {str(k): str(v) for k, v in found.items()}
    if (bag / METADATA).is_file():
        try:
            return BagMetadata(bag).custom
        except DatasetError:
            return {}
    return {}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.data.bags.recover',
        description='Save what can be read of a bag (MCAP) whose recording was cut off. '
        'The broken bag is not changed.',
    )
    parser.add_argument('bag', type=Path, help='folder of the broken bag')
    parser.add_argument('output', type=Path, nargs='?', help='new bag (default: BAG_recovered)')
    options = parser.parse_args(arguments)
    output = options.output or options.bag.with_name(f'{options.bag.name}_recovered')
    try:
        saved = recover(options.bag, output)
    except VLAAdapterError as error:
        print(f'error: {error}')
        return 1
    print(f'{output}: {saved.count} messages')
    for text in saved.lost:
        print(f'lost: {text}')
    return 1 if saved.lost else 0


if __name__ == '__main__':
    raise SystemExit(main())
