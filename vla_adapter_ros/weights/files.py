# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Files that are replaced atomically: a crash leaves the old file or the new one. JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import CheckpointError, VLAAdapterError


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what was written there then replaces `path`."""
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)  # the new name too: a power cut may otherwise undo the replacement
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file's content, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot fsync a folder.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Create a folder and its parents; their names are on the disk when this returns."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync(place.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically."""
    with replacement(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def write_json(path: Path, data: Any) -> None:
    """Replace a JSON file atomically."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + '\n')


def pointer_hint(file: Path) -> str:
    """Return the way out if the file is a Git LFS pointer, else nothing."""
    try:
        with file.open('rb') as opened:
            is_pointer = opened.read(23) == b'version https://git-lfs'
    except OSError:
        return ''
    return ': it is a Git LFS pointer, not the data; run `git lfs pull` there' * is_pointer


def read_json(path: Path, error: type[VLAAdapterError] = CheckpointError) -> Any:
    """Return a JSON file's data. Raises `error`, naming the file, if missing or malformed."""
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except OSError as problem:
        raise error(f'{path}: cannot be read: {problem.strerror}') from problem
    except ValueError as problem:
        hint = pointer_hint(path) or f': {problem}'
        raise error(f'{path}: cannot be read as JSON{hint}') from problem


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a checkpoint's file.

    Raises:
        CheckpointError: the file is missing, malformed, or holds something else.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise CheckpointError(f'{path}: expected a JSON object, got {type(data).__name__}')
    return data


def json_fingerprint(data: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that change when JSON data does."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
