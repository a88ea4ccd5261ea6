# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`make setup LOCKED=1`: every pin has its hashes, and pip installs nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hashes import fits, lines

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements'
PINNED = ('constraints.txt', 'constraints-numpy1.txt', 'constraints-cuda.txt')


def entries(name: str) -> list[str]:
    rows = (REQUIREMENTS / name).read_text(encoding='utf-8').splitlines()
    return [row.split('#')[0].strip() for row in rows if row.split('#')[0].strip()]


def hashes() -> dict[str, list[str]]:
    return {row.split()[0]: row.split()[1:] for row in entries('hashes.txt')}


def test_every_pin_has_hashes_and_no_others_are_kept():
    pins = {row.split()[0] for name in PINNED for row in entries(name)}
    known = hashes()
    pip = [pin for pin in known if pin.startswith('pip==')]
    assert len(pip) == 1
    assert pins | set(pip) == set(known), 'run scripts/lock.sh hashes'
    for values in known.values():
        assert values and all(re.fullmatch(r'--hash=sha256:[0-9a-f]{64}', v) for v in values)


@pytest.mark.parametrize(('constraints', 'ros'), [(PINNED[0], 'kilted'), (PINNED[1], 'jazzy')])
def test_the_pins_satisfy_the_requirements(constraints, ros):
    pins = {}
    for row in entries(constraints):
        name, _, version = row.split(';')[0].strip().partition('==')
        pins.setdefault(canonicalize_name(name), []).append(version)
    groups = ('core', 'sim', 'train', 'camera', 'server', 'test', 'colcon', f'ros-{ros}')
    for row in (row for group in groups for row in entries(f'{group}.txt')):
        wanted = Requirement(row)
        versions = pins.get(canonicalize_name(wanted.name))
        assert versions, f'{constraints}: no {wanted.name}; run scripts/lock.sh'
        assert all(wanted.specifier.contains(version) for version in versions), row


@pytest.mark.parametrize(
    ('wheel', 'wanted'),
    [
        ('numpy-2.3.4-cp310-cp310-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl', True),
        ('numpy-2.3.4-cp314-cp314-manylinux_2_27_aarch64.whl', True),
        ('tqdm-4.70.1-py3-none-any.whl', True),
        ('six-1.17.0-py2.py3-none-any.whl', True),
        ('av-19.0.2-cp312-abi3-manylinux_2_28_x86_64.whl', True),
        ('numpy-2.3.4-cp314-cp314t-manylinux_2_27_x86_64.whl', False),
        ('numpy-2.3.4-cp39-cp39-manylinux_2_17_x86_64.whl', False),
        ('numpy-2.3.4-cp312-cp312-musllinux_1_2_x86_64.whl', False),
        ('numpy-2.3.4-cp312-cp312-macosx_14_0_arm64.whl', False),
        ('numpy-2.3.4-cp312-cp312-win_amd64.whl', False),
    ],
)
def test_hashes_are_of_files_for_the_machines_that_are_supported(wheel, wanted):
    assert fits(wheel) is wanted


def test_source_is_taken_only_without_a_wheel():
    def file(name, value):
        return {'url': f'https://x/{name}', 'hashes': {'sha256': value}}

    wheels = [
        file('a-1-cp311-cp311-manylinux_2_28_x86_64.whl', 'bb'),
        file('a-1-cp311-cp311-win_amd64.whl', 'cc'),
        file('a-1-py3-none-any.whl', 'aa'),
    ]
    a = {'name': 'a', 'version': '1', 'wheels': wheels, 'sdist': file('a-1.tar.gz', 'dd')}
    b = {'name': 'b', 'version': '2', 'sdist': file('b-2.tar.gz', 'ee')}
    assert lines([{'packages': [b, a]}, {'packages': [a]}]) == [
        'a==1 --hash=sha256:aa --hash=sha256:bb',
        'b==2 --hash=sha256:ee',
    ]
    with pytest.raises(ValueError, match='c==3: no file to install'):
        lines([{'packages': [{'name': 'c', 'version': '3', 'wheels': wheels[1:2]}]}])


def set_up(checkout: Path, venv: Path) -> subprocess.CompletedProcess:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(('ROS', 'AMENT', 'MAKE'))}
    return subprocess.run(
        [checkout / 'scripts/setup.sh', 'server'],
        env=kept | {'VENV': str(venv), 'LOCKED': '1', 'CI': 'true'},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.mark.slow(reason='installs two environments from the package index')
@pytest.mark.timeout(1100)
def test_a_fresh_environment_is_made_by_hashes_and_a_changed_file_is_refused(tmp_path):
    checkout, venv = tmp_path / 'checkout', tmp_path / 'venv'
    for folder in ('scripts', 'requirements'):
        shutil.copytree(ROOT / folder, checkout / folder)
    file = checkout / 'requirements/hashes.txt'
    whole = file.read_text()
    # As if the index sent another msgpack than when the lock was made.
    file.write_text(re.sub(r'(?m)^(msgpack==\S+) .*$', rf'\1 --hash=sha256:{"0" * 64}', whole))
    refused = set_up(checkout, venv)
    assert refused.returncode != 0
    assert 'DO NOT MATCH THE HASHES' in refused.stdout + refused.stderr
    file.write_text(whole)
    done = set_up(checkout, venv)
    assert done.returncode == 0, done.stdout + done.stderr
    command = [venv / 'bin/python', '-c', 'import msgpack, websockets, rclpy']
    assert subprocess.run(command, check=False).returncode == 0
