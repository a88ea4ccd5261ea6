# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Style: ruff for Python, a syntax check for shell, headers, and what must not be in the text."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON_FOLDERS = ('vla_adapter_ros', 'test', 'launch', 'scripts')
LONGEST_FILE = 500

pytestmark = pytest.mark.linter


def python_files() -> list[Path]:
    found = [path for folder in PYTHON_FOLDERS for path in (ROOT / folder).rglob('*.py')]
    return sorted([*found, ROOT / 'setup.py'])


def shell_files() -> list[Path]:
    return [*sorted((ROOT / 'scripts').glob('*.sh')), ROOT / '.ci' / 'run']


def test_ruff_finds_nothing():
    pytest.importorskip('ruff')
    command = [sys.executable, '-m', 'ruff', 'check', '--no-cache', *PYTHON_FOLDERS, 'setup.py']
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_python_file_names_the_licence():
    header = '# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License'
    missing = [
        str(path.relative_to(ROOT))
        for path in python_files()
        if header not in '\n'.join(path.read_text(encoding='utf-8').splitlines()[:2])
    ]
    assert missing == []


def test_files_stay_small_enough_to_read():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding='utf-8').splitlines())
        for path in python_files()
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_FILE} == {}


@pytest.mark.parametrize('path', shell_files(), ids=lambda path: path.name)
def test_shell_scripts_parse(path):
    run = subprocess.run(['bash', '-n', str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize('path', shell_files(), ids=lambda path: path.name)
def test_shell_scripts_stop_at_the_first_error(path):
    text = path.read_text(encoding='utf-8')
    sourced_only = not text.startswith('#!')
    assert sourced_only or 'set -euo pipefail' in text


@pytest.mark.skipif(shutil.which('shellcheck') is None, reason='shellcheck is not installed')
def test_shellcheck_finds_nothing():
    command = ['shellcheck', '-x', *map(str, shell_files())]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_package_manifest_fits_its_schema():
    """Ruff covers what the other ament linters check; this one adds something."""
    linter = pytest.importorskip('ament_xmllint.main', reason='ament_xmllint is not installed')
    assert linter.main(argv=[str(ROOT / 'package.xml')]) == 0


def test_no_tabs_or_trailing_space_in_python_and_shell():
    pattern = re.compile(r'\t|[ \t]+$', re.MULTILINE)
    offending = [
        str(path.relative_to(ROOT))
        for path in [*python_files(), *shell_files()]
        if pattern.search(path.read_text(encoding='utf-8'))
    ]
    assert offending == []
