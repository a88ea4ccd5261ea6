#!/usr/bin/env python3
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Writes requirements/hashes.txt from lock files of uv (pylock.toml); `scripts/lock.sh` runs it.

    python scripts/hashes.py LOCK... > requirements/hashes.txt

Of each package the wheels for Linux on x86-64 and 64-bit ARM, CPython 3.10 to 3.14; the source
distribution only where there is no such wheel. Needs Python 3.11.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HEADER = """\
# SHA-256 of what `make setup LOCKED=1` may install: every pin of the constraints, and pip.
# Written by scripts/lock.sh; do not edit.
"""


def fits(wheel: str) -> bool:
    """Return whether a wheel, by its file name, is for a machine that this package runs on."""
    python, abi, platform = wheel.removesuffix('.whl').split('-')[-3:]
    linux = 'manylinux' in platform or platform.startswith('linux')
    machine = linux and re.search('x86_64|aarch64', platform)
    version = 'py3' in python or abi == 'abi3' or re.search(r'cp31[0-4]\b', python)
    return bool((platform == 'any' or machine) and version and not abi.endswith('t'))


def hashes_of(package: Mapping[str, Any]) -> list[str]:
    """Return the SHA-256 of the files of a package, sorted.

    Raises:
        ValueError: there is neither a wheel that fits nor a source distribution.
    """
    wheels = [w for w in package.get('wheels', ()) if fits(w['url'].rpartition('/')[2])]
    files = wheels or [package[kind] for kind in package if kind == 'sdist']
    if not files:
        raise ValueError(f'{package["name"]}=={package["version"]}: no file to install')
    return sorted({file['hashes']['sha256'] for file in files})


def lines(locks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return `name==version --hash=…` of every package of the lock files, sorted."""
    found = {
        f'{package["name"]}=={package["version"]}': hashes_of(package)
        for lock in locks
        for package in lock['packages']
    }
    return [
        ' '.join([pin, *(f'--hash=sha256:{value}' for value in found[pin])])
        for pin in sorted(found)
    ]


if __name__ == '__main__':
    import tomllib

    read = [tomllib.loads(Path(name).read_text(encoding='utf-8')) for name in sys.argv[1:]]
    print(HEADER, '\n'.join(lines(read)), sep='')
