# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""package.xml, setup.py, CMakeLists.txt and requirements say the same and cover every import."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import vla_adapter_ros
from rooms import is_ros

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = 'vla_adapter_ros'
INTERFACES = [path for kind in ('action', 'msg', 'srv') for path in ROOT.glob(f'{kind}/*.{kind}')]
# Import name → name of the distribution, where they differ.
DISTRIBUTIONS = {
    'PIL': 'pillow',
    'cv2': 'opencv-python-headless',
    'google_crc32c': 'google-crc32c',
    'pinocchio': 'pin',
    'rerun': 'rerun-sdk',
    'yaml': 'pyyaml',
}
# Which requirement groups a folder may count on.
GROUPS = {
    'data': {'core', 'train', 'viz'},
    'training': {'core', 'train'},
    'simulation': {'core', 'sim'},
    'lerobot_policy': {'core', 'sim'},
    'evaluation': {'core', 'sim', 'train', 'vla_eval'},
    'cameras': {'core', 'camera'},
    'server': {'core', 'server'},
    'nodes': {'core', 'sim', 'train', 'camera', 'server', 'viz'},
}
# Used only if the user has installed them for something else.
OPTIONAL = {'wandb', 'openvino', 'triton', 'lerobot'}
# Imported only by a benchmark's worker, in the interpreter of that benchmark.
OF_WORKERS = {'calvin_env', 'hydra', 'libero', 'omegaconf', 'robosuite'}
# Compared with in a benchmark where they happen to be installed.
ALTERNATIVES = {'datasets', 'lmdb', 'webdataset', 'zarr'}


def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / 'package.xml').getroot()


def dependencies(*kinds: str) -> set[str]:
    return {element.text for kind in kinds for element in manifest().iter(kind)}


