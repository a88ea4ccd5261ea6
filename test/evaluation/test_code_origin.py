# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A report names the code it was made with: a revision to look up, a fingerprint to go by."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import rooms
from vla_adapter_ros.evaluation import code_origin
from vla_adapter_ros.evaluation.code_origin import DECIDING, NODES, UNKNOWN

revision, fingerprint = code_origin.code_revision.__wrapped__, code_origin.code_fingerprint
# Imported, and without a say: only replays of a dataset need it, or messages.
INDIFFERENT = {'data', 'errors.py', 'plain_yaml.py'}


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A package with some of its files, below a folder without git."""
    package = tmp_path / 'top' / 'package'
    for name in ('simulation/goals.py', 'simulation/arm.xml', 'evaluation/rollout.py',
                 'evaluation/report.py', 'nodes/policy/policy_node.py'):  # fmt: skip
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text('x = 1\n')
    return package


def commit(top: Path) -> str:
    def git(*words: str) -> str:
        identity = ['-c', 'user.name=x', '-c', 'user.email=x@example.com']
        command = ['git', '-C', str(top), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git('init', '-q')
    git('add', '-A')
    git('commit', '-q', '-m', 'x')
    return git('rev-parse', 'HEAD')


def test_the_revision_is_that_of_the_checkout_with_a_plus_for_changes(checkout, monkeypatch):
    head = commit(checkout.parent)
    # As in a hook of another repository.
    monkeypatch.setenv('GIT_DIR', '/nowhere')
    assert revision(checkout) == head[:10]
    (checkout / 'evaluation' / 'rollout.py').write_text('x = 2\n')
    assert revision(checkout) == head[:10] + '+'


def test_without_a_checkout_or_git_the_revision_is_unknown(checkout, monkeypatch):
    assert revision(checkout) == UNKNOWN
    # Installed into an environment that lies in somebody's repository.
    commit(checkout.parent.parent)
    assert revision(checkout) == UNKNOWN
    (checkout.parent / '.git').write_text('damaged')
    assert revision(checkout) == UNKNOWN
    commit_of_its_own = checkout.parent / '.git'
    commit_of_its_own.unlink()
    commit(checkout.parent)
    assert revision(checkout) != UNKNOWN
    monkeypatch.setenv('PATH', '')
    assert revision(checkout) == UNKNOWN


@pytest.mark.parametrize(
    ('name', 'in_process', 'through_nodes'),
    [
        ('simulation/goals.py', True, True),
        ('simulation/arm.xml', True, True),
        ('simulation/new.py', True, True),
        ('evaluation/rollout.py', True, True),
        ('evaluation/report.py', False, False),
        ('simulation/__pycache__/goals.pyc', False, False),
        ('nodes/policy/policy_node.py', False, True),
    ],
)
def test_the_fingerprint_changes_with_what_decides_an_episode(
    checkout, name, in_process, through_nodes
):
    def both() -> tuple[str, str]:
        fingerprint.cache_clear()
        return fingerprint(False, checkout), fingerprint(True, checkout)

    before = both()
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_text('x = 3\n')
    after = both()
    fingerprint.cache_clear()
    assert [a != b for a, b in zip(before, after, strict=True)] == [in_process, through_nodes]


def modules_of(start: str) -> set[str]:
    """Return the files below the package that a module imports, and those that these import."""
    graph: dict[str, set[str]] = {}
    for item in rooms.all_imports():
        if not item.for_types and rooms.is_module(item.module):
            graph.setdefault(rooms.module_name(item.path), set()).add(item.module)
    found, todo = set(), [f'{rooms.PACKAGE}.{start}']
    while todo:
        if (name := todo.pop()) not in found:
            found.add(name)
            todo += graph.get(name, ())
    files = {'/'.join(name.split('.')[1:]) + '.py' for name in found}
    return {file for file in files if (code_origin.PACKAGE / file).is_file()}


def test_the_fingerprint_is_of_all_that_an_episode_imports():
    assert all((code_origin.PACKAGE / part).exists() for part in (*DECIDING, *NODES))
    for module in modules_of('evaluation.rollout') - {'evaluation/film.py'}:
        if (room := module.partition('/')[0]) not in INDIFFERENT:
            assert module in DECIDING or room in DECIDING, module
