#!/usr/bin/env python3
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Run a command on a machine that stands still now and then, as a busy host does.

All processes of the command are stopped together for a moment, at random times (Linux). Tests and
nodes must tolerate it: they measure by stamps, not by when something arrived.

    python scripts/stall.py python -m pytest test/nodes/policy/test_fault_injection.py
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path


def family(root: int) -> list[int]:
    """Return a process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            # After the name, which may hold anything: state, parent.
            state, parent = (folder / 'stat').read_text().rpartition(')')[2].split()[:2]
            if state not in 'TZ':
                children.setdefault(int(parent), []).append(int(folder.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def stop_for(seconds: float, processes: list[int]) -> None:
    """Stop processes together and let them go on."""
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        if number == signal.SIGSTOP:
            time.sleep(seconds)


def main() -> int:
    """Command line; returns the command's exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--shortest', type=float, default=0.15, help='of the stalls [s] (%(default)s)')
    add('--longest', type=float, default=0.4, help='of the stalls [s] (%(default)s)')
    add('--every', type=float, default=3.0, help='mean time between two [s] (%(default)s)')
    add('command', nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.command or not 0 < options.shortest <= options.longest or options.every <= 0:
        parser.error('expected a command, 0 < shortest <= longest and every > 0')
    command = subprocess.Popen(options.command)
    count = 0
    while command.poll() is None:
        time.sleep(random.expovariate(1.0 / options.every))
        stop_for(random.uniform(options.shortest, options.longest), family(command.pid))
        count += 1
    print(f'stall: {count} stalls', file=sys.stderr)
    return command.returncode


if __name__ == '__main__':
    sys.exit(main())
