#!/usr/bin/env python3
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Run the files of tests that failed once more, alone, and say which of them fail again.

Usage: python scripts/run_again.py FOLDER      (the one with the test runners' result files)

Nodes are tested in real time. On a machine that is paused in the middle of a test, or busy with
something else, one of hundreds of them may miss its time; a fault of the package fails again. The
whole file is run, because tests that share a node build on what those before them left. What
passes now is named, and left out of the result files as a failure. With more than MAX_FAILURES
nothing is run again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = 'vla_adapter_ros.'  # colcon's prefix of the class names
MAX_FAILURES = 16
TIMEOUT_S = 900.0


def test_id(case: ElementTree.Element) -> str:
    """Return what pytest calls a test of a result file: `test/folder/test_file.py::test_name`."""
    module = case.get('classname', '').removeprefix(PACKAGE).replace('.', '/')
    return f'{module}.py::{case.get("name", "")}'


def failed_cases(suite: ElementTree.Element) -> list[ElementTree.Element]:
    """Return the tests of a suite that failed or could not be set up."""
    return [
        case for case in suite.iter('testcase')
        if case.find('failure') is not None or case.find('error') is not None
    ]  # fmt: skip


def forgive(path: Path, passed: set[str]) -> None:
    """Take the failures of tests that have passed now out of a result file."""
    tree = ElementTree.parse(path)
    for suite in tree.getroot().iter('testsuite'):
        for case in failed_cases(suite):
            if test_id(case) not in passed:
                continue
            for tag, count in (('failure', 'failures'), ('error', 'errors')):
                for problem in case.findall(tag):
                    case.remove(problem)
                    suite.set(count, str(int(suite.get(count, 0)) - 1))
    tree.write(path, encoding='utf-8', xml_declaration=True)


def passing(file: str) -> set[str]:
    """Run the fast tests of a file, without others beside them; return those that pass."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / 'again.xml'
        command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', file]
        environment = {k: v for k, v in os.environ.items() if not k.startswith('VLA_TEST_')}
        try:
            subprocess.run(
                [*command, f'--junitxml={result}'], cwd=ROOT, env=environment, timeout=TIMEOUT_S
            )
            suites = list(ElementTree.parse(result).getroot().iter('testsuite'))
        except (subprocess.TimeoutExpired, OSError, ElementTree.ParseError):
            return set()
        failed = {test_id(case) for suite in suites for case in failed_cases(suite)}
        ran = [c for suite in suites for c in suite.iter('testcase') if c.find('skipped') is None]
        return {test_id(case) for case in ran} - failed


def main() -> int:
    """Run the failures again; return 1 if one of them fails again or nothing could be run."""
    parser = argparse.ArgumentParser(description='Run the files of failed tests once more.')
    parser.add_argument('folder', type=Path, help='folder with *.xunit.xml files')
    paths = sorted(parser.parse_args().folder.rglob('*.xunit.xml'))
    failed = {
        test_id(case)
        for path in paths
        for suite in ElementTree.parse(path).getroot().iter('testsuite')
        for case in failed_cases(suite)
    }
    if not 0 < len(failed) <= MAX_FAILURES:
        return 1
    print(f'{len(failed)} failed; their files are run again, alone', flush=True)
    files = sorted({test.partition('::')[0] for test in failed})
    passed = failed & {test for file in files for test in passing(file)}
    for path in paths:
        forgive(path, passed)
    for test in sorted(passed):
        print(f'PASSED WHEN RUN AGAIN {test}')
    return 0 if passed == failed else 1


if __name__ == '__main__':
    sys.exit(main())
