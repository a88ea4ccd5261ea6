# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Edits LeRobot v3.0 datasets, of this package or of other tools.

    python -m vla_adapter_ros.data.edit datasets/pick list
    python -m vla_adapter_ros.data.edit datasets/pick delete 3 7-9
    python -m vla_adapter_ros.data.edit datasets/pick undo

A new version is written beside the dataset, read back whole and compared with the old one, and
then takes its place at once. The old one is kept until the next edit; `undo` brings it back.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vla_adapter_ros.data.edit import commands
from vla_adapter_ros.data.edit.opened import OpenedSet, Piece
from vla_adapter_ros.data.edit.place import edited, swap, undo_folder
from vla_adapter_ros.data.files import remove_folder
from vla_adapter_ros.data.hub import dataset_folder
from vla_adapter_ros.errors import DatasetError, VLAAdapterError
from vla_adapter_ros.weights.hub import is_hub

_MARKS = {True: 'success', False: 'failure'}
_EPISODES = 'episodes as `list` numbers them: 3, 7-9 or 3,7-9'


def list_episodes(source: OpenedSet) -> list[str]:
    """Return a line for each episode: number, frames, seconds, mark, name and instructions."""
    lines = []
    for number, row in enumerate(source.rows):
        metadata = source.lines[number].get('metadata') or {} if source.lines else {}
        tasks = row.get('tasks') or []
        text = '; '.join([tasks] if isinstance(tasks, str) else map(str, tasks))
        seconds = row['length'] / source.fps
        mark = _MARKS.get(metadata.get('success'), '')
        head = f'{number:5} {row["length"]:6} {seconds:7.1f} s {mark:8}'
        lines.append(f'{head} {source.key(number):24} {text}')
    return lines


def _describe(path: Path) -> str:
    source = OpenedSet(path)
    frames = sum(row['length'] for row in source.rows)
    return f'{len(source.rows)} episodes, {frames} frames, {len(source.tasks)} instructions'


def _undo(path: Path, options: argparse.Namespace) -> None:
    undo = undo_folder(path)
    if not undo.is_dir():
        raise DatasetError(f'{path}: there is nothing to undo')
    here = _describe(undo)
    swap(path, undo)
    print(f'{path}: {here}. `undo` again returns to what the edit had made')


def _keep(path: Path, options: argparse.Namespace) -> None:
    if not undo_folder(path).is_dir():
        raise DatasetError(f'{path}: no older version is kept')
    remove_folder(undo_folder(path))
    print(f'{path}: the older version is removed')


def _list(path: Path, options: argparse.Namespace) -> None:
    print('\n'.join(list_episodes(OpenedSet(path))))


def _delete(path: Path, options: argparse.Namespace) -> None:
    numbers = commands.parse_numbers(options.episodes)
    source = OpenedSet(path)
    names = ', '.join(source.key(n) for n in commands.check_numbers(source, numbers))
    _finish(commands.delete(source, numbers), f'delete {names}', path, options)


def _relabel(path: Path, options: argparse.Namespace) -> None:
    numbers = commands.parse_numbers(options.episodes) if options.episodes else None
    pieces = commands.relabel(OpenedSet(path), options.text, numbers, options.old)
    old = 'all' if options.old is None else repr(options.old)
    where = f' in {",".join(options.episodes)}' if options.episodes else ''
    _finish(pieces, f'relabel {old} as {options.text!r}{where}', path, options)


def _crop(path: Path, options: argparse.Namespace) -> None:
    numbers = commands.parse_numbers(options.episodes)
    pieces = commands.crop(OpenedSet(path), numbers, options.start, options.end)
    changed = ', '.join(p.source.key(p.number) for p in pieces if not p.whole)
    span = f'{options.start or "the beginning"} to {options.end or "the end"}'
    _finish(pieces, f'crop {changed}: {span}', path, options)


def _merge(path: Path, options: argparse.Namespace) -> None:
    others = [Path(os.path.realpath(dataset_folder(name))) for name in options.others]
    if len({path, *others}) <= len(others):
        raise DatasetError('merge: a dataset is named twice')
    sources = [OpenedSet(place) for place in (path, *others)]
    names = ', '.join(place.name for place in others)
    _finish(commands.merge(sources), f'merge {names}', path, options)


