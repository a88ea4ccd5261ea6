#!/usr/bin/env python3
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Check that all installed packages of this environment are complete.

A killed pip leaves packages that it later takes for installed. Each package's RECORD is written
last and lists its files: one without RECORD, or with files missing, is reported.

Usage: python scripts/verify_venv.py      (exit status 1 when something is missing)
"""

from __future__ import annotations

import argparse
import csv
import sys
import sysconfig
from pathlib import Path


def missing_files(record: Path, site_packages: Path) -> list[str]:
    """Return the files that a package's RECORD lists and that are not there."""
    with record.open(encoding='utf-8', newline='') as lines:
        listed = [row[0] for row in csv.reader(lines) if row]
    # Byte code may be removed at will.
    return [f for f in listed if not f.endswith('.pyc') and not (site_packages / f).exists()]


def incomplete_packages(site_packages: Path) -> list[str]:
    """Return one line for each incomplete package of a site-packages folder."""
    found = []
    for folder in sorted(site_packages.glob('*.dist-info')):
        record = folder / 'RECORD'
        if not record.is_file():
            found.append(f'{folder.stem}: has no list of its files')
        elif missing := missing_files(record, site_packages):
            found.append(f'{folder.stem}: {len(missing)} files are missing, e.g. {missing[0]}')
    return found


def main() -> int:
    """Print what is incomplete; return the exit status."""
    argparse.ArgumentParser(
        description='Check that all installed packages of this environment are complete.'
    ).parse_args()
    folders = {sysconfig.get_path('purelib'), sysconfig.get_path('platlib')}
    found = [line for folder in sorted(folders) for line in incomplete_packages(Path(folder))]
    print('\n'.join(found) if found else 'all installed packages are complete')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
