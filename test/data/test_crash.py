# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The short form of `make crash-test`, and that it finds what is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = 'import random, sys, pathlib; from support import crash_producers, crash_runner; {}'
CRASH = 'print(crash_runner.crash({!r}, {}, random.Random(3), pathlib.Path(sys.argv[1])))'
# A recovery that removes the recording before it is copied.
BROKEN = (
    'import shutil; from vla_adapter_ros.data.bags import unfinished; '
    'unfinished.recover = lambda partial, *more: shutil.rmtree(partial); '
)


def _crash(place: Path, name: str, kills: int, before: str = '') -> str:
    """Run in a process of its own: children are forked, which a used one does not allow."""
    code = RUN.format(before + CRASH.format(name, kills))
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    environment = {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}
    return subprocess.run(
        [sys.executable, '-c', code, str(place)], env=environment, check=True, text=True,
        stdout=subprocess.PIPE,
    ).stdout  # fmt: skip


@pytest.mark.slow(reason='imports of training, and some kills with what follows each')
@pytest.mark.parametrize(
    'name',
    ['recorder', 'discard', 'convert', 'append', 'split', 'reencode', 'attach', 'prepare', 'edit'],
)
def test_kills_at_random_moments_lose_nothing(tmp_path, name):
    assert 'kills=4, losses=0' in _crash(tmp_path, name, 4)


@pytest.mark.slow(reason='imports of training, and some kills with what follows each')
def test_a_loss_is_counted(tmp_path):
    assert 'losses=0' not in _crash(tmp_path, 'recorder', 4, BROKEN)
