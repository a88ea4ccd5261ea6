# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the documents name exists: modules, files, links, make targets, settings, parameters."""

from __future__ import annotations

import dataclasses
import re
import typing
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from vla_adapter_ros.nodes.bringup.demonstrations import RECORD, TEACH
from vla_adapter_ros.nodes.bringup.nodes_to_start import ALICIA
from vla_adapter_ros.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.rst')),
    *sorted((ROOT / 'docs').glob('*.md')),
    *sorted((ROOT / 'vla_adapter_ros').rglob('*.md')),
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
# Run with `python -m` in the documents, and not ours.
FOREIGN = {'colcon', 'mujoco.viewer', 'pip', 'pytest', 'venv'}
TOP = (
    'action', 'benchmarks', 'config', 'docs', 'launch', 'msg', 'requirements', 'scripts', 'srv',
    'test',
)  # fmt: skip
# Options of other programs, of shell scripts, and of the tests.
FOREIGN_OPTIONS = {
    '--clock', '--dataset', '--duration', '--env', '--eval', '--feedback', '--help', '--include',
    '--index-url', '--list-formats-ext', '--local-dir', '--multi_gpu',
    '--no-deps', '--nproc-per-node', '--num_processes', '--once', '--packages-select', '--profile',
    '--quick', '--reload', '--rename_map', '--repo-type', '--rm', '--ros-args', '--strategy',
    '--system-site-packages',
}  # fmt: skip


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding='utf-8')


def code_of(text: str) -> str:
    """The code blocks and the `code` in the sentences, a line each."""
    blocks = re.findall(r'^```\w*\n(.*?)^```', text, re.M | re.S)
    blocks += re.findall(r'^ {4}(.+)$', text, re.M)
    rest = re.sub(r'^```\w*\n.*?^```', '', text, flags=re.M | re.S)
    return '\n'.join([*blocks, *re.findall(r'``?([^`]+)``?', rest)])


@cache
def anchors(page: Path) -> set[str]:
    """Headings as GitHub turns them into link targets."""
    found = re.findall(r'^#+ (.+)$', page.read_text(encoding='utf-8'), re.M)
    plain = (re.sub(r'[^\w\- ]', '', heading.lower()) for heading in found)
    return {heading.replace(' ', '-') for heading in plain}


def test_the_pages_are_there():
    assert {'README.md', 'docs/training.md', 'docs/safety.md', 'docs/glossary.md'} <= set(NAMES)


@pytest.mark.parametrize('name', NAMES)
def test_every_module_that_is_run_exists_and_can_be_run(name):
    modules = set(re.findall(r'(?:python3?|proc[-_]per[-_]node \d|num_processes \d) -m ([\w.]+)',
                             text_of(name)))  # fmt: skip
    for module in sorted(modules - FOREIGN):
        spec = find_spec(module)
        assert spec is not None, f'{name}: python -m {module}'
        if spec.submodule_search_locations is not None:
            spec = find_spec(f'{module}.__main__')
            assert spec is not None, f'{name}: python -m {module} has no __main__.py'
        elif spec.origin:
            assert '__main__' in Path(spec.origin).read_text(encoding='utf-8'), module


@pytest.mark.parametrize('name', NAMES)
def test_every_relative_link_leads_somewhere(name):
    page = ROOT / name
    for target in re.findall(r'\]\(([^)\s]+)\)', text_of(name)):
        if re.match(r'[a-z]+:', target):
            continue
        path, _, anchor = target.partition('#')
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f'{name}: {target}'
        if anchor:
            assert anchor in anchors(there), f'{name}: {target}'


@pytest.mark.parametrize('name', NAMES)
def test_every_file_that_is_named_exists(name):
    found = re.findall(rf'(?<![\w/.~-])(?:{"|".join(TOP)})/[\w./*{{}},-]*', code_of(text_of(name)))
    found += re.findall(r'(?<![\w/.~-])vla_adapter_ros/(?:\w+/)+[\w.]*', code_of(text_of(name)))
    for path in sorted({path.rstrip('.,') for path in found}):
        if re.match(r'vla_adapter_ros/(action|srv|msg)/', path):  # a ROS type
            path = f'{path.removeprefix("vla_adapter_ros/")}.{path.split("/")[1]}'
        assert any(existing(path)), f'{name}: {path}'


def existing(pattern: str) -> typing.Iterator[Path]:
    """Files and folders that match; `{a,b}` as in a shell."""
    if braces := re.search(r'\{([^}]*)\}', pattern):
        for part in braces[1].split(','):
            one = pattern[: braces.start()] + part + pattern[braces.end() :]
            assert any(existing(one)), one
        yield ROOT
    elif '*' in pattern:
        yield from ROOT.glob(pattern)
    elif (ROOT / pattern).exists():
        yield ROOT / pattern


@pytest.mark.parametrize('name', NAMES)
def test_every_python_file_of_a_room_exists(name):
    rooms = [path.parent.name for path in (ROOT / 'vla_adapter_ros').glob('*/__init__.py')]
    pattern = rf'`((?:{"|".join(rooms)})/[\w/]+\.py)`'
    for path in re.findall(pattern, text_of(name)):
        assert (ROOT / 'vla_adapter_ros' / path).is_file(), f'{name}: {path}'


