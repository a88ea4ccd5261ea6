# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Recordings in progress, who writes them, and what becomes of those that a recorder left.

    <folder>/.recording/<owner>/lock     held (flock) by the recorder as long as it lives
    <folder>/.recording/<owner>/<name>/  the episode being recorded
    <folder>/.damaged/<name>/            a recording that could not be read back completely

A process number says little about who is alive: containers start with the same one, and another
machine may record into the same network folder.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from vla_adapter_ros.data.bags.metadata import BagMetadata
from vla_adapter_ros.data.bags.recover import RECOVERED, SIDECAR, recover
from vla_adapter_ros.data.files import remove_abandoned, remove_folder, sync_entry, sync_folder
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.weights.files import make_folder

RECORDING, DAMAGED = '.recording', '.damaged'
_LOCK = 'lock'
_BOOT_ID = Path('/proc/sys/kernel/random/boot_id')
# A recorder writes once a second. One of another machine that was silent for so long is gone [s].
_SILENT_S = 60.0


class Ownership:
    """A place for one recorder's unfinished episode, as long as the process lives.

    Args:
        folder: where finished episodes lie.
    """

    def __init__(self, folder: Path) -> None:
        host = socket.gethostname()
        self.path = folder / RECORDING / f'{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}'
        # Hidden until it is locked: another recorder may look for abandoned places now.
        hidden = self.path.with_name(f'.{self.path.name}')
        make_folder(hidden)
        self._lock = (hidden / _LOCK).open('w')
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        json.dump({'host': host, 'boot': _boot()}, self._lock)
        self._lock.flush()
        sync_folder(hidden)
        hidden.replace(self.path)
        sync_entry(self.path)

    def release(self) -> None:
        """Give the place up; it is removed if it is empty."""
        self._lock.close()
        _remove_place(self.path)


@dataclass(frozen=True)
class Recovery:
    """What became of an unfinished recording.

    Attributes:
        name: of the episode.
        count: messages saved in `path`; 0: none.
        path: of the recovered episode, or None.
        kept: where the broken recording is kept, or None if all of it was saved.
        reason: why not all of it could be saved, or ''.
    """

    name: str
    count: int
    path: Path | None
    kept: Path | None
    reason: str

    def __str__(self) -> str:
        text = f'{self.name} was cut off: '
        text += f'{self.count} messages saved in {self.path}' if self.path else 'nothing saved'
        if self.kept:
            text += f'; {self.reason}; the recording is kept in {self.kept}'
        return text


def recover_abandoned(folder: Path) -> Iterator[Recovery]:
    """Recover what dead recorders left in `folder`, one recording after the other.

    A recording is removed only when all of it stands in a bag that was read back; otherwise it is
    moved to `.damaged`. Those of living recorders are left alone.
    """
    remove_abandoned(folder)
    for place in sorted((folder / RECORDING).glob('[!.]*')):
        lock = _taken_over(place)
        if lock is None:
            continue
        with lock:
            remove_abandoned(place)
            for partial in sorted(place.glob('[!.]*')):
                if partial.is_dir():
                    yield _recovered(folder, partial)
        _remove_place(place)


def _recovered(folder: Path, partial: Path) -> Recovery:
    written = [path for path in partial.glob('[!.]*') if path.name != SIDECAR]
    if not any(path.stat().st_size for path in written):
        remove_folder(partial)  # cut off before anything was on the disk
        return Recovery(partial.name, 0, None, None, '')
    origin = f'{partial.parent.name}/{partial.name}'
    for bag in folder.glob(f'{partial.name}*'):
        if _origin(bag) == origin:  # a recovery that was itself cut off: it is made again
            remove_folder(bag)
    output = _free(folder / partial.name)
    try:
        saved = recover(partial, output, origin)
    except (DatasetError, OSError) as error:
        return Recovery(partial.name, 0, None, _set_aside(folder, partial), str(error))
    if saved.lost:
        reason = '; '.join(saved.lost[:3])
        kept = _set_aside(folder, partial)
        return Recovery(partial.name, saved.count, saved.path, kept, reason)
    remove_folder(partial)
    return Recovery(partial.name, saved.count, saved.path, None, '')


def _origin(bag: Path) -> str:
    """Return what a bag was recovered from, or ''."""
    try:
        return BagMetadata(bag).custom.get(RECOVERED, '')
    except DatasetError:
        return ''


def _set_aside(folder: Path, partial: Path) -> Path:
    target = _free(folder / DAMAGED / partial.name)
    make_folder(target.parent)
    partial.replace(target)
    sync_entry(target)
    return target


def _free(path: Path) -> Path:
    names = itertools.chain([path.name], (f'{path.name}_{n}' for n in itertools.count(2)))
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())


def _taken_over(place: Path) -> TextIO | None:
    """Return the lock of a place whose recorder is gone, or None."""
    if not place.is_dir():
        return None
    try:
        lock = (place / _LOCK).open('a+')
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    if _of_this_machine(place) or _silence(place) > _SILENT_S:
        return lock
    lock.close()
    return None


def _of_this_machine(place: Path) -> bool:
    """Return whether the lock tells the truth: a network folder may not know other machines'."""
    with suppress(OSError, ValueError, AttributeError):
        owner = json.loads((place / _LOCK).read_text())
        return owner.get('host') == socket.gethostname() or (owner.get('boot') or None) == _boot()
    return False


def _silence(place: Path) -> float:
    """Return for how long nothing in `place` was written [s], by the clock of its disk."""
    probe = place / f'.{uuid.uuid4().hex}'
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:
        now = time.time()
    files = [path for path in place.rglob('*') if path.is_file()]
    return now - max((path.stat().st_mtime for path in files), default=0.0)


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ''


def _remove_place(place: Path) -> None:
    """Remove an empty place, and the folder of all places once it is empty."""
    with suppress(OSError):
        if all(path.name == _LOCK for path in place.iterdir()):
            shutil.rmtree(place)
        place.parent.rmdir()
