# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Saves what can be read of a bag whose recording was cut off (power cut, kill −9, full disk)."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from vla_adapter_ros.data.bags.file import METADATA, BagFile
from vla_adapter_ros.data.bags.mcap_scan import McapScan
from vla_adapter_ros.data.bags.writer import BagWriter
from vla_adapter_ros.data.files import read_json
from vla_adapter_ros.errors import DatasetError, VLAAdapterError

# Our recorder writes its metadata here first: the bag itself has it only at the end.
SIDECAR = 'recording.json'
# Set in the metadata of a recovered bag.
RECOVERED = 'recovered'


def recover(bag: Path, output: Path) -> int:
    """Write a whole bag with all messages that are left of a broken one.

    Args:
        bag: folder with .mcap files.
        output: folder of the new bag; the broken one is not changed.

    Returns:
        The number of messages saved.

    Raises:
        DatasetError: the output exists, nothing to recover from, or not a single message.
    """
    if output.exists():
        raise DatasetError(f'{output}: exists already')
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
            for message in McapScan(file):
                channel = message.channel
                writer.add_topic(
                    channel.topic, channel.kind, definition=channel.definition,
                    latched='durability: 1' in channel.qos or 'transient_local' in channel.qos,
                )  # fmt: skip
                writer.write(channel.topic, message.time, message.data)
                count += 1
        if not count:
            writer.abort()
            raise DatasetError(f'bag {bag}: not one whole message in it')
        writer.close()
        temporary.replace(output)
    finally:
        shutil.rmtree(temporary.parent, ignore_errors=True)
    return count


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
