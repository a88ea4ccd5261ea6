# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""scripts/stall.py: the processes of a command stand still together, and go on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.ros_harness import REPOSITORY

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')

# A process and its child, each with the longest time between two looks at the clock.
COMMAND = """
import os, sys, time
child = os.fork()
end = last = time.monotonic()
end, longest = end + 2.0, 0.0
while last < end:
    time.sleep(0.005)
    now = time.monotonic()
    longest, last = max(longest, now - last), now
os.write(1, f'{longest}\\n'.encode())  # one call: lines of two processes must not mix
if child:
    os.waitpid(child, 0)
    sys.exit(3)
"""


def stall(*arguments):
    return subprocess.run(
        [sys.executable, str(REPOSITORY / 'scripts' / 'stall.py'), *arguments],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.slow(reason='waits')
def test_a_command_and_its_children_stand_still_and_its_status_is_kept():
    times = ('--shortest', '0.3', '--longest', '0.4', '--every', '0.1')
    result = stall(*times, sys.executable, '-c', COMMAND)
    assert result.returncode == 3, result.stderr
    assert [float(line) > 0.29 for line in result.stdout.split()] == [True, True]
    assert 'stalls' in result.stderr


def test_nothing_to_run_is_told():
    assert 'expected a command' in stall().stderr