def _split(path: Path, options: argparse.Namespace) -> None:
    pairs = [text.rpartition('=') for text in options.parts]
    if not all(all(pair) for pair in pairs) or len({pair[0] for pair in pairs}) < len(pairs):
        raise DatasetError('split: expected FOLDER=FRACTION or FOLDER=EPISODES, each folder once')
    source = OpenedSet(path)
    parts = commands.split(source, {folder: text for folder, _, text in pairs})
    for folder in parts:
        commands.check_new(Path(folder))
    for folder, pieces in parts.items():
        commands.write_edit(pieces, f'split from {path.name}', Path(folder))
        print(f'{folder}: {_describe(Path(folder))}')
    left = len(source.rows) - sum(map(len, parts.values()))
    print(f'{path}: is as it was' + f'; {left} of its episodes are in no part' * bool(left))


def _finish(pieces: list[Piece], note: str, path: Path, options: argparse.Namespace) -> None:
    output = options.output
    commands.write_edit(pieces, note, output)
    kept = '' if output else '. The older version is kept until the next edit: `undo`, or `keep`'
    print(f'{output or path}: {_describe(output or path)}{kept}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if is_hub(options.dataset):
            raise DatasetError(f'{options.dataset}: only a folder can be edited; copy it')
        with edited(Path(options.dataset)) as path:
            options.run(path, options)
    except BrokenPipeError:
        # Of `list | head`: nobody reads on, and Python would say so again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (VLAAdapterError, OSError) as error:
        print(f'error: {error}')
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.data.edit',
        description='Edit a LeRobot v3.0 dataset. The new version is read back and compared '
        'before it takes the place of the old one, which is kept (in a hidden folder beside it) '
        'until the next edit. Videos are not encoded again, unless an episode is cropped between '
        'key frames.',
    )
    parser.add_argument('dataset', help='folder of the dataset')
    edits = parser.add_subparsers(required=True, metavar='EDIT')

    def add(name: str, run: object, text: str, output: bool = True) -> argparse.ArgumentParser:
        edit = edits.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')
        edit.set_defaults(run=run, output=None)
        if output:
            edit.add_argument(
                '--output', type=Path, metavar='NEW',
                help='write to this new folder and leave the dataset as it is',
            )  # fmt: skip
        return edit

    add('list', _list, 'print the episodes with their numbers', False)
    edit = add('delete', _delete, 'remove episodes')
    edit.add_argument('episodes', nargs='+', metavar='EPISODE', help=_EPISODES)
    edit = add('relabel', _relabel, 'change the instruction of episodes')
    edit.add_argument('text', metavar='TEXT', help='the new instruction')
    edit.add_argument('--episodes', nargs='+', metavar='EPISODE', help=f'{_EPISODES} (all)')
    edit.add_argument('--old', metavar='TEXT', help='only where this is the instruction now')
    edit = add('crop', _crop, 'cut off the beginning or the end of episodes')
    edit.add_argument('episodes', nargs='+', metavar='EPISODE', help=_EPISODES)
    edit.add_argument('--from', dest='start', metavar='TIME', help='first moment that is kept: '
                      'seconds (1.5) or frames (45f) from the beginning')  # fmt: skip
    edit.add_argument('--to', dest='end', metavar='TIME', help='moment before which it ends')
    edit = add('merge', _merge, 'add the episodes of datasets of the same robot and settings')
    edit.add_argument('others', nargs='+', metavar='OTHER', help='folder or hub:org/name@revision')
    edit = add('split', _split, 'write the episodes to new datasets; this one stays', False)
    edit.add_argument('parts', nargs='+', metavar='FOLDER=PART', help='a fraction of the '
                      'episodes, in order (0.8), or episodes (0-39,45)')  # fmt: skip
    add('undo', _undo, 'go back to the version before the last edit (again: forward)', False)
    add('keep', _keep, 'remove the older version that is kept for undo', False)
    return parser


if __name__ == '__main__':
    raise SystemExit(main())
