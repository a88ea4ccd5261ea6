# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The parts of the suite: the unit part needs no ROS, and rigs do not share a domain."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from rooms import is_ros
from support import ros_harness

TESTS = Path(__file__).resolve().parents[1]


def imported(path: Path) -> set[str]:
    """Modules that a file imports when it is imported, support modules followed."""
    found = set()
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f'{node.module}.{alias.name}' for alias in node.names)}
    for name in sorted(found):
        module = TESTS.joinpath(*name.split('.')).with_suffix('.py')
        if name.startswith('support.') and module.is_file():
            found |= imported(module)
    return found


def needs_ros(module: str) -> bool:
    generated = tuple(f'vla_adapter_ros.{kind}' for kind in ('action', 'msg', 'srv'))
    return module.startswith(generated) or is_ros(module)


UNIT = sorted(path for path in TESTS.rglob('test_*.py') if TESTS / 'nodes' not in path.parents)


@pytest.mark.parametrize('path', UNIT, ids=lambda path: str(path.relative_to(TESTS)))
def test_unit_tests_are_collected_without_ros(path):
    assert {name for name in imported(path) if needs_ros(name)} == set()


def test_imports_of_support_modules_are_seen():
    assert 'rclpy' in imported(TESTS / 'nodes' / 'policy' / 'test_fault_injection.py')


# Not the names in use: tests beside this one need their domains.
NAME = 'vla_adapter_ros test of domains {}'
HOLD = f"""
import sys
from support import ros_harness
ros_harness._NAME = {NAME!r}
held = [ros_harness.reserve_domain() for _ in range(50)]
print(*(domain for domain, _ in held), flush=True)
sys.stdin.read()
"""


def test_domains_of_two_processes_are_disjoint_and_free_again_afterwards(monkeypatch):
    monkeypatch.setattr(ros_harness, '_NAME', NAME)
    other = subprocess.Popen(
        [sys.executable, '-c', HOLD], cwd=TESTS, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    theirs = {int(word) for word in other.stdout.readline().split()}
    held = [ros_harness.reserve_domain() for _ in range(51)]
    assert {domain for domain, _ in held} | theirs == set(ros_harness.DOMAINS)
    with pytest.raises(RuntimeError, match='every ROS domain is reserved'):
        ros_harness.reserve_domain()
    other.communicate('')
    domain, reservation = ros_harness.reserve_domain()
    assert domain in theirs
    for _, one in [*held, (domain, reservation)]:
        one.close()