@cache
def options() -> set[str]:
    """Command-line options in the code; `--random-` stands for all that begin so."""
    files = [*(ROOT / 'vla_adapter_ros').rglob('*.py'), *(ROOT / 'benchmarks').glob('*.py')]
    files += (ROOT / 'scripts').glob('*.py')
    pattern = r"'(--[\w-]+)['{]"
    return {option for file in files for option in re.findall(pattern, file.read_text('utf-8'))}


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'CHANGELOG.rst'])
def test_every_option_exists(name):
    named = set(re.findall(r'(?<![\w-])(--[a-z][\w-]*)', code_of(text_of(name))))
    begun = tuple(option for option in options() if option.endswith('-'))
    for option in sorted(named - FOREIGN_OPTIONS - options()):
        assert option.startswith(begun), f'{name}: {option}'


@pytest.mark.parametrize('name', NAMES)
def test_every_make_target_exists(name):
    targets = set(re.findall(r'^([a-z-]+):', text_of('Makefile'), re.M))
    pattern = r'^\s*(?:\w+=\S+ |\w+="[^"]*" )*make ([a-z-]+)'
    named = re.findall(pattern, code_of(text_of(name)), re.M)
    assert set(named) <= targets, name


@pytest.mark.parametrize('name', NAMES)
def test_every_launch_file_exists(name):
    for file in re.findall(r'(\w+\.launch\.py)', text_of(name)):
        assert (ROOT / 'launch' / file).is_file(), f'{name}: {file}'


@pytest.mark.parametrize('name', NAMES)
def test_every_executable_exists(name):
    lines = text_of('scripts/executables.txt').splitlines()
    known = {line.split()[0] for line in lines if line and not line.startswith('#')}
    assert set(re.findall(r'ros2 run vla_adapter_ros (\w+)', text_of(name))) <= known, name


@cache
def launch_arguments_and_parameters() -> set[str]:
    """Names that may stand before `:=`, of the launch files and of all nodes."""
    names = {'__node', '__ns'}
    for launch in (ALICIA, TEACH, RECORD):
        names |= {argument.name for argument in launch.arguments({})}
    pattern = r'^    (\w+): \w+ = (?:parameter|setting)\('
    for file in (ROOT / 'vla_adapter_ros').rglob('*.py'):
        names |= set(re.findall(pattern, file.read_text('utf-8'), re.M))
    return names


@pytest.mark.parametrize('name', NAMES)
def test_every_launch_argument_and_parameter_exists(name):
    named = set(re.findall(r'(\w+):=', text_of(name)))
    assert named <= launch_arguments_and_parameters(), name


@pytest.mark.parametrize('name', NAMES)
def test_every_setting_of_a_recipe_exists(name):
    keys = re.findall(r'(?<![\w./-])([a-z]+(?:\.[a-z_]+)+)=', code_of(text_of(name)))
    for key in sorted(set(keys)):
        assert setting_exists(key), f'{name}: {key}'


def setting_exists(key: str) -> bool:
    """Whether a dotted key leads to a field; below a free-form mapping everything goes."""
    kind: object = TrainConfig
    for part in key.split('.'):
        if not dataclasses.is_dataclass(kind):
            return typing.get_origin(kind) is dict
        hints = typing.get_type_hints(kind)
        if part not in hints:
            return False
        kind = hints[part]
    return True


@pytest.mark.parametrize('name', NAMES)
def test_checkpoints_have_the_names_that_a_run_gives_them(name):
    found = re.findall(r'\bruns/\w+/checkpoints/([\w-]+)', text_of(name))
    assert all(re.fullmatch(r'best|step-\d{8}', folder) for folder in found), (name, found)


def test_every_message_that_is_explained_is_in_the_code():
    rooms = ('control', 'preflight', 'robot', 'nodes/common', 'nodes/policy')
    files = (file for room in rooms for file in (ROOT / 'vla_adapter_ros' / room).glob('*.py'))
    code = re.sub(r"'\s*\n\s*f?'", '', '\n'.join(file.read_text('utf-8') for file in files))
    page = text_of('docs/safety.md')
    tables = re.findall(r'^\| the sentence contains \|.*?\n\n', page, re.M | re.S)
    rows = [line for table in tables for line in table.splitlines()[2:] if line]
    assert len(rows) > 15
    for message in re.findall(r'`([^`]+)`', '\n'.join(row.split('|')[1] for row in rows)):
        # The name of an input is filled in.
        pattern = re.escape(message).replace(r'wrist\ image', r'\{[^}]*\}')
        assert re.search(pattern, code), message


def test_the_parameters_of_the_readme_are_the_node_s():
    content = yaml.safe_load(text_of('config/alicia.yaml'))
    shipped = content['/**/vla_adapter']['ros__parameters']
    table = text_of('README.md').partition('| parameter | default |')[2].partition('\n\n')[0]
    rows = [line.split('|')[1:3] for line in table.splitlines() if line.startswith('| `')]
    assert len(rows) > 5
    for cells in rows:
        names, defaults = (re.findall(r'`([^`]+)`', cell) for cell in cells)
        for parameter, default in zip(names, cycle_last(defaults)):
            assert shipped[parameter] == yaml.safe_load(default), parameter


def cycle_last(values: list[str]) -> typing.Iterator[str]:
    """The values, and then the last one forever: two parameters may share a default."""
    yield from values
    while True:
        yield values[-1]
