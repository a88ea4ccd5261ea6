# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Folders of data: replaced completely or not at all, and errors of their disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.weights import files

# Their versions are kept in recordings and datasets.
LIBRARIES = ('numpy', 'pyarrow', 'av', 'rosbags')

_NO_SPACE = {errno.ENOSPC: 'disk full', errno.EDQUOT: 'disk quota used up', errno.EFBIG: 'too big'}


def read_json(path: Path) -> Any:
    """Return a JSON file's data. Raises DatasetError if it is missing or malformed."""
    return files.read_json(path, DatasetError)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `target` on success and vanishes on failure."""
    temporary = _hidden(target)
    shutil.rmtree(temporary, ignore_errors=True)
    files.make_folder(temporary)
    try:
        yield temporary
        sync_folder(temporary)
        temporary.replace(target)
        sync_entry(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Bring a folder's files to the disk, so that a rename never outruns their content."""
    for path in [*folder.rglob('*'), folder]:
        files.sync(path)


def sync_entry(path: Path) -> None:
    """Bring a new name to the disk: without it, a power cut may undo a rename."""
    files.sync(path.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder at once: a kill or a power cut meanwhile never leaves a part under its name.

    What such an end leaves under a hidden name, `remove_abandoned` removes.
    """
    hidden = _hidden(folder)
    shutil.rmtree(hidden, ignore_errors=True)
    folder.replace(hidden)
    sync_entry(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _hidden(folder: Path) -> Path:
    return folder.with_name(f'.{folder.name}.{os.getpid()}.partial')


def remove_abandoned(folder: Path, name: str = '') -> None:
    """Remove hidden folders of `new_folder` and `remove_folder` whose process is gone.

    Args:
        folder: where to look.
        name: of the folder that they were to become; default: any.
    """
    for path in folder.glob('.*.partial'):
        process = path.name.split('.')[-2]
        if name and path.name != f'.{name}.{process}.partial':
            continue
        if process.isdigit() and not is_running(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def is_running(process: int) -> bool:
    """Return whether a process of this machine is alive."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def storage_errors(place: Path, kept: str) -> Iterator[None]:
    """Turn a full disk into a DatasetError that names what is kept.

    Args:
        place: what was being written.
        kept: end of the message: what is safe.
    """
    try:
        yield
    except OSError as error:
        # PyArrow sometimes raises without errno; its text then names the cause.
        reason = _NO_SPACE.get(error.errno or 0)
        if reason is None and 'No space left' in str(error):
            reason = 'disk full'
        if reason is None:
            raise
        raise DatasetError(f'{place}: {reason}; {kept}') from error
