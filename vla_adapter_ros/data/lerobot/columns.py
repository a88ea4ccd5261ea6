# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the columns of a LeRobot dataset mean: the user's words about another tool's data."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.robot.contract import RobotContract

ActionMeaning = Literal['joint_target', 'joint_delta', 'ee_delta', 'per_step']
MEANINGS: dict[str, str] = {
    'joint_target': 'absolute joint angles [rad] one frame later, then the open fraction',
    'joint_delta': 'offsets [rad] from the state of the same frame, then the open fraction',
    'ee_delta': 'motion of the tool to the next frame (3 [m], 3 [rad], base frame), then the '
    'open fraction',
    'per_step': 'commands of another controller, kept as recorded; no robot contract',
}
# A state may lie this far outside the contract's limits [rad]; degrees lie much farther.
_LIMIT_MARGIN = 0.2


@dataclass(frozen=True)
class Columns:
    """Which features hold what.

    Attributes:
        state: feature of the proprioception.
        action: feature of the actions.
        cameras: camera name → feature; empty: all, named by the last part of their key.
        actions: meaning of the actions; None: joint targets if the dataset carries our contract,
            else not known.
    """

    state: str = layout.STATE
    action: str = layout.ACTION
    cameras: Mapping[str, str] = field(default_factory=dict)
    actions: ActionMeaning | None = None


DEFAULT = Columns()


def add_column_options(parser: argparse.ArgumentParser, *, actions: bool = True) -> None:
    """Add the options that `columns_of` reads; `--actions` only if `actions`."""
    group = parser.add_argument_group('LeRobot datasets of other tools')
    group.add_argument('--state', default=layout.STATE, help=f'feature ({layout.STATE})')
    group.add_argument('--action', default=layout.ACTION, help=f'feature ({layout.ACTION})')
    group.add_argument(
        '--camera', action='append', default=[], metavar='NAME=FEATURE',
        help='camera to use, e.g. wrist=observation.images.hand; repeatable (default: all)',
    )  # fmt: skip
    if actions:
        group.add_argument('--actions', choices=list(MEANINGS), help='meaning of the actions')


def columns_of(options: argparse.Namespace) -> Columns:
    """Return the columns named on the command line.

    Raises:
        DatasetError: a `--camera` without `=`.
    """
    for text in options.camera:
        if not all(text.partition('=')):
            raise DatasetError(f'--camera {text}: expected NAME=FEATURE')
    cameras = dict(text.split('=', 1) for text in options.camera)
    return Columns(options.state, options.action, cameras, options.actions)


def camera_features(path: Path, features: Mapping[str, Any], columns: Columns) -> dict[str, str]:
    """Return camera name → feature.

    Raises:
        DatasetError: a feature that is not there or is no camera.
    """
    found = [key for key, feature in features.items() if _is_camera(feature)]
    for name, key in columns.cameras.items():
        if key not in found:
            raise DatasetError(f'{path}: cameras: {name}: no camera {key!r}; it has {found}')
    if columns.cameras:
        return dict(columns.cameras)
    named = {key.removeprefix(layout.IMAGES).removeprefix('observation.'): key for key in found}
    return named if len(named) == len(found) else {key: key for key in found}


def _is_camera(feature: Mapping[str, Any]) -> bool:
    info = feature.get('info') or feature.get('video_info') or {}
    depth = info.get('video.is_depth_map') or info.get('is_depth_map')
    return feature.get('dtype') in ('video', 'image') and not depth


def feature_names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a vector's dimensions: a list, nested in a mapping, or numbers."""
    names = feature.get('names')
    while isinstance(names, dict):
        # Older tools nest the list: {'motors': [...]}; openpi's are {'axes': [...]}.
        names = next(iter(names.values()), None)
    size = int(np.prod(feature['shape']))
    if not isinstance(names, list) or len(names) != size:
        return tuple(str(i) for i in range(size))
    return tuple(map(str, names))


def check_foreign(source: Any, contract: RobotContract) -> None:
    """Check another tool's dataset against the contract a user says it belongs to.

    Args:
        source: a `LeRobotSource` without a contract of its own.
        contract: of the robot that is to run the policy.

    Raises:
        DatasetError: cameras, sizes, order of names or values do not fit; one sentence with the
            keys that were found.
    """
    columns, path = source.columns, source.path
    if columns.actions in (None, 'per_step'):
        meanings = ', '.join(f'{name} ({text})' for name, text in MEANINGS.items())
        raise DatasetError(
            f'{path}: another tool wrote it, and a robot contract needs to know what its actions '
            f'are: set data.actions (--actions) to one of {meanings}. It has '
            f'{source.describe_features()}'
        )
    if set(source.cameras) != set(contract.cameras):
        raise DatasetError(
            f'{path}: has the cameras {list(source.cameras)}, contract {contract.name} has '
            f'{list(contract.cameras)}: set data.cameras to {{{next(iter(contract.cameras))}: '
            f'FEATURE, …}} (--camera NAME=FEATURE). It has {source.describe_features()}'
        )
    wanted = len(contract.names)
    sizes = {columns.state: wanted, columns.action: 7 if columns.actions == 'ee_delta' else wanted}
    for key, size in sizes.items():
        names = feature_names(source.info['features'][key])
        if len(names) != size:
            raise DatasetError(
                f'{path}: {key} has {len(names)} values {list(names)}, contract {contract.name} '
                f'with data.actions={columns.actions} has {size}: {list(contract.names)}; choose '
                'other features with data.state and data.action (--state, --action)'
            )
        plain = [name.removesuffix('.pos') for name in names]
        for own in (contract.names, contract.driver_names):
            if sorted(plain) == sorted(own) and plain != list(own):
                raise DatasetError(
                    f'{path}: {key} has the order {plain}, contract {contract.name} has '
                    f'{list(own)}: reorder the joints of the contract'
                )
    _check_values(source, contract)


def _check_values(source: Any, contract: RobotContract) -> None:
    """Find degrees, ticks and percent: values that no joint of the contract can have."""
    low, high = contract.lower - _LIMIT_MARGIN, contract.upper + _LIMIT_MARGIN
    for number, episode in enumerate(source.episodes):
        state, actions = source.states_actions(number)
        checked = {source.columns.state: state}
        if source.action_kind == 'joint_target':
            checked[source.columns.action] = actions
        for key, values in checked.items():
            bad = np.argwhere((values < low) | (values > high))
            if len(bad):
                frame, column = bad[0]
                raise DatasetError(
                    f'{source.path}: {episode.key}: frame {frame}: {key} of '
                    f'{contract.names[column]} is {values[frame, column]:.4g}, contract '
                    f'{contract.name} allows {low[column]:.4g} to {high[column]:.4g}: joints must '
                    'be in radians, the gripper an open fraction of 0 to 1'
                )
