# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Layouts of Foxglove and PlotJuggler for a robot and a namespace.

    python -m vla_adapter_ros.nodes.viewing.layouts views --robot so101 --namespace left

Both viewers need absolute names of topics. config/viewers/ has the layouts of the Alicia-D
(`alicia`) and of the simulation (`alicia_sim`), made by this command.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.viewing.foxglove import foxglove_layout
from vla_adapter_ros.nodes.viewing.plotjuggler import plotjuggler_layout
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract
from vla_adapter_ros.robot.sections import ROS_NAME_RULE, is_ros_name


def write_layouts(folder: Path, name: str, contract: RobotContract, namespace: str) -> list[Path]:
    """Write both layouts and return the files.

    Args:
        folder: made if it is not there.
        name: of the files, without suffix.
        contract: gives cameras, joints and command topics.
        namespace: in which the nodes run; '' is the root.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f'/{namespace.strip("/")}' if namespace.strip('/') else ''
    contents = {
        'foxglove.json': json.dumps(foxglove_layout(contract, prefix), indent=2) + '\n',
        'plotjuggler.xml': plotjuggler_layout(contract, prefix),
    }
    files = [folder / f'{name}.{suffix}' for suffix in contents]
    for file, text in zip(files, contents.values(), strict=True):
        file.write_text(text, encoding='utf-8')
    return files


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.nodes.viewing.layouts',
        description='Write layouts for Foxglove and PlotJuggler.',
    )
    parser.add_argument('output', type=Path, help='folder')
    parser.add_argument('--robot', default='alicia_d', help='contract: name, or path of a file')
    parser.add_argument('--namespace', default='', help='of the nodes; sim for the simulation')
    parser.add_argument('--name', default='', help="of the files (default: the robot's)")
    options = parser.parse_args(arguments)
    try:
        contract = resolve_contract(options.robot)
        if options.namespace.strip('/') and not is_ros_name(options.namespace.strip('/')):
            raise VLAAdapterError(f'--namespace {options.namespace!r}: {ROS_NAME_RULE}')
        name = options.name or contract.name
        for file in write_layouts(options.output, name, contract, options.namespace):
            print(file)
    except VLAAdapterError as error:
        print(f'error: {error}')
        return 1
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
