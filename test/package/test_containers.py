# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Dockerfile, compose file and devcontainer: what they name exists, and the steps can be run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / 'Dockerfile'
GUIDE = (ROOT / 'docs' / 'containers.md').read_text()


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions as (word, rest), in order."""
    text = re.sub(r'^#.*\n', '', DOCKERFILE.read_text(), flags=re.MULTILINE)
    text = text.replace('\\\n', '')
    return [tuple(line.split(' ', 1)) for line in text.splitlines() if line.strip()]


def services() -> dict[str, dict]:
    return yaml.safe_load((ROOT / 'compose.yaml').read_text())['services']


def test_what_the_dockerfile_copies_and_starts_exists():
    for word, rest in instructions():
        if word == 'COPY':
            assert (ROOT / rest.split()[0]).exists(), rest
    entry = json.loads(dict(instructions())['ENTRYPOINT'])
    folder = dict(instructions())['WORKDIR']
    script = ROOT / Path(entry[0]).relative_to(folder)
    assert os.access(script, os.X_OK)


def test_every_argument_and_variable_is_described():
    for word, rest in instructions():
        if word == 'ARG':
            assert f'`{rest.split("=")[0]}`' in GUIDE
    text = (ROOT / 'compose.yaml').read_text()
    names = set(re.findall(r'\$\{(\w+)', text)) - {'IMAGE'}
    for service in services().values():
        names |= set(service.get('environment', ()))
    assert {name for name in names if f'`{name}`' not in GUIDE} == set()


def test_services_run_executables_of_the_package_and_stop_as_nodes_do():
    lines = (ROOT / 'scripts' / 'executables.txt').read_text().splitlines()
    executables = {line.split()[0] for line in lines if not line.startswith('#')}
    for name, service in services().items():
        if 'extends' in service:
            assert service['extends']['service'] in services()
            continue
        command = service['command']
        first = command[0] if isinstance(command, list) else re.sub(r'\$\{\w+:-|\}', '', command)
        assert first in executables, name
        assert service['profiles'], f'{name}: nothing starts unasked'
        assert service['restart'] == 'no', name
        assert service['stop_signal'] == 'SIGINT', name
        assert service['network_mode'] == service['ipc'] == 'host', name


def test_arguments_of_bringup_are_real():
    from vla_adapter_ros.nodes.bringup.bringup import ALICIA

    known = {argument.name for argument in ALICIA.arguments({})}
    for service in services().values():
        command = service.get('command', ())
        for argument in command[1:] if command and command[0] == 'bringup' else ():
            assert argument.split(':=')[0] in known, argument


def test_the_devcontainer_builds_the_same_dockerfile():
    content = json.loads((ROOT / '.devcontainer' / 'devcontainer.json').read_text())
    assert (ROOT / '.devcontainer' / content['build']['dockerfile']).resolve() == DOCKERFILE
    known = {rest.split('=')[0] for word, rest in instructions() if word == 'ARG'}
    assert set(content['build']['args']) <= known


@pytest.mark.linter
def test_hadolint_is_content():
    if not shutil.which('hadolint'):
        pytest.skip('hadolint is not installed')
    run = subprocess.run(['hadolint', DOCKERFILE], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


@pytest.mark.slow(reason='installs 2 GB of packages: 3 to 15 minutes')
@pytest.mark.timeout(2400)
def test_the_steps_of_the_dockerfile_on_plain_debian(tmp_path):
    """Every RUN of base debian:bookworm, in a folder of its own; then the entry point."""
    folder = tmp_path / 'image'
    folder.mkdir()
    ours = ('ROS', '_ROS', 'AMENT', 'CMAKE', 'COLCON', 'VENV', 'VIRTUAL', 'PYTHON', 'LD_', 'VLA_')
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    own = [p for p in environment['PATH'].split(':') if '.venv' not in p and '/install/' not in p]
    environment |= {'PATH': ':'.join(own), 'CI': '1', 'DEVICE': 'cpu', 'GROUPS_WANTED': 'core'}
    files = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard'],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split('\n')  # fmt: skip
    for word, rest in instructions():
        if word == 'COPY':
            source = rest.split()[0]
            for name in files:
                if name and (source == '.' or name.startswith(f'{source}/')):
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, folder / name)
        elif word == 'RUN':
            # What removes apt's lists is for images.
            step = rest.replace('rm -rf /var/lib/apt/lists/*', 'true')
            run = subprocess.run(
                ['bash', '-euo', 'pipefail', '-c', step],
                cwd=folder, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert run.returncode == 0, f'{step}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}'
    code = 'import vla_adapter_ros.msg, torch'
    for command in (['usb_camera', '--help'], ['python', '-c', code]):
        run = subprocess.run(
            [folder / 'scripts' / 'container.sh', *command],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
