#!/usr/bin/env python3
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Print how many tests ran, from the result files that the test runners left.

Usage: python scripts/count_tests.py FOLDER
Exit status 1 when a test failed, a result file is missing or broken, or no test ran.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from xml.etree import ElementTree


def count(folder: Path) -> tuple[int, int, int]:
    """Return how many tests passed, failed and were skipped; errors count as failed."""
    tests = failed = skipped = 0
    for path in sorted(folder.rglob('*.xunit.xml')):
        for suite in ElementTree.parse(path).getroot().iter('testsuite'):
            tests += int(suite.get('tests', 0))
            failed += int(suite.get('failures', 0)) + int(suite.get('errors', 0))
            skipped += int(suite.get('skipped', 0))
    return tests - failed - skipped, failed, skipped


def main() -> int:
    """Print `N passed, N failed, N skipped`; return the exit status."""
    parser = argparse.ArgumentParser(description='Print how many tests ran.')
    parser.add_argument('folder', type=Path, help='folder with *.xunit.xml files')
    passed, failed, skipped = count(parser.parse_args().folder)
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 0 if passed and not failed else 1


if __name__ == '__main__':
    sys.exit(main())
