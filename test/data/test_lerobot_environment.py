# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Conformance with the lerobot library, in an environment of its own (scripts/lerobot_env.sh)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).with_name('test_lerobot_library.py')
ROOT = TESTS.parents[2]


@pytest.mark.slow(reason='runs tests in the environment of the lerobot library')
def test_the_library_reads_what_we_write_and_we_edit_what_it_writes(tmp_path):
    python = Path(os.environ.get('LEROBOT_PYTHON', '~/lerobot/bin/python')).expanduser()
    if not python.is_file():
        pytest.skip(f'{python}: not there; scripts/lerobot_env.sh makes it')
    options = ['-q', '-p', 'no:cacheprovider', '--noconftest', '-c', os.devnull]
    command = [python, '-m', 'pytest', *options, '--rootdir', ROOT, '--basetemp', tmp_path / 'run',
               TESTS]  # fmt: skip
    paths = f'{ROOT}{os.pathsep}{ROOT / "test"}'
    environment = os.environ | {'PYTHONPATH': paths, 'HF_HUB_OFFLINE': '1'}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert '6 passed' in done.stdout and 'skipped' not in done.stdout
