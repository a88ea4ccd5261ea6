# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Layers import downward only, ROS stays in nodes/, and cheap modules stay cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = 'vla_adapter_ros'
ROOT = Path(__file__).resolve().parent.parent / PACKAGE
# What each layer may import besides itself; `errors` is free to all.
BELOW = {
    'model': set(),
    'processing': {'model'},
    'runtime': {'model', 'processing'},
    'cameras': {'processing'},
    'data': {'model', 'processing', 'runtime'},
    'simulation': {'model', 'processing', 'runtime', 'data'},
    'evaluation': {'model', 'processing', 'runtime', 'data', 'simulation'},
    'training': {'model', 'processing', 'runtime', 'data', 'simulation', 'evaluation'},
    'nodes': {'model', 'processing', 'runtime', 'cameras', 'data', 'simulation'}
    | {'evaluation', 'training', 'msg', 'srv'},
}
ROS_MODULES = {'rclpy', 'launch', 'launch_ros', 'ament_index_python', 'cv_bridge', 'std_srvs'}
# Import name → layers that may import it when they are imported; all may inside a function.
HEAVY = {
    'torch': {'model', 'processing', 'runtime', 'training', 'evaluation'},
    'transformers': {'model', 'training'},
    'mujoco': {'simulation', 'nodes'},
    'pinocchio': {'simulation'},
    'matplotlib': set(),
    'pandas': set(),
    'av': {'data'},
    'peft': set(),
}
# Imported by `--help`, by the launch file, or on machines without torch.
CHEAP = (
    f'{PACKAGE}.errors',
    f'{PACKAGE}.runtime.contract',
    f'{PACKAGE}.runtime.chunk',
    f'{PACKAGE}.processing.observation',
    f'{PACKAGE}.processing.images',
    f'{PACKAGE}.nodes.bringup_plan',
)


class Import:
    """One import statement: where, of what, and whether it runs when the module is imported."""

    def __init__(self, path: Path, line: int, module: str, at_import: bool):
        self.layer = layer_of(path)
        self.module = module
        self.top = module.split('.')[0]
        self.at_import = at_import
        self.where = f'{path.relative_to(ROOT.parent)}:{line} imports {module}'

    @property
    def target_layer(self) -> str:
        parts = self.module.split('.')
        return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else ''


def layer_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else ''


def imports_of(path: Path, source: str | None = None) -> list[Import]:
    tree = ast.parse(path.read_text(encoding='utf-8') if source is None else source)
    inside_functions = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        for module in imported_modules(node, path):
            found.append(Import(path, node.lineno, module, id(node) not in inside_functions))
    return found


def imported_modules(node: ast.AST, path: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    module = node.module or ''
    if node.level:
        package = (PACKAGE, *path.relative_to(ROOT).parts[:-1])
        base = package[: len(package) - node.level + 1]
        module = '.'.join((*base, module)).rstrip('.')
    if module == PACKAGE:
        # `from vla_adapter_ros import runtime`
        return [f'{PACKAGE}.{a.name}' for a in node.names if not a.name.startswith('__')]
    return [module]


ALL = [i for path in sorted(ROOT.rglob('*.py')) for i in imports_of(path)]


def is_ros(name: str) -> bool:
    return name in ROS_MODULES or name.endswith(('_msgs', '_interfaces'))


def violations(imports: list[Import]) -> list[str]:
    found = []
    for item in imports:
        target, layer = item.target_layer, item.layer
        if target and target not in ('errors', layer) and target not in BELOW.get(layer, set()):
            found.append(item.where)
        if layer != 'nodes' and is_ros(item.top):
            found.append(item.where)
        if item.at_import and layer not in HEAVY.get(item.top, {layer}):
            found.append(f'{item.where} at module level; import it where it is used')
    return found


def test_layers_import_downward_only_and_ros_stays_in_nodes():
    assert len(ALL) > 100
    assert violations(ALL) == []


def test_every_folder_is_a_known_layer():
    folders = {path.parent.name for path in ROOT.glob('*/__init__.py')}
    assert folders <= set(BELOW)


@pytest.mark.parametrize(
    ('layer', 'statement'),
    [
        ('model', 'from vla_adapter_ros.processing.observation import Observation'),
        ('model', 'from ..runtime import chunk'),
        ('processing', 'from vla_adapter_ros import runtime'),
        ('runtime', 'import rclpy'),
        ('runtime', 'def f():\n    from sensor_msgs.msg import Image'),
        ('training', 'from vla_adapter_ros.nodes.bringup_plan import plan'),
        ('evaluation', 'from vla_adapter_ros.msg import ActionChunk'),
        ('data', 'import torch'),
        ('nodes', 'import matplotlib.pyplot as plt'),
    ],
)
def test_a_forbidden_import_is_found(layer, statement):
    assert len(violations(imports_of(ROOT / layer / 'x.py', statement))) == 1


@pytest.mark.parametrize(
    ('layer', 'statement'),
    [
        ('nodes', 'from vla_adapter_ros.srv import SetInstruction'),
        ('nodes', 'def f():\n    import matplotlib'),
        ('runtime', 'from vla_adapter_ros.model.vla import VLAAdapter'),
        ('model', 'from .bridge import Bridge'),
    ],
)
def test_an_allowed_import_passes(layer, statement):
    assert violations(imports_of(ROOT / layer / 'x.py', statement)) == []


@pytest.mark.parametrize('module', CHEAP)
def test_cheap_modules_pull_in_no_heavy_library(module):
    code = f'import sys, {module}; print(*sys.modules)'
    run = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT.parent, check=True
    )
    loaded = {name.split('.')[0] for name in run.stdout.split()}
    assert PACKAGE in loaded
    assert loaded.isdisjoint({*HEAVY, 'rclpy', 'cv2'})
