# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Saves what can be read of a bag whose recording was cut off (power cut, kill −9, full disk)."""

from __future__ import annotations

import argparse
import shutil
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vla_adapter_ros.data.bags.file import METADATA, BagFile
from vla_adapter_ros.data.bags.writer import BagWriter
from vla_adapter_ros.data.files import read_json
from vla_adapter_ros.errors import DatasetError, VLAAdapterError

if TYPE_CHECKING:
    from mcap.records import Channel, McapRecord, Message, Schema

# Our recorder writes its metadata here first: the bag itself has it only at the end.
SIDECAR = 'recording.json'
# Set in the metadata of a recovered bag.
RECOVERED = 'recovered'


def recover(bag: Path, output: Path) -> int:
    """Write a complete bag of all messages that are left of a broken one.

    Args:
        bag: folder with .mcap files.
        output: folder of the new bag; the broken one is not changed.

    Returns:
        The number of messages saved.

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
        writer = BagWriter(temporary, _custom(bag) | {RECOVERED: 'true'})
        count = 0
        for file in files:
            for schema, channel, message in _messages(file):
                qos = channel.metadata.get('offered_qos_profiles', '')
                writer.add_topic(
                    channel.topic, schema.name, definition=schema.data.decode('utf8', 'replace'),
                    latched='durability: 1' in qos or 'transient_local' in qos,
                )  # fmt: skip
                writer.write(channel.topic, message.log_time, message.data)
                count += 1
        if not count:
            writer.abort()
            raise DatasetError(f'bag {bag}: no complete message in it')
        writer.close()
        temporary.replace(output)
    finally:
        shutil.rmtree(temporary.parent, ignore_errors=True)
    return count


def _messages(file: Path) -> Iterator[tuple[Schema, Channel, Message]]:
    """Yield an MCAP file's messages from its beginning, up to where it is cut off.

    Ordinary readers start at the index at the end, which a killed recorder never wrote.

    Raises:
        DatasetError: not an MCAP file, or a chunk is complete but damaged.
    """
    from mcap.records import Channel, Message, Schema

    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    for record in _records(file):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, Message):
            try:
                channel = channels[record.channel_id]
                schema = schemas[channel.schema_id]
            except KeyError as error:
                raise DatasetError(f'{file}: damaged: a message of an unknown channel') from error
            yield schema, channel, record


def _records(file: Path) -> Iterator[McapRecord]:
    from mcap.exceptions import InvalidMagic, McapError
    from mcap.records import Chunk, DataEnd
    from mcap.stream_reader import StreamReader, breakup_chunk

    with file.open('rb') as opened:
        # A record longer than the file is cut off or damaged: its memory must not be reserved.
        limit = file.stat().st_size
        records = StreamReader(opened, emit_chunks=True, record_size_limit=limit).records
        while True:
            try:
                record = next(records)
            except InvalidMagic as error:
                raise DatasetError(f'{file}: not an MCAP file') from error
            except (McapError, struct.error, StopIteration):
                return
            except (ValueError, OverflowError, MemoryError) as error:
                raise DatasetError(f'{file}: damaged record: {error!r}') from error
            if isinstance(record, DataEnd):
                return
            if not isinstance(record, Chunk):
                yield record
                continue
            # The library takes an unknown compression for none.
            if record.compression not in ('', 'lz4', 'zstd'):
                raise DatasetError(f'{file}: unknown compression {record.compression!r}')
            try:
                content = breakup_chunk(record)
            except Exception as error:  # each decompressor has errors of its own
                raise DatasetError(f'{file}: damaged chunk: {error}') from error
            yield from content


def _custom(bag: Path) -> dict[str, str]:
    if (bag / SIDECAR).is_file():
        return {str(k): str(v) for k, v in read_json(bag / SIDECAR).items()}
    if (bag / METADATA).is_file():
        try:
            with BagFile(bag) as opened:
                return opened.custom
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
        count = recover(options.bag, output)
    except VLAAdapterError as error:
        print(f'error: {error}')
        return 1
    print(f'{output}: {count} messages')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
