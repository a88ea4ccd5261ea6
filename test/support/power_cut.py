# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What a disk may hold after a power cut: only what was synced is certain to be there.

    disk = Disk(folder)
    states = disk.watch(lambda: operation(folder), check)

At each change of names and after each sync, three trees are made and given to `check`:

* `kill`: as the folder is; the process died and the page cache lives on,
* `synced`: files with their content, and folders with their names, as of their last sync,
* `names`: all names, but files with their content of the last sync (others are empty).

Names are watched through Python's audit events, so libraries that write files themselves
(PyArrow, FFmpeg, safetensors, torch) are seen as well: content is read when it is synced.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

_NAMES = {'os.rename', 'os.remove', 'os.rmdir', 'os.mkdir', 'os.symlink', 'os.link'}
_active: Disk | None = None
_hooked = False

# Content of a file, target of a link, or names of a folder with what they name.
Tree = bytes | str | dict[str, 'Tree']


class Disk:
    """What of a folder is on the disk. All of it is when this is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.promised: list[object] = []
        self._content: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        # Keeps numbers of deleted files from being given to new ones.
        self._held: dict[int, int] = {}
        self._links: dict[int, str] = {}
        self._states: dict[str, tuple[str, Tree, tuple[object, ...]]] = {}
        self._lock = threading.RLock()
        for path in [folder, *folder.rglob('*')]:
            if not path.is_symlink():
                self._synced(path)

    def promise(self, what: object) -> None:
        """Note what the operation has told its caller: `check` gets all that was said."""
        with self._lock:
            self._event('promise')
            self.promised.append(what)
            self._event('promise')

    def watch(
        self, operation: Callable[[], None], check: Callable[[Path, tuple[object, ...]], None],
        work: Path,
    ) -> int:
        """Run an operation, then check each state that a kill or a power cut may leave.

        Args:
            operation: changes the folder.
            check: gets a copy of the folder as it may be, and what was promised until then;
                raises where that is wrong.
            work: folder for the copies.

        Returns:
            The number of different states.

        Raises:
            AssertionError: a check failed; says after which event and in which tree.
        """
        global _active
        _hook()
        with pytest.MonkeyPatch.context() as patch:
            for name in ('fsync', 'fdatasync'):
                patch.setattr(os, name, self._syncing(getattr(os, name)))
            _active = self
            try:
                operation()
                self._event('end')
            finally:
                _active = None
                for handle in self._held.values():
                    os.close(handle)
        for place, tree, promised in self._states.values():
            shutil.rmtree(work, ignore_errors=True)
            _write(tree, work)
            try:
                check(work, promised)
            except Exception as error:
                raise AssertionError(f'{place}: {type(error).__name__}: {error}') from error
        return len(self._states)

    def _syncing(self, real: Callable[[int], None]) -> Callable[[int], None]:
        # The real sync only takes time here: what it would bring to the disk is noted.
        def sync(descriptor: int) -> None:
            path = Path(os.readlink(f'/proc/self/fd/{descriptor}'))
            with self._lock:
                if path == self.folder or self.folder in path.parents:
                    self._event(f'before sync {path.name}')
                    self._synced(path)
                    self._event(f'sync {path.name}')
                else:
                    real(descriptor)

        return sync

    def _hold(self, path: Path) -> int:
        number = path.lstat().st_ino
        if number not in self._held:
            self._held[number] = os.open(path, os.O_PATH | os.O_NOFOLLOW)
        return number

    def _synced(self, path: Path) -> None:
        number = self._hold(path)
        if not path.is_dir():
            self._content[number] = path.read_bytes()
            return
        names = {entry.name: self._hold(path / entry.name) for entry in os.scandir(path)}
        for entry in path.iterdir():
            if entry.is_symlink():
                self._links[names[entry.name]] = str(entry.readlink())
            elif entry.is_dir():
                self._names.setdefault(names[entry.name], {})
        # What was renamed into this folder is no longer where it was; files of two names are.
        moved = {names[e.name] for e in os.scandir(path) if e.is_dir() or e.stat().st_nlink == 1}
        for other, there in self._names.items():
            if other != number:
                for name in [n for n, held in there.items() if held in moved]:
                    del there[name]
        self._names[number] = names

    def _event(self, what: str) -> None:
        with self._lock:
            for kind, tree in (
                ('kill', self._live(self.folder, cached=True)),
                ('names', self._live(self.folder, cached=False)),
                ('synced', self._durable(self.folder.stat().st_ino)),
            ):
                promised = tuple(self.promised)
                digest = hashlib.sha256(repr((tree, promised)).encode()).hexdigest()
                self._states.setdefault(digest, (f'{kind} tree, {what}', tree, promised))

    def _live(self, path: Path, *, cached: bool) -> Tree:
        found: dict[str, Tree] = {}
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            place = path / entry.name
            with suppress(FileNotFoundError):  # another thread's
                if entry.is_symlink():
                    found[entry.name] = str(place.readlink())
                elif entry.is_dir():
                    found[entry.name] = self._live(place, cached=cached)
                elif cached:
                    found[entry.name] = place.read_bytes()
                else:
                    found[entry.name] = self._content.get(entry.inode(), b'')
        return found

    def _durable(self, number: int) -> Tree:
        if number in self._links:
            return self._links[number]
        if number in self._names:
            names = self._names[number]
            return {name: self._durable(names[name]) for name in sorted(names)}
        return self._content.get(number, b'')


def _write(tree: Tree, place: Path) -> None:
    if isinstance(tree, bytes):
        place.write_bytes(tree)
    elif isinstance(tree, str):
        place.symlink_to(tree)
    else:
        place.mkdir()
        for name, part in tree.items():
            _write(part, place / name)


def _hook() -> None:
    """Add the audit hook once: it cannot be taken away, so it asks who watches."""
    global _hooked

    def changed(event: str, arguments: tuple[object, ...]) -> None:
        if event in _NAMES and _active is not None:
            _active._event(f'before {event} {_name(arguments[0])}')

    if not _hooked:
        sys.addaudithook(changed)
        _hooked = True


def _name(path: object) -> str:
    return Path(os.fsdecode(path)).name if isinstance(path, str | bytes | os.PathLike) else ''
