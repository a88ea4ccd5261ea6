# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The set-up and test scripts: what they refuse, what they notice, what they count."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / 'scripts'


def run(command, **environment):
    """Run a command with the environment of a plain terminal."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(('ROS', 'AMENT', 'MAKE'))}
    return subprocess.run(
        list(map(str, command)),
        env={**kept, 'CI': 'true', **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def fake_python(folder: Path, version: str) -> Path:
    """An interpreter that does not fit, e.g. 3.9."""
    path = folder / 'python'
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}"\nexit 1\n')
    path.chmod(0o755)
    return path


def test_setup_names_the_python_that_does_not_fit(tmp_path):
    result = run(
        [SCRIPTS / 'setup.sh', 'core'],
        PYTHON=str(fake_python(tmp_path, '3.9.2')),
        VENV=str(tmp_path / 'venv'),
    )
    assert result.returncode == 1
    assert 'is Python 3.9.2' in result.stderr
    assert 'Python 3.10 to 3.14 is needed' in result.stderr
    assert not (tmp_path / 'venv').exists()


def test_setup_refuses_an_unknown_group(tmp_path):
    result = run([SCRIPTS / 'setup.sh', 'core', 'simm'], VENV=str(tmp_path / 'venv'))
    assert result.returncode == 1
    assert 'no such requirement group: simm' in result.stderr


def test_setup_leaves_a_foreign_unfit_environment_alone(tmp_path):
    venv = tmp_path / 'venv'
    (venv / 'bin').mkdir(parents=True)
    (venv / 'keep').touch()
    result = run([SCRIPTS / 'setup.sh', 'core'], VENV=str(venv), PYTHON=sys.executable)
    assert result.returncode == 1
    assert 'was not made by this script' in result.stderr
    assert (venv / 'keep').exists()


def test_sourced_ros_without_rclpy_is_an_error_that_says_what_to_do(tmp_path):
    result = run(
        [SCRIPTS / 'setup.sh', 'core'],
        ROS_DISTRO='jazzy',
        AMENT_PREFIX_PATH='/nowhere',
        PYTHON=str(fake_python(tmp_path, '3.12.3')),
        VENV=str(tmp_path / 'venv'),
    )
    assert result.returncode == 1
    assert 'ROS 2 jazzy is sourced' in result.stderr
    assert 'cannot import rclpy' in result.stderr


def test_setup_names_the_distributions_that_pypi_has(tmp_path):
    venv = {'VENV': str(tmp_path / 'venv')}
    result = run([SCRIPTS / 'setup.sh', 'core'], ROS='humble', **venv)
    assert result.returncode == 1
    assert 'ROS=humble: from PyPI there are kilted and jazzy' in result.stderr
    result = run([SCRIPTS / 'setup.sh', 'core'], ROS='jazzy', PYTHON='/nowhere', **venv)
    assert 'Python 3.10 to 3.12 is needed' in result.stderr
    result = run(
        [SCRIPTS / 'setup.sh', 'core'],
        ROS='kilted', ROS_DISTRO='humble', AMENT_PREFIX_PATH='/opt/ros/humble', **venv,
    )  # fmt: skip
    assert 'ROS=kilted is one from PyPI, but ROS 2 humble is sourced' in result.stderr


def test_environment_script_asks_for_the_build(tmp_path):
    (tmp_path / 'scripts').mkdir()
    (tmp_path / 'scripts' / 'env.sh').write_text((SCRIPTS / 'env.sh').read_text())
    result = run(['bash', '-c', f'. {tmp_path}/scripts/env.sh; echo unreachable-or-not'])
    assert 'run make build' in result.stderr


def test_help_describes_the_targets():
    result = run(['make', 'help'])
    assert result.returncode == 0
    for target in ('demo', 'test', 'setup', 'build', 'clean'):
        assert f'  {target} ' in result.stdout


def package(folder: Path, name: str, files: list[str], missing: int = 0) -> None:
    """An installed package of which the last `missing` files are not there."""
    info = folder / f'{name}-1.0.dist-info'
    info.mkdir(parents=True)
    for file in files[: len(files) - missing]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    listed = [*files, f'{name}/__pycache__/x.pyc']
    (info / 'RECORD').write_text(''.join(f'"{file}",,\n' for file in listed))


def test_whole_packages_pass_the_check(tmp_path):
    verify = load('verify_venv')
    package(tmp_path, 'whole', ['whole/__init__.py', 'whole/with, comma.txt'])
    assert verify.incomplete_packages(tmp_path) == []


def test_a_package_whose_unpacking_was_killed_is_reported(tmp_path):
    verify = load('verify_venv')
    package(tmp_path, 'cut', ['cut/__init__.py', 'cut/a.py', 'cut/b.py'], missing=2)
    (tmp_path / 'early-1.0.dist-info').mkdir()
    assert verify.incomplete_packages(tmp_path) == [
        'cut-1.0: 2 files are missing, e.g. cut/a.py',
        'early-1.0: has no list of its files',
    ]


def results(folder: Path, **counts: int) -> None:
    folder.mkdir(exist_ok=True)
    attributes = ' '.join(f'{name}="{value}"' for name, value in counts.items())
    (folder / 'pytest.xunit.xml').write_text(f'<testsuites><testsuite {attributes}/></testsuites>')


@pytest.mark.parametrize(
    ('counts', 'line', 'code'),
    [
        (
            {'tests': 5, 'failures': 0, 'errors': 0, 'skipped': 1},
            '4 passed, 0 failed, 1 skipped',
            0,
        ),
        (
            {'tests': 5, 'failures': 1, 'errors': 2, 'skipped': 0},
            '2 passed, 3 failed, 0 skipped',
            1,
        ),
        (
            {'tests': 0, 'failures': 0, 'errors': 0, 'skipped': 0},
            '0 passed, 0 failed, 0 skipped',
            1,
        ),
    ],
)
def test_count_is_right_and_no_test_is_a_failure(tmp_path, counts, line, code):
    results(tmp_path, **counts)
    result = run([sys.executable, SCRIPTS / 'count_tests.py', tmp_path])
    assert (result.stdout.strip(), result.returncode) == (line, code)


def test_failed_tests_are_named_before_the_count_with_the_end_of_their_message(tmp_path):
    cases = ''.join(
        f'<testcase classname="test.nodes.test_a" name="test_{i}[x]">'
        f'<{kind} message="m">{"".join(f"line {n}&#10;" for n in range(9))}</{kind}></testcase>'
        for i, kind in enumerate(['failure', 'error'] * 6)
    )
    good = '<testcase classname="test.b" name="test_good"/>'
    (tmp_path / 'nodes.xunit.xml').write_text(
        '<testsuites><testsuite tests="13" failures="6" errors="6" skipped="0">'
        f'{good}{cases}</testsuite></testsuites>'
    )
    result = run([sys.executable, SCRIPTS / 'count_tests.py', tmp_path])
    lines = result.stdout.splitlines()
    assert lines[:2] == ['FAILED test.nodes.test_a::test_0[x]', '    line 4']
    assert lines[5] == '    line 8'
    assert lines[-2:] == ['... and 2 more', '1 passed, 12 failed, 0 skipped']
    assert sum(line.startswith('FAILED') for line in lines) == 10
    assert 'test_good' not in result.stdout


def test_failure_that_passes_alone_is_named_and_one_that_fails_again_stays(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / 'test').mkdir()
    (tmp_path / 'test' / 'test_a.py').write_text(
        # What is late builds on the test before it, which did not fail.
        'state = []\ndef test_first(): state.append(1)\ndef test_late(): assert state\n'
        'def test_wrong(): assert False\n'
    )
    case = '<testcase classname="vla_adapter_ros.test.test_a" name="{}"><failure/></testcase>'
    (tmp_path / 'nodes.xunit.xml').write_text(
        '<testsuites><testsuite tests="3" failures="2" errors="0" skipped="0">'
        f'{case.format("test_late")}{case.format("test_wrong")}</testsuite></testsuites>'
    )
    again = load('run_again')
    monkeypatch.setattr(again, 'ROOT', tmp_path)
    monkeypatch.setattr(sys, 'argv', ['run_again.py', str(tmp_path)])
    assert again.main() == 1
    assert 'PASSED WHEN RUN AGAIN test/test_a.py::test_late' in capsys.readouterr().out
    result = run([sys.executable, SCRIPTS / 'count_tests.py', tmp_path])
    assert result.stdout.splitlines()[-1] == '2 passed, 1 failed, 0 skipped'
    assert 'FAILED vla_adapter_ros.test.test_a::test_wrong' in result.stdout


@pytest.mark.parametrize('count', [0, 17])
def test_no_failure_and_many_failures_are_not_run_again(tmp_path, monkeypatch, count):
    case = '<testcase classname="test.test_a" name="test_a"><failure/></testcase>'
    cases = ''.join(case.replace('"test_a"', f'"test_{i}"') for i in range(count))
    (tmp_path / 'unit.xunit.xml').write_text(
        f'<testsuites><testsuite tests="{count}" failures="{count}">{cases}</testsuite>'
        '</testsuites>'
    )
    again = load('run_again')
    monkeypatch.setattr(again, 'passing', lambda file: pytest.fail('was run'))
    monkeypatch.setattr(sys, 'argv', ['run_again.py', str(tmp_path)])
    assert again.main() == 1


def test_missing_results_are_a_failure(tmp_path):
    result = run([sys.executable, SCRIPTS / 'count_tests.py', tmp_path])
    assert result.returncode == 1


def load(name: str):
    """Import a script by path."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
