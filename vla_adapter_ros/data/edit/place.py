# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Where an edited dataset takes the place of the old one, and how to go back.

Beside the dataset `pick` lies `.pick.undo`: what it was before the last edit (or, after `undo`,
what that edit had made of it). Both are whole datasets at any time, and swapping their names is
one step of the file system. Where it has no such step (some network folders) the old one is called
`.pick.aside` for a moment; `settle` ends a swap that was interrupted then.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vla_adapter_ros.data.files import (
    new_folder,
    remove_abandoned,
    remove_folder,
    storage_errors,
    sync_entry,
)
from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.writer import STAGING
from vla_adapter_ros.errors import DatasetError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


def undo_folder(path: Path) -> Path:
    """Return where the dataset lies as it was before the last edit."""
    return path.with_name(f'.{path.name}.undo')


def _built(path: Path) -> Path:
    return path.with_name(f'.{path.name}.edit')


def _aside(path: Path) -> Path:
    return path.with_name(f'.{path.name}.aside')


@contextmanager
def edited(path: Path) -> Iterator[Path]:
    """Give the real path of a dataset that no other edit changes meanwhile.

    An edit that was interrupted before is brought to its old or new state first.

    Raises:
        DatasetError: it is being edited, or is not there.
    """
    path = Path(os.path.realpath(path))
    settle(path)
    if not path.is_dir():
        raise DatasetError(f'{path}: no such folder')
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _lock(descriptor)
        if os.fstat(descriptor).st_ino != path.stat().st_ino:
            raise BlockingIOError
        for folder in (undo_folder(path), _built(path)):
            remove_abandoned(path.parent, folder.name)
        if _built(path).exists():
            remove_folder(_built(path))
        yield path
    except BlockingIOError as error:
        raise DatasetError(f'{path}: another edit is at work on it') from error
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some network folders cannot be locked.
        if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
            raise


def replace(path: Path, build: Callable[[Path], None]) -> None:
    """Let a new version take the dataset's place; the old one becomes the undo.

    Args:
        path: the dataset.
        build: writes the new version into an empty folder and reads it back.

    Raises:
        DatasetError: disk full, something changed the dataset meanwhile, or it is a Git clone or
            in the cache of the Hub; it is as it was.
    """
    if (path / '.git').exists():
        raise DatasetError(f'{path}: is a Git clone; use --output')
    if path.parent.name == 'snapshots' and (path.parent.parent / 'blobs').is_dir():
        raise DatasetError(f'{path}: is in the cache of the Hub; use --output')
    undo, before = undo_folder(path), (path / layout.INFO).stat()
    with storage_errors(path, 'the dataset is as it was'):
        with new_folder(_built(path)) as folder:
            build(folder)
            now = (path / layout.INFO).stat()
            changed = (now.st_ino, now.st_mtime_ns) != (before.st_ino, before.st_mtime_ns)
            if changed or (path / STAGING).exists():
                raise DatasetError(f'{path}: was changed while it was edited; edit it again')
        if undo.exists():
            remove_folder(undo)
        _built(path).replace(undo)
        swap(path, undo)


def swap(path: Path, undo: Path) -> None:
    """Exchange the names of two folders."""
    if not _exchange(path, undo):
        path.replace(_aside(path))
        sync_entry(path)
        undo.replace(path)
        sync_entry(path)
        _aside(path).replace(undo)
    sync_entry(path)


def settle(path: Path) -> None:
    """End a swap that was interrupted."""
    aside = _aside(path)
    if aside.is_dir():
        aside.replace(undo_folder(path) if path.exists() else path)
        sync_entry(path)


def interrupted(path: Path) -> str:
    """Return how to go on if the dataset is not there because a swap was interrupted, else ''."""
    if path.exists() or not _aside(path).is_dir():
        return ''
    return (
        f'; an edit of it was interrupted: `python -m vla_adapter_ros.data.edit {path} list` '
        'brings it back'
    )


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; return False where that does not exist."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), 'renameat2', None)
    if rename is None:
        return False
    paths = [ctypes.c_char_p(os.fsencode(path)) for path in (one, other)]
    if not rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE):
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(one))