def requirement_lines(group: str) -> list[str]:
    text = (ROOT / 'requirements' / f'{group}.txt').read_text(encoding='utf-8')
    lines = (line.split('#')[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def requirement_names(group: str) -> set[str]:
    return {normal(re.match(r'[A-Za-z0-9_.-]+', line)[0]) for line in requirement_lines(group)}


def normal(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()


def imports(folder: Path) -> dict[str, str]:
    """Third-party import name → a file that imports it."""
    found = {}
    for path in sorted(folder.rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in (full.split('.')[0] for full in names):
                if name not in sys.stdlib_module_names and name != PACKAGE:
                    found[name] = str(path.relative_to(ROOT))
    return found


LAYERS = sorted(path.parent.name for path in (ROOT / PACKAGE).glob('*/__init__.py'))


@pytest.mark.parametrize('layer', LAYERS)
def test_every_imported_library_is_in_its_requirement_groups(layer):
    available = set().union(*map(requirement_names, GROUPS.get(layer, {'core'})))
    missing = {
        name: where
        for name, where in imports(ROOT / PACKAGE / layer).items()
        if not is_ros(name)
        and name not in OPTIONAL | ALTERNATIVES | OF_WORKERS
        and normal(DISTRIBUTIONS.get(name, name)) not in available
    }
    assert missing == {}


def test_every_imported_ros_package_is_in_the_manifest():
    declared = dependencies('depend', 'exec_depend')
    used = {**imports(ROOT / PACKAGE / 'nodes'), **imports(ROOT / 'launch')}
    assert {n: w for n, w in used.items() if is_ros(n) and n not in declared} == {}


def test_every_message_dependency_is_found_by_cmake_and_declared():
    text = (ROOT / 'CMakeLists.txt').read_text()
    listed = set(re.search(r'DEPENDENCIES ([\w ]+)\n', text)[1].split())
    # Generated for every action: its goals have an identity and a status.
    used = {'action_msgs'}
    for path in INTERFACES:
        used |= set(re.findall(r'^(\w+)/\w+', path.read_text(), re.MULTILINE))
    assert listed == used
    assert listed <= set(re.findall(r'find_package\((\w+) REQUIRED\)', text))
    assert listed <= dependencies('depend')


def test_cmake_generates_every_interface_file():
    text = (ROOT / 'CMakeLists.txt').read_text()
    files = {f'{p.parent.name}/{p.name}' for p in INTERFACES}
    assert set(re.findall(r'"((?:action|msg|srv)/\w+\.\w+)"', text)) == files


def test_manifest_is_format_3_with_licence_and_one_version():
    root = manifest()
    assert root.get('format') == '3'
    assert root.find('license').text == 'Apache-2.0'
    assert root.find('version').text == vla_adapter_ros.__version__
    assert 'Apache License' in (ROOT / 'LICENSE').read_text()
    assert vla_adapter_ros.__version__ in (ROOT / 'CHANGELOG.rst').read_text()


def test_resource_marker_of_the_package_exists():
    assert (ROOT / 'resource' / PACKAGE).is_file()


def test_set_instruction_is_the_agreed_service():
    lines = (ROOT / 'srv' / 'SetInstruction.srv').read_text().splitlines()
    fields = [line.strip() for line in lines if line.strip() and not line.startswith('#')]
    assert fields == ['string instruction', '---', 'bool success', 'string message']


def test_each_executable_starts_an_existing_main():
    template = ROOT / 'scripts' / 'executable.in'
    assert template.read_text().startswith('#!/usr/bin/env python3\n')
    assert template.stat().st_mode & 0o111, 'configure_file hands on its permissions'
    lines = (ROOT / 'scripts' / 'executables.txt').read_text().splitlines()
    executables = dict(line.split() for line in lines if not line.startswith('#'))
    assert {'vla_adapter', 'bringup', 'preflight', 'recorder', 'teach'} <= set(executables)
    for module in executables.values():
        source = ROOT.joinpath(*module.split('.')).with_suffix('.py')
        functions = [n.name for n in ast.parse(source.read_text()).body if hasattr(n, 'name')]
        assert 'main' in functions, module


def pins(path: Path) -> dict[str, list[str]]:
    """Distribution → its pinned lines (one for each range of Python versions)."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith('#'):
            found.setdefault(normal(line.split('==')[0]), []).append(line)
    return found


def test_every_requirement_has_an_exact_version_for_every_python():
    packaging = pytest.importorskip('packaging.requirements')
    locked = pins(ROOT / 'requirements' / 'constraints.txt')
    groups = ('core', 'sim', 'train', 'camera', 'server', 'viz', 'test', 'ros-kilted', 'colcon')
    for name in set().union(*map(requirement_names, groups)):
        for version in ('3.10', '3.11', '3.12', '3.13', '3.14'):
            environment = {
                'python_version': version,
                'python_full_version': f'{version}.5',
                'sys_platform': 'linux',
                'platform_machine': 'x86_64',
            }
            fitting = []
            for line in locked.get(name, []):
                marker = packaging.Requirement(line).marker
                if marker is None or marker.evaluate(environment):
                    fitting.append(line)
            assert len(fitting) == 1, f'{name}, Python {version}: {fitting}'


def test_a_jetson_gets_the_versions_of_python_3_10_and_keeps_its_torch():
    jetson = pins(ROOT / 'requirements' / 'constraints-jetson.txt')
    assert requirement_names('core') - set(jetson) == {'torch'}
    beside_ros = (ROOT / 'requirements' / 'constraints-numpy1.txt').read_text()
    for (line,) in jetson.values():
        assert f'\n{line}' in beside_ros, line


def test_pinned_versions_satisfy_the_ranges():
    packaging = pytest.importorskip('packaging.requirements')
    for group in ('core', 'sim', 'train', 'server', 'test'):
        for line in requirement_lines(group):
            wanted = packaging.Requirement(line)
            for name in ('constraints.txt', 'constraints-numpy1.txt', 'constraints-jetson.txt'):
                for pin in pins(ROOT / 'requirements' / name).get(normal(wanted.name), []):
                    version = pin.split('==')[1].split(' ')[0].split(';')[0].strip()
                    assert wanted.specifier.contains(version), f'{name}: {pin} against {line}'


def test_versions_beside_numpy_1_are_those_that_run_with_it():
    # pyarrow 26 says in its metadata that any numpy will do, and is not imported with 1.26.
    locked = pins(ROOT / 'requirements' / 'constraints-numpy1.txt')
    assert locked['numpy'][0].startswith('numpy==1.26.')
    assert [int(line.split('==')[1].split('.')[0]) < 26 for line in locked['pyarrow']] == [True]


def test_make_help_lists_every_target():
    text = (ROOT / 'Makefile').read_text()
    phony = set(re.search(r'^\.PHONY: (.*)$', text, re.MULTILINE)[1].split())
    described = set(re.findall(r'^([a-z-]+):.*## ', text, re.MULTILINE))
    assert phony == described
