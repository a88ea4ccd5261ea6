# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The two parts of the suite, their worker processes, and slow tests that say why.

`VLA_TEST_PART=unit` runs everything outside test/nodes and needs no ROS; `VLA_TEST_PART=nodes`
runs test/nodes, which starts ROS nodes. Both are spread over worker processes (pytest-xdist), each
test file staying in one worker; without pytest-xdist they run in this process. Unset: plain
pytest. `VLA_TEST_WORKERS` overrides the number of workers; `VLA_TEST_BESIDE` says that the other
part runs, too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from itertools import count
from pathlib import Path

import pytest

PARTS = ('unit', 'nodes')
PART = os.environ.get('VLA_TEST_PART', '')
NODES = Path(__file__).parent / 'nodes'
MAX_WORKERS = 8

# One thread for each process: the machines that run the tests are small, and their cores are
# shared by the workers and the nodes. Inherited by worker and node processes.
os.environ.setdefault('OMP_NUM_THREADS', '1')

# Messages check the types of their fields, as they always do on Humble.
os.environ.setdefault('ROS_PYTHON_CHECK_FIELDS', '1')

# Caches of the tests: a folder of its own for each test, and none of them in the user's home.
CACHES = Path(tempfile.gettempdir()) / f'vla_adapter_ros_caches_{os.getpid()}'
BASE = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
SHARED = {'HF_HOME': 'huggingface', 'MPLCONFIGDIR': 'matplotlib', 'MESA_SHADER_CACHE_DIR': 'mesa'}
for name, folder in SHARED.items():
    os.environ.setdefault(name, str(BASE / folder))
# Mesa makes the last folder of the path only, and complains on stderr.
BASE.mkdir(parents=True, exist_ok=True)
os.environ['XDG_CACHE_HOME'] = str(CACHES / 'of_fixtures')

IN_WORKER = 'PYTEST_XDIST_WORKER' in os.environ
if PART == 'unit' and not IN_WORKER:
    # The nodes of the other part, side by side with this one, have to keep real time.
    os.nice(10)
if PART == 'unit' and IN_WORKER:
    # Linux may share the CPU among sessions first (autogroup), and nodes have sessions of their
    # own: against them a process's own niceness counts for nothing.
    with contextlib.suppress(OSError):
        os.setsid()
        Path('/proc/self/autogroup').write_text('10')


def worker_count() -> int:
    """Return how many worker processes run a part.

    One a core, so that nodes keep real time; one more for unit tests alone, where those of cameras
    wait.
    """
    if given := os.environ.get('VLA_TEST_WORKERS'):
        return int(given)
    cores = len(os.sched_getaffinity(0))
    alone = PART == 'unit' and not os.environ.get('VLA_TEST_BESIDE')
    return min(cores + alone, MAX_WORKERS)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    if PART not in ('', *PARTS):
        raise pytest.UsageError(f'VLA_TEST_PART={PART}: expected one of {", ".join(PARTS)}')
    if not PART or IN_WORKER or not config.pluginmanager.hasplugin('xdist'):
        return
    if config.option.numprocesses is None and not config.option.collectonly:
        config.option.numprocesses = worker_count()
        config.option.dist = 'loadfile'


def pytest_ignore_collect(collection_path):
    # None: others may decide.
    return True if PART == 'unit' and collection_path == NODES else None


def pytest_collection_modifyitems(items):
    for item in items:
        for marker in item.iter_markers('slow'):
            if not marker.kwargs.get('reason'):
                raise pytest.UsageError(f'{item.nodeid}: slow needs a reason')


def pytest_addoption(parser):
    parser.addoption(
        '--fault-table', action='store_true', help='print the table of all injected faults'
    )


FAULT_ROWS = pytest.StashKey[list]()


@pytest.fixture
def fault_row(pytestconfig):
    """Keeps one line of the fault table: a `support.fault_report.FaultRow`."""
    return pytestconfig.stash.setdefault(FAULT_ROWS, []).append


def pytest_unconfigure(config):
    shutil.rmtree(CACHES, ignore_errors=True)
    if config.getoption('--fault-table', False):
        from support.fault_report import table

        # After pytest's own last line: the count of faults and violations ends the output.
        print('\n'.join(table(config.stash.get(FAULT_ROWS, []))))


_NUMBERS = count()


@pytest.fixture(autouse=True)
def own_caches():
    """Training caches are named by content: those of another test would be found."""
    os.environ['XDG_CACHE_HOME'] = str(CACHES / str(next(_NUMBERS)))
