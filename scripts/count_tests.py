#!/usr/bin/env python3
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Print which tests failed and how many ran, from the result files that the test runners left.

Usage: python scripts/count_tests.py FOLDER
Exit status 1 when a test failed, a result file is missing or broken, or no test ran.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

# So much of the failures is shown: the end of a log is often all there is to look at.
MAX_FAILURES = 10
MAX_LINES = 5


def count(folder: Path) -> tuple[int, int, int]:
    """Return how many tests passed, failed and were skipped; errors count as failed."""
    tests = failed = skipped = 0
    for path in sorted(folder.rglob('*.xunit.xml')):
        for suite in ElementTree.parse(path).getroot().iter('testsuite'):
            tests += int(suite.get('tests', 0))
            failed += int(suite.get('failures', 0)) + int(suite.get('errors', 0))
            skipped += int(suite.get('skipped', 0))
    return tests - failed - skipped, failed, skipped


def failures(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each test that failed and the lines of its message."""
    for path in sorted(folder.rglob('*.xunit.xml')):
        for case in ElementTree.parse(path).getroot().iter('testcase'):
            for problem in (*case.iterfind('failure'), *case.iterfind('error')):
                name = f'{case.get("classname", "")}::{case.get("name", "")}'
                text = problem.text or problem.get('message') or ''
                yield name, [line for line in text.splitlines() if line.strip()]


def show_failures(folder: Path) -> None:
    """Print the first failures, each with the last lines of its message."""
    failed = list(failures(folder))
    for name, lines in failed[:MAX_FAILURES]:
        print(f'FAILED {name}')
        for line in lines[-MAX_LINES:]:
            print(f'    {line}')
    if len(failed) > MAX_FAILURES:
        print(f'... and {len(failed) - MAX_FAILURES} more')


def main() -> int:
    """Print the failures, then `N passed, N failed, N skipped`; return the exit status."""
    parser = argparse.ArgumentParser(description='Print how many tests ran.')
    parser.add_argument('folder', type=Path, help='folder with *.xunit.xml files')
    folder = parser.parse_args().folder
    passed, failed, skipped = count(folder)
    show_failures(folder)
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 0 if passed and not failed else 1


if __name__ == '__main__':
    sys.exit(main())
