# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Sends a LeRobot dataset to the Hugging Face Hub, with a card and the version tag of lerobot.

    python -m vla_adapter_ros.data.push datasets/pick org/pick --private

Only the dataset itself goes: no caches, no unfinished or damaged episodes. Files of an earlier
push that the dataset no longer has are removed in the same commit.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla_adapter_ros.data.episodes import count_marks
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.reader import LeRobotSource
from vla_adapter_ros.data.lerobot.writer import STAGING
from vla_adapter_ros.errors import DatasetError, VLAAdapterError
from vla_adapter_ros.weights.hub import hub_client, hub_errors, hub_library, parse_name

FOLDERS, CARD = ('meta', 'data', 'videos'), 'README.md'
_LISTED_TASKS = 50


def dataset_files(path: Path) -> dict[str, Path]:
    """Return the files of a LeRobot dataset by their names in the repository.

    Raises:
        DatasetError: it is none, or has episodes that were not joined into it.
    """
    if not layout.is_dataset(path):
        raise DatasetError(f'{path}: no LeRobot dataset (meta/info.json); convert bags first')
    if (path / STAGING).is_dir():
        raise DatasetError(f'{path}: has unfinished episodes; run the command that wrote it again')
    files = [f for folder in FOLDERS for f in sorted((path / folder).rglob('*')) if f.is_file()]
    named = {file.relative_to(path).as_posix(): file for file in files}
    return {name: f for name, f in named.items() if '/.' not in name}


def dataset_card(source: LeRobotSource, repo: str) -> str:
    """Return the text of the repository's README.md."""
    contract, episodes = source.contract, source.episodes
    tasks = sorted({episode.instruction for episode in episodes})
    lines = [
        '---', 'task_categories:', '- robotics', 'tags:', '- LeRobot', '- vla_adapter_ros',
        'configs:', '- config_name: default', '  data_files: data/*/*.parquet', '---', '',
        f'# {repo.split("/")[-1]}', '',
        f'{len(episodes)} demonstrations ({count_marks(e.success for e in episodes)}), '
        f'{sum(e.length for e in episodes)} frames at {source.fps:g} Hz.', '',
        f'* Robot: {contract.name if contract else "not recorded"}',
        f'* Cameras: {", ".join(source.cameras)}',
        f'* Actions: {", ".join(source.names)}',
        f'* Format: LeRobot {source.version}', '', '## Instructions', '',
        *(f'* {task}' for task in tasks[:_LISTED_TASKS]),
        *[f'* and {len(tasks) - _LISTED_TASKS} more'][: len(tasks) > _LISTED_TASKS], '',
        '## Use', '', '```bash', f'python -m vla_adapter_ros.data.show hub:{repo}', '```', '',
        '```python', 'from lerobot.datasets.lerobot_dataset import LeRobotDataset', '',
        f"dataset = LeRobotDataset('{repo}')", '```', '',
    ]  # fmt: skip
    return '\n'.join(lines)


def push(
    path: Path, repo: str, *, revision: str | None = None, tag: str | None = None,
    private: bool = False,
) -> str:  # fmt: skip
    """Send a dataset in one commit; return the commit.

    Args:
        path: LeRobot dataset.
        repo: `org/name`; made if it does not exist.
        revision: branch, made if it does not exist; None: `main`.
        tag: put on the commit, moved if it exists; None: the version of the format, by which
            lerobot finds what it can read.
        private: make a private repository.

    Raises:
        VLAAdapterError: no complete dataset, or the Hub refuses.
    """
    files, source = dataset_files(path), LeRobotSource(path)
    _check_name(repo)
    library, client = hub_library(), hub_client()
    card = dataset_card(source, repo).encode()
    add = library.CommitOperationAdd
    operations: list[Any] = [add(CARD, card), *(add(name, str(f)) for name, f in files.items())]
    tag = tag or source.version
    at = {'repo_type': 'dataset'}
    with hub_errors(f'{repo}: the Hub did not take {path}'):
        client.create_repo(repo, private=private, exist_ok=True, **at)
        if revision:
            client.create_branch(repo, branch=revision, exist_ok=True, **at)
        stale = [
            name
            for name in client.list_repo_files(repo, revision=revision, **at)
            if name.partition('/')[0] in FOLDERS and name not in files
        ]
        operations += [library.CommitOperationDelete(name) for name in stale]
        message = f'{len(source.episodes)} episodes'
        done = client.create_commit(
            repo, operations, commit_message=message, revision=revision, **at
        )
        if tag in [ref.name for ref in client.list_repo_refs(repo, **at).tags]:
            client.delete_tag(repo, tag=tag, **at)
        client.create_tag(repo, tag=tag, revision=done.oid, **at)
    return str(done.oid)


def _check_name(repo: str) -> None:
    if str(address := parse_name(repo)) != f'hub:{repo}' or address is None:
        raise VLAAdapterError(f'got {repo!r}, expected ORG/NAME')


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.data.push',
        description='Send a LeRobot dataset to the Hugging Face Hub (log in with: hf auth login).',
    )
    add = parser.add_argument
    add('dataset', type=Path, help='folder of the dataset')
    add('repo', help='org/name; made if it does not exist')
    add('--revision', help='branch (default: main)')
    add('--tag', help='tag of the commit (default: the LeRobot version, v3.0)')
    add('--private', action='store_true', help='make a private repository')
    add('--dry-run', action='store_true', help='list what would be sent; needs no network')
    options = parser.parse_args(arguments)
    try:
        files = dataset_files(options.dataset)
        size = sum(file.stat().st_size for file in files.values())
        if options.dry_run:
            _check_name(options.repo)
            LeRobotSource(options.dataset)
            print('\n'.join([CARD, *files]))
        print(f'{len(files) + 1} files, {size / 1e9:.3f} GB')
        if not options.dry_run:
            commit = push(
                options.dataset, options.repo, revision=options.revision, tag=options.tag,
                private=options.private,
            )  # fmt: skip
            print(f'hub:{options.repo}@{commit}')
    except VLAAdapterError as error:
        print(f'error: {error}')
        return 1
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
