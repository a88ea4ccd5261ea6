# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Conformance with the lerobot library, in an environment of its own (scripts/lerobot_env.sh)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def python() -> Path:
    path = Path(os.environ.get('LEROBOT_PYTHON', '~/lerobot/bin/python')).expanduser()
    if not path.is_file():
        pytest.skip(f'{path}: not there; scripts/lerobot_env.sh makes it')
    return path


@pytest.mark.slow(reason='runs tests in the environment of the lerobot library')
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ('tests', 'passed'),
    [('data/test_lerobot_library.py', 6), ('lerobot_policy/test_lerobot_plugin.py', 9)],
)
def test_the_library_and_this_package_understand_each_other(tmp_path, python, tests, passed):
    options = ['-q', '-p', 'no:cacheprovider', '--noconftest', '-c', os.devnull]
    command = [python, '-m', 'pytest', *options, '--rootdir', ROOT, '--basetemp', tmp_path / 'run',
               ROOT / 'test' / tests]  # fmt: skip
    paths = f'{ROOT}{os.pathsep}{ROOT / "test"}'
    environment = os.environ | {'PYTHONPATH': paths, 'HF_HUB_OFFLINE': '1', 'MUJOCO_GL': 'egl'}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=890)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert f'{passed} passed' in done.stdout and 'skipped' not in done.stdout
