# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What colcon and pip install: generated types, executables, configuration, package data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = 'vla_adapter_ros'
# What pip needs to build the package.
SOURCES = (PACKAGE, 'config', 'requirements', 'setup.py', 'pyproject.toml', 'README.md')


def prefix() -> Path:
    """Where colcon installed this package; skips where ROS or the build is missing."""
    packages = pytest.importorskip(
        'ament_index_python.packages', reason='ROS 2 is not in this environment'
    )
    try:
        return Path(packages.get_package_prefix(PACKAGE))
    except packages.PackageNotFoundError:
        pytest.skip('the package is not built; run make build')


def test_generated_types_import_beside_our_modules():
    prefix()
    from vla_adapter_ros.msg import ActionChunk, PolicyStatus
    from vla_adapter_ros.srv import SetInstruction

    assert SetInstruction.Request.get_fields_and_field_types() == {'instruction': 'string'}
    answer = SetInstruction.Response.get_fields_and_field_types()
    assert answer == {'success': 'boolean', 'message': 'string'}
    assert ActionChunk.get_fields_and_field_types()['actions'] == 'sequence<double>'
    states = ('INACTIVE', 'WAITING_FOR_INPUT', 'READY', 'RUNNING', 'HOLDING', 'TRIPPED')
    assert [getattr(PolicyStatus, name) for name in states] == [0, 1, 2, 3, 4, 5]


def test_a_message_survives_the_wire():
    prefix()
    from rclpy.serialization import deserialize_message, serialize_message
    from vla_adapter_ros.msg import ActionChunk

    sent = ActionChunk(chunk_size=2, action_dim=2, step_period=0.1, names=['a', 'b'])
    sent.actions = [0.0, 1.5, -2.0, 3.25]
    sent.instruction = 'schiebe den Würfel'
    received = deserialize_message(serialize_message(sent), ActionChunk)
    assert received == sent


def test_every_executable_is_installed():
    folder = prefix() / 'lib' / PACKAGE
    lines = (ROOT / 'scripts' / 'executables.txt').read_text().splitlines()
    executables = dict(line.split() for line in lines if not line.startswith('#'))
    for name, module in executables.items():
        script = (folder / name).read_text().splitlines()
        assert script[0] == '#!/usr/bin/env python3'
        assert f'from {module} import main' in script
        assert os.access(folder / name, os.X_OK), name


def test_launch_and_configuration_are_installed():
    share = prefix() / 'share' / PACKAGE
    for folder in ('launch', 'config'):
        for path in (ROOT / folder).rglob('*'):
            if path.is_file() and '__pycache__' not in path.parts:
                assert (share / path.relative_to(ROOT)).is_file(), path


@pytest.fixture(scope='module')
def pip_target(tmp_path_factory) -> Path:
    """`pip install .` into a folder, from a copy, so that the checkout stays clean."""
    for name in ('pip', 'setuptools'):
        if find_spec(name) is None:
            pytest.skip(f'{name} is not in this environment')
    copy = tmp_path_factory.mktemp('source')
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns('__pycache__')
            shutil.copytree(source, copy / name, ignore=ignored)
        else:
            shutil.copy(source, copy / name)
    target = tmp_path_factory.mktemp('target')
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index']
    command += ['--no-build-isolation', '--target', str(target), str(copy)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return target


def python_with(target: Path, code: str) -> str:
    """Run code with only the pip-installed package of ours, away from the checkout."""
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    environment['PYTHONPATH'] = str(target)
    command = [sys.executable, '-c', code]
    run = subprocess.run(
        command, cwd=target, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.slow(reason='an installation by pip')
def test_pip_installs_everything_but_the_ros_nodes(pip_target):
    installed = {path.name for path in (pip_target / PACKAGE).iterdir()}
    expected = {path.parent.name for path in (ROOT / PACKAGE).glob('*/__init__.py')} - {'nodes'}
    assert expected <= installed
    assert 'nodes' not in installed


def test_pip_installs_the_shipped_robots(pip_target):
    code = (
        'from vla_adapter_ros.robot.contract import contract_path, load_contract;'
        'path = contract_path("alicia_d"); print(load_contract(path).name, path)'
    )
    name, path = python_with(pip_target, code).split(' ', 1)
    assert name == 'alicia_d'
    assert Path(path).is_relative_to(pip_target)


def test_preflight_knows_the_requirements_after_pip(pip_target):
    code = 'from vla_adapter_ros.preflight.files import required_packages as r; print(sorted(r()))'
    lines = (ROOT / 'requirements' / 'core.txt').read_text().splitlines()
    names = [line.split('>=')[0] for line in lines if line and not line.startswith('#')]
    assert python_with(pip_target, code) == str(sorted(names))


def test_pip_installs_every_data_file(pip_target):
    code_suffixes = {'.py', '.pyc'}
    for folder, target in ((ROOT / PACKAGE, PACKAGE), (ROOT / 'config', f'{PACKAGE}/config')):
        for path in folder.rglob('*'):
            inside = path.relative_to(folder)
            if path.is_file() and path.suffix not in code_suffixes and inside.parts[0] != 'nodes':
                assert (pip_target / target / inside).is_file(), path


def test_pip_metadata_has_the_extras_and_the_version(pip_target):
    code = (
        'from importlib.metadata import metadata; import vla_adapter_ros;'
        'm = metadata("vla_adapter_ros");'
        'print(m["Version"] == vla_adapter_ros.__version__, *sorted(m.get_all("Provides-Extra")))'
    )
    assert python_with(pip_target, code) == 'True all camera export server sim train viz vla-eval'
