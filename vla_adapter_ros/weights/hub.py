# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Repositories of the Hugging Face Hub in place of folders: `hub:org/name@revision`, or `hf://…`.

A repository of several models or datasets: `hub:org/name/folder@revision`.

Files come through the cache of huggingface_hub; with HF_HUB_OFFLINE=1 from the cache alone.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError

_PREFIX = 'hub:'
# `Path` makes one slash of the two in `hf://`.
_BEGIN = re.compile(r'hub:|hf:/{1,2}')
_NAME = re.compile(r'([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(/[\w./+=-]+)?(?:@([\w./-]+))?')
_GIGABYTE = 1e9


@dataclass(frozen=True)
class HubAddress:
    """A repository, `org/name`, a branch, tag or commit of it (None: `main`), a folder in it."""

    repo: str
    revision: str | None = None
    folder: str = ''

    def __str__(self) -> str:
        place = f'{self.repo}/{self.folder}' if self.folder else self.repo
        return f'{_PREFIX}{place}' + (f'@{self.revision}' if self.revision else '')


def is_hub(path: str | Path) -> bool:
    """Return whether a path is meant as an address on the Hub."""
    return _BEGIN.match(str(path)) is not None


def parse_address(text: str | Path) -> HubAddress:
    """Return the parts of `hub:org/name@revision` or `hub:org/name/folder@revision`.

    Raises:
        VLAAdapterError: it is written differently.
    """
    begin = _BEGIN.match(str(text))
    found = _NAME.fullmatch(str(text)[begin.end() :]) if begin else None
    inside = (found[2] or '')[1:].split('/') if found else []
    if found is None or (found[2] and not {'', '.', '..'}.isdisjoint(inside)):
        raise VLAAdapterError(
            f'got {str(text)!r}, expected hub:ORG/NAME or hub:ORG/NAME@REVISION, or '
            'hub:ORG/NAME/FOLDER@REVISION'
        )
    return HubAddress(found[1], found[3], '/'.join(inside))


def parse_name(text: str) -> HubAddress | None:
    """Return the parts of `org/name@revision`, or None if it is written differently."""
    found = _NAME.fullmatch(text)
    return None if found is None or found[2] else HubAddress(found[1], found[3])


def hub_library() -> Any:
    """Return the module huggingface_hub.

    Raises:
        VLAAdapterError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise VLAAdapterError(
            'huggingface_hub is not installed; run: pip install huggingface_hub'
        ) from error
    return huggingface_hub


def hub_client() -> Any:
    """Return a client of the Hub, or of the server that HF_ENDPOINT names."""
    return hub_library().HfApi(endpoint=os.environ.get('HF_ENDPOINT'))


@contextmanager
def hub_errors(failed: str) -> Iterator[None]:
    """Raise VLAAdapterError, `failed` and the reason in one line, for whatever the library raises.

    Each of its transports has errors of its own.
    """
    try:
        yield
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise VLAAdapterError(f'{failed}: {reason}') from error


def snapshot(
    address: HubAddress,
    kind: str,
    *,
    wanted: Sequence[str] | None = None,
    ignored: Sequence[str] = (),
    spared: Callable[[list[str]], list[str]] = lambda names: [],
    say: Callable[[str], None] = print,
) -> Path:
    """Return the local folder of a repository; downloads what is not in the cache.

    Args:
        address: of the repository.
        kind: `dataset` or `model`.
        wanted: patterns of the files that are needed; None: all.
        ignored: patterns of files that are not needed.
        spared: from the names of all files, those that are not needed because of others.
        say: is told what will be downloaded, before it is.

    Raises:
        VLAAdapterError: no such repository, revision or folder, or no connection and not in the
            cache.
    """
    client = hub_client()
    from huggingface_hub import constants

    begin = f'{glob.escape(address.folder)}/' if address.folder else ''
    patterns = {
        'allow_patterns': [begin + pattern for pattern in wanted or ('*',)],
        'ignore_patterns': [begin + pattern for pattern in ignored],
    }
    options = {'repo_type': kind, 'revision': address.revision}
    with hub_errors(f'{address}: cannot be had from the Hub (cache: {constants.HF_HUB_CACHE})'):
        if not constants.HF_HUB_OFFLINE and (info := _repository(client, address, kind)):
            names = [file.rfilename for file in info.siblings or []]
            patterns['ignore_patterns'] += map(glob.escape, spared(names))
            _announce(info, address, kind, patterns, say)
        found = Path(client.snapshot_download(address.repo, **options, **patterns), address.folder)
        if not found.is_dir():
            raise FileNotFoundError(f'the repository has no folder {address.folder!r} of this use')
        return found


def cached(address: HubAddress, kind: str) -> Path | None:
    """Return the folder of a repository that was downloaded earlier, or None; asks no server."""
    try:
        root = hub_library().snapshot_download(
            address.repo, repo_type=kind, revision=address.revision, local_files_only=True
        )
    except Exception:  # not installed, not in the cache, or no name of a repository
        return None
    found = Path(root, address.folder)
    return found if found.is_dir() else None


def address_of(path: str | Path) -> HubAddress | None:
    """Return what a file or folder of the cache is part of, with its commit; None for others.

    Of a folder inside a repository the address has the folder, of a file it has not.
    """
    path = Path(path).expanduser().absolute()  # not resolved: files are links to another folder
    for place in (path, *path.parents):
        kind, _, name = place.parent.parent.name.partition('--')
        if place.parent.name == 'snapshots' and kind in ('models', 'datasets') and '--' in name:
            inside = path.relative_to(place).as_posix() if path.is_dir() else '.'
            folder = '' if inside == '.' else inside
            return HubAddress(name.replace('--', '/', 1), place.name, folder)
    return None


def origin(path: Path) -> str:
    """Return what provenance says of weights: `hub:org/name@commit`, or their name."""
    return str(address_of(path) or path.name)


def _repository(client: Any, address: HubAddress, kind: str) -> Any:
    """Return commit and files of a repository, or None if it does not answer."""
    try:
        return client.repo_info(
            address.repo, repo_type=kind, revision=address.revision, files_metadata=True
        )
    except Exception:  # snapshot_download looks into the cache, or says what is wrong
        return None


def _announce(
    info: Any, address: HubAddress, kind: str, patterns: dict[str, Any],
    say: Callable[[str], None],
) -> None:  # fmt: skip
    library = hub_library()
    from huggingface_hub.utils import filter_repo_objects

    files = filter_repo_objects(
        info.siblings or [], key=lambda file: file.rfilename, **patterns
    )
    missing = [
        file.size or 0
        for file in files
        if not isinstance(
            library.try_to_load_from_cache(
                address.repo, file.rfilename, repo_type=kind, revision=info.sha
            ),
            str,
        )
    ]
    if missing:
        say(
            f'{address}: downloading {len(missing)} files, {sum(missing) / _GIGABYTE:.3f} GB '
            f'(commit {info.sha})'
        )
