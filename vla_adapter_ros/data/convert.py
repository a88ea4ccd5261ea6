# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Converts bags to a LeRobot v3.0 dataset, or datasets to one of another storage, size or rate.

    python -m vla_adapter_ros.data.convert recordings/ datasets/pick
    python -m vla_adapter_ros.data.convert datasets/pick datasets/small --image-size 224 --fps 10

Run again, it continues where it stopped: converted recordings are skipped, whatever they are
called now. A bag or episode that cannot be converted is reported and skipped; the others are
converted, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla_adapter_ros.control.observation_inputs import InputSettings
from vla_adapter_ros.data.bags.contents import ACTIONS, GRIPPERS, NO_OP_FILTERS, BagOptions
from vla_adapter_ros.data.bags.conversion import convert_bags
from vla_adapter_ros.data.bags.file import find_bags
from vla_adapter_ros.data.bags.parts import PART, SHORTEST_PART, Part
from vla_adapter_ros.data.episodes import count_marks
from vla_adapter_ros.data.hub import dataset_folder
from vla_adapter_ros.data.jobs import Conversion
from vla_adapter_ros.data.lerobot.columns import MEANINGS, add_column_options, columns_of
from vla_adapter_ros.data.lerobot.layout import STORAGES, is_dataset
from vla_adapter_ros.data.lerobot.reencode import Encoding, reencode
from vla_adapter_ros.data.lerobot.video import QUALITY
from vla_adapter_ros.errors import DatasetError, VLAAdapterError
from vla_adapter_ros.robot.contract import resolve_contract

# Options that only bags have, and only datasets.
_OF_BAGS = (
    'topic', 'no_op_filter', 'no_op_tolerance', 'gripper', 'gripper_closed_below',
    'split_on_instruction', 'split_on_gaps', 'max_image_age', 'max_joint_age', 'max_skew',
)  # fmt: skip
_OF_DATASETS = ('state', 'action', 'camera')


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        paths = [dataset_folder(path) for path in options.sources]
        if datasets := [path for path in paths if is_dataset(path)]:
            if len(datasets) < len(paths):
                raise DatasetError(f'{datasets[0]} is a dataset, others not: one kind at a time')
            _refuse(options, parser, _OF_BAGS, f'is for bags; {datasets[0]} is a dataset')
            result = _convert_datasets(options, paths)
        else:
            _refuse(options, parser, _OF_DATASETS, f'is for datasets; {paths[0]} holds bags')
            result = _convert_bags(options, paths)
    except VLAAdapterError as error:
        print(f'error: {error}')
        return 1
    _print_result(result, options.output)
    return 1 if result.failed else 0


def _refuse(
    options: argparse.Namespace, parser: argparse.ArgumentParser, names: Sequence[str], why: str
) -> None:
    for name in names:
        if getattr(options, name) != parser.get_default(name):
            raise DatasetError(f'--{name.replace("_", "-")} {why}')


def _convert_bags(options: argparse.Namespace, paths: Sequence[Path]) -> Conversion:
    if options.actions not in (None, *ACTIONS):
        raise DatasetError(f'--actions {options.actions} is for datasets; {paths[0]} holds bags')
    return convert_bags(
        [bag for path in paths for bag in find_bags(path)],
        options.output,
        resolve_contract(options.contract) if options.contract else None,
        _bag_options(options),
        storage=options.storage or STORAGES[0],
        image_size=options.image_size,
        quality=QUALITY if options.quality is None else options.quality,
        append=options.append,
        only_successes=options.only_successes,
        workers=options.workers,
        progress=not options.quiet,
    )


def _convert_datasets(options: argparse.Namespace, paths: Sequence[Path]) -> Conversion:
    if options.actions in ACTIONS:
        raise DatasetError(f'--actions {options.actions} is for bags; {paths[0]} is a dataset')
    return reencode(
        paths,
        options.output,
        resolve_contract(options.contract) if options.contract else None,
        Encoding(options.fps, options.storage, options.image_size, options.quality),
        columns=columns_of(options),
        instruction=options.instruction,
        append=options.append,
        only_successes=options.only_successes,
        workers=options.workers,
        progress=not options.quiet,
    )


def _print_result(result: Conversion, output: Path) -> None:
    if any('bag' in report for report in result.reports):
        _print_table(result.reports)
    for bag, count in result.parts.items():
        dropped = result.dropped.get(bag, [])
        left_out = f'; left out: {"; ".join(dropped)}' if dropped else ''
        print(f'{bag}: {count} {"part" if count == 1 else "parts"}{left_out}')
    for name, reason in result.failed.items():
        print(f'skipped {name}: {reason}')
    if result.reports:
        marks = count_marks(report['success'] for report in result.reports)
        print(f'marks: {marks}')
    if result.left_out:
        print(f'left out, not marked as success: {", ".join(result.left_out)}')
    if result.taken_out:
        print(f'left out, data.edit took them out: {", ".join(result.taken_out)}')
    recorded = sum(report['duration'] for report in result.reports)
    speed = recorded / result.seconds if result.seconds else 0.0
    print(
        f'{output}: {len(result.reports)} converted, {len(result.present)} already converted, '
        f'{len(result.failed)} skipped because of an error; '
        f'{recorded:.1f} s of recording at {speed:.1f} x real time'
    )


