# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Writes a checkpoint as a folder that lerobot runs by `--policy.path`.

    python -m vla_adapter_ros.lerobot_policy.export CHECKPOINT --output lerobot/reach

The folder is still a checkpoint of this package; beside its files are `config.json`, the two
processor files and a card. lerobot is not needed to write it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.lerobot_policy.features import (
    ACTION,
    GRIPPERS,
    STATE,
    Features,
    PluginError,
    Settings,
)
from vla_adapter_ros.model.convert import copy_present, to_own
from vla_adapter_ros.weights.files import make_folder, write_json, write_text
from vla_adapter_ros.weights.metadata import METADATA_FILE, TOKENIZER_FILES, WEIGHTS_FILE
from vla_adapter_ros.weights.released import model_folder

# Of a checkpoint of this package.
CHECKPOINT_FILES = (WEIGHTS_FILE, METADATA_FILE, *TOKENIZER_FILES)
CONFIG, CARD, TYPE = 'config.json', 'README.md', 'vla_adapter'
PREPROCESSOR, POSTPROCESSOR = 'policy_preprocessor', 'policy_postprocessor'
PLUGIN = 'vla_adapter_ros.lerobot_policy'
# lerobot fills in the rename map and the device when it loads them.
_ON_CPU = {'registry_name': 'device_processor', 'config': {'device': 'cpu', 'float_dtype': None}}
PROCESSORS: dict[str, dict[str, Any]] = {
    PREPROCESSOR: {
        'name': PREPROCESSOR,
        'steps': [
            {'registry_name': 'rename_observations_processor', 'config': {'rename_map': {}}},
            {'registry_name': 'to_batch_processor', 'config': {}},
            _ON_CPU,
        ],
    },
    POSTPROCESSOR: {'name': POSTPROCESSOR, 'steps': [_ON_CPU]},
}


def export(
    checkpoint: str | Path,
    output: Path,
    settings: Settings | None = None,
    statistics_key: str | None = None,
) -> Features:
    """Write a checkpoint for lerobot; an official one is brought to our format.

    Args:
        checkpoint: directory or address on the Hub.
        output: folder to make; must not exist.
        settings: features of the cameras, and the gripper.
        statistics_key: which statistics, if the checkpoint holds several.

    Returns:
        Its features.

    Raises:
        PluginError: the folder exists, or the settings do not fit.
        CheckpointError: missing, damaged or inconsistent files.
    """
    settings = settings or Settings()
    if output.exists():
        raise PluginError(f'{output}: exists already')
    source = model_folder(checkpoint)
    policy = Policy.from_pretrained(
        source, device='cpu', dtype='float32', statistics_key=statistics_key
    )
    features = Features(policy, settings)
    make_folder(output.parent)
    partial = output.with_name(f'.{output.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _checkpoint_files(source, partial)
        write_json(partial / CONFIG, config(policy, features, settings, statistics_key))
        for name, steps in PROCESSORS.items():
            write_json(partial / f'{name}.json', steps)
        write_text(partial / CARD, card(output.name, policy, features))
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return features


def _checkpoint_files(source: Path, target: Path) -> None:
    target.mkdir()
    if not (source / METADATA_FILE).is_file():
        to_own(source, target, keep_unused=False)
        return
    copy_present(source, target, CHECKPOINT_FILES)


def config(
    policy: Policy, features: Features, settings: Settings, statistics_key: str | None
) -> dict[str, Any]:
    """Return `config.json`, as lerobot would write `VlaAdapterConfig`."""
    inputs = {
        name: {'type': 'STATE' if name == STATE else 'VISUAL', 'shape': list(shape)}
        for name, shape in features.inputs().items()
    }
    return {
        'type': TYPE,
        'input_features': inputs,
        'output_features': {ACTION: {'type': 'ACTION', 'shape': [len(features.action_names())]}},
        'chunk_size': policy.chunk_size,
        'n_action_steps': policy.chunk_size,
        'fps': round(1 / policy.step_period, 6),
        'cameras': features.cameras,
        'gripper': settings.gripper,
        'statistics_key': statistics_key,
    }


def card(name: str, policy: Policy, features: Features) -> str:
    """Return the card of the folder, `README.md` on the Hub."""
    contract = policy.contract
    robot = 'not recorded' if contract is None else contract.name
    what = 'of the network' if contract is None else 'absolute joint targets'
    seen = [f'`{feature}` {shape}' for feature, shape in features.inputs().items()]
    return '\n'.join([
        '---', 'library_name: lerobot', 'pipeline_tag: robotics', 'tags:', '- robotics',
        '- lerobot', '- vla_adapter', '---', '', f'# {name}', '',
        'A VLA-Adapter policy of vla_adapter_ros, for its ROS 2 node and for lerobot.', '',
        f'* Robot: {robot}',
        f'* Inputs: {", ".join(seen)}; images upright, and the task as a text',
        f'* Actions: {what}, {1 / policy.step_period:g} a second: '
        f'{", ".join(features.action_names())}', '', '```bash',
        f'lerobot-eval --policy.path=FOLDER --policy.discover_packages_path={PLUGIN} …', '```',
        '',
    ])  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = argparse.ArgumentParser(
        prog=f'python -m {PLUGIN}.export',
        description='Write a checkpoint as a folder that lerobot runs.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('checkpoint', help='directory, or org/name on the Hub')
    add('--output', type=Path, required=True, help='folder to make')
    add('--camera', action='append', default=[], metavar='NAME=FEATURE',
        help='feature of a camera, e.g. wrist=observation.images.image2; repeatable '
             '(default: observation.images.NAME)')  # fmt: skip
    add('--gripper', choices=list(GRIPPERS), default='open_fraction',
        help='commands of a benchmark, for released checkpoints')  # fmt: skip
    add('--statistics-key', help='which statistics, if the checkpoint holds several')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        for text in options.camera:
            if not all(text.partition('=')):
                raise PluginError(f'--camera {text}: expected NAME=FEATURE')
        cameras = dict(text.split('=', 1) for text in options.camera)
        settings = Settings(cameras, options.gripper)
        features = export(options.checkpoint, options.output, settings, options.statistics_key)
    except VLAAdapterError as problem:
        print(f'error: {problem}', file=sys.stderr)
        return 1
    print(f'{options.output}: for lerobot, with {", ".join(features.inputs())}')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
