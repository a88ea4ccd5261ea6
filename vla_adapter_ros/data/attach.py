# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Gives a LeRobot dataset its robot contract (back).

    python -m vla_adapter_ros.data.attach datasets/pick_edited --contract datasets/pick

`lerobot-edit-dataset` writes a new dataset without `meta/vla_adapter.json`. Attaching states that
the dataset's actions are joint targets of the contract; sizes, names, cameras and ranges are
checked first.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vla_adapter_ros.data.files import read_json
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.columns import Columns, check_foreign
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.errors import DatasetError, VLAAdapterError
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract
from vla_adapter_ros.weights.files import write_json


def attach(path: Path, contract: RobotContract) -> None:
    """Write a contract into a dataset whose actions are its joint targets.

    Args:
        path: LeRobot dataset without a contract.
        contract: of the robot that recorded it.

    Raises:
        DatasetError: it has one already, or does not fit this one.
    """
    source = LeRobotSource(path, Columns(actions='joint_target'))
    if source.contract is not None:
        found = contract.differences(source.contract)
        raise DatasetError(
            f'{path}: has a contract already, '
            + (f'which differs: {"; ".join(found)}' if found else 'this one')
        )
    check_foreign(source, contract)
    write_json(path / layout.EXTRA, {'contract': contract.to_dict(), 'attached': True})


def read_contract(name: str) -> RobotContract:
    """Return the contract of a dataset's folder, or one by name or path.

    Raises:
        DatasetError: the folder is a dataset without a contract.
        ContractError: no such contract.
    """
    folder = Path(name)
    if not layout.is_dataset(folder):
        return resolve_contract(name)
    data = read_json(folder / layout.EXTRA)
    if not isinstance(data, dict) or 'contract' not in data:
        raise DatasetError(f'{folder / layout.EXTRA}: has no contract')
    return RobotContract.from_dict(data['contract'], str(folder))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.data.attach',
        description='Give a LeRobot dataset its robot contract back, after lerobot-edit-dataset '
        'or another tool made it.',
    )
    parser.add_argument('dataset', type=Path, help='folder of the dataset without a contract')
    parser.add_argument(
        '--contract', required=True, help='the dataset it was made from, or a contract'
    )
    options = parser.parse_args(arguments)
    try:
        attach(options.dataset, read_contract(options.contract))
    except VLAAdapterError as error:
        print(f'error: {error}')
        return 1
    print(f'{options.dataset}: has its contract')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
