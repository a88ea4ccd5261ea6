# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Kill what writes demonstrations and checkpoints at random moments; count what is lost.

    python scripts/crash_test.py --kills 200

Prints a table; its last line is `N kills, L losses`. The exit status is 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).parents[1] / 'test'))


def main() -> int:
    """Command line; returns the exit status."""
    from support.crash_producers import PRODUCERS
    from support.crash_runner import crash

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=210, help='of all producers (210)')
    parser.add_argument('--seed', type=int, default=secrets.randbelow(10**6), help='random')
    parser.add_argument('--only', nargs='+', choices=PRODUCERS, default=list(PRODUCERS))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    each = -(-options.kills // len(options.only))
    place = Path(tempfile.mkdtemp(prefix='crash_test_'))
    print(f'seed {options.seed}, in {place}', flush=True)
    rows = []
    for name in options.only:
        begin = time.monotonic()
        rows.append(crash(name, each, rng, place))
        print(f'{name}: {each} kills in {time.monotonic() - begin:.0f} s', flush=True)
    print(f'\n{"producer":12} {"runs for":>9} {"kills":>6} {"losses":>7}')
    for row in rows:
        print(f'{row.name:12} {row.seconds:7.2f} s {row.kills:6} {row.losses:7}')
    losses = sum(row.losses for row in rows)
    if not losses:
        shutil.rmtree(place, ignore_errors=True)
    print(f'\n{sum(row.kills for row in rows)} kills, {losses} losses')
    return 1 if losses else 0


if __name__ == '__main__':
    raise SystemExit(main())