def _print_table(reports: Sequence[dict[str, Any]]) -> None:
    print(
        f'{"bag":32} frames seconds  arm        gripper    label speed (true)   missing  '
        'max age  max skew'
    )
    for report in reports:
        name = _name(report)
        streams, sources = report['streams'].values(), report['action_sources']
        print(
            f'{name[:32]:32} {report["frames"]:6} {report["duration"]:7.1f}  '
            f'{sources["arm"]:10} {sources["gripper"]:10} {report["label_speed"]:5.2f} '
            f'({report["true_speed"]:4.2f}) rad/s {sum(s["missing"] for s in streams):8} '
            f'{max(s["max_age"] for s in streams):7.3f}s {report["max_skew"]:8.3f}s'
        )
    for report in reports:
        for warning in report['warnings']:
            print(f'warning: {_name(report)}: {warning}')


def _name(report: dict[str, Any]) -> str:
    number, count = report.get(PART, (1, 1))
    return Part(number, count).named(report['bag'])


def _bag_options(options: argparse.Namespace) -> BagOptions:
    return BagOptions(
        topics=dict(options.topic),
        instruction=options.instruction,
        actions=options.actions or ACTIONS[0],
        no_op_filter=options.no_op_filter,
        no_op_tolerance=options.no_op_tolerance,
        gripper=options.gripper,
        gripper_closed_below=options.gripper_closed_below,
        fps=options.fps,
        limits=InputSettings(options.max_image_age, options.max_joint_age, options.max_skew),
        split_on_instruction=options.split_on_instruction,
        split_on_gaps=options.split_on_gaps,
    )


def _role(text: str) -> tuple[str, str]:
    role, equals, topic = text.partition('=')
    if not (role and equals and topic):
        raise argparse.ArgumentTypeError(f'got {text!r}, expected ROLE=TOPIC')
    return role, topic


def _parser() -> argparse.ArgumentParser:
    limits = InputSettings()
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.data.convert',
        description='Convert recorded bags to a LeRobot v3.0 dataset, one episode per bag. Every '
        'frame sees what the policy node would have seen: the newest message of each stream, '
        'refused if it is too old. Or convert datasets to one with another storage, quality, '
        'image size or rate. Run again to continue after an interruption.',
    )
    add = parser.add_argument
    # fmt: off
    add('sources', nargs='+', type=Path,
        help='bags and folders of bags, or LeRobot datasets; hub:org/name@revision')
    add('output', type=Path, help='folder of the new dataset')
    add('--contract', help='robot contract, name or path (default: as recorded)')
    add('--instruction', help='task of all episodes (default: as recorded)')
    add('--topic', action='append', default=[], type=_role, metavar='ROLE=TOPIC',
        help='topic of a camera, joint_states, arm, gripper or instruction (default: as recorded, '
        'else found by name and type)')
    add('--actions', choices=[*ACTIONS, *MEANINGS],
        help='of bags: commands: the position commanded one frame period later; next_state: the '
        'measured one (drag teaching); auto: commands if there are any (default). Of datasets of '
        'other tools: what their actions are: joint_target or joint_delta')
    add('--no-op-filter', default='off', choices=NO_OP_FILTERS,
        help='drop idle frames (the action does not change): at the ends, or all (default: off)')
    add('--no-op-tolerance', type=float,
        help='change of an action that counts as idle [rad, open fraction] (commands: 0.001, '
        'measured positions: 0.0031, two counts of a servo)')
    add('--gripper', default='recorded', choices=GRIPPERS,
        help='action of a gripper that was measured, not commanded: its opening as recorded '
        '(default), or closed (0) below a threshold, so that it presses on what it holds')
    add('--gripper-closed-below', type=float, default=0.5, metavar='FRACTION',
        help='threshold of --gripper threshold [open fraction] (0.5)')
    add('--split-on-instruction', action='store_true',
        help='one episode per instruction: a bag ends an episode and begins another where the '
        f'instruction changes; what is shorter than {SHORTEST_PART:g} s or has none is left out')
    add('--split-on-gaps', type=float, metavar='SECONDS',
        help='likewise where a camera or the joint states pause for longer (0.2: what '
        '--max-image-age and --max-joint-age refuse)')
    add('--fps', type=int,
        help="frames per second (default: the contract's rate; of a dataset as it is)")
    add('--storage', choices=STORAGES,
        help='H.264 video (default), or PNG images (lossless); of a dataset as it is')
    add('--image-size', type=int,
        help='side of the stored images [px], resized as for the model (default: as recorded)')
    add('--quality', type=int,
        help=f'rate factor of the videos ({QUALITY}; of a dataset as it is)')
    add('--max-image-age', type=float, default=limits.max_image_age,
        help=f'oldest image a frame may see [s] ({limits.max_image_age})')
    add('--max-joint-age', type=float, default=limits.max_joint_state_age,
        help=f'oldest joint state a frame may see [s] ({limits.max_joint_state_age})')
    add('--max-skew', type=float, default=limits.max_skew,
        help=f'largest difference between a frame\'s stamps [s] ({limits.max_skew})')
    add('--workers', type=int, default=os.cpu_count() or 1,
        help='processes, each with one bag or episode at a time (default: all cores)')
    add('--append', action='store_true', help='add to a finished dataset')
    add('--only-successes', action='store_true',
        help='leave out what is not marked as success (stop_success)')
    add('--quiet', action='store_true', help='no progress bars')
    # fmt: on
    add_column_options(parser, actions=False)
    return parser


if __name__ == '__main__':
    raise SystemExit(main())
