# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Rooms import downward only and in no circle, ROS stays in nodes/, cheap modules stay cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rooms

ROOT = rooms.ROOT / rooms.PACKAGE
# Import name → rooms that may import it when they are imported; all may inside a function.
HEAVY = {
    'torch': {
        'weights', 'model', 'processing', 'inference', 'training', 'evaluation', 'lerobot_policy',
    },
    'lerobot': {'lerobot_policy'},
    'transformers': {'weights', 'model', 'training'},
    'mujoco': {'simulation', 'nodes'},
    'pinocchio': {'simulation'},
    'matplotlib': set(),
    'pandas': set(),
    'av': {'data'},
}  # fmt: skip
# Imported by `--help`, by the launch file, or on machines without torch.
CHEAP = (
    'errors',
    'architecture.config',
    'robot.contract',
    'inference.chunk',
    'processing.observation',
    'processing.images',
    'nodes.bringup.nodes_to_start',
)


@pytest.fixture(scope='module')
def imports() -> list:
    return rooms.all_imports()


def violations(imports: list) -> list[str]:
    found = [f'not downward: {item}' for item in rooms.upward(imports)]
    ros = (item for item in imports if item.room != 'nodes' and rooms.is_ros(item.module))
    found += [f'ROS: {item}' for item in ros]
    for item in imports:
        top = item.module.split('.')[0]
        if not item.in_function and item.room not in HEAVY.get(top, {item.room}):
            found.append(f'{item} at module level; import it where it is used')
    return found


def test_rooms_import_downward_only_and_ros_stays_in_nodes(imports):
    assert len(imports) > 1000
    assert violations(imports) == []


def test_no_modules_import_each_other_in_a_circle(imports):
    assert rooms.circles(imports) == []


def test_every_folder_is_a_known_room_and_none_is_full():
    folders = {path.parent.name for path in ROOT.glob('*/__init__.py')}
    assert folders == set(rooms.ROOMS)
    assert rooms.full_folders() == []


def test_the_diagram_of_the_rooms_is_current(imports):
    page = rooms.PAGE.read_text(encoding='utf-8')
    assert rooms.replaced(page, rooms.diagram(imports)) == page, 'run python scripts/rooms.py'


@pytest.mark.parametrize(
    ('room', 'statement'),
    [
        ('model', 'from vla_adapter_ros.processing.observation import Observation'),
        ('model', 'from ..inference import chunk'),
        ('model', 'def f():\n    from vla_adapter_ros.robot.contract import RobotContract'),
        ('weights', 'from vla_adapter_ros.model.vla import VLAAdapter'),
        ('processing', 'from vla_adapter_ros import inference'),
        ('control', 'import rclpy'),
        ('motion', 'def f():\n    from sensor_msgs.msg import Image'),
        ('training', 'from vla_adapter_ros.nodes.bringup.nodes_to_start import ALICIA'),
        ('evaluation', 'from vla_adapter_ros.msg import ActionChunk'),
        ('data', 'import torch'),
        ('nodes', 'import matplotlib.pyplot as plt'),
    ],
)
def test_a_forbidden_import_is_found(room, statement):
    assert len(violations(rooms.imports_of(ROOT / room / 'x.py', statement))) == 1


@pytest.mark.parametrize(
    ('room', 'statement'),
    [
        ('nodes', 'from vla_adapter_ros.srv import SetInstruction'),
        ('nodes', 'def f():\n    import matplotlib'),
        ('inference', 'from vla_adapter_ros.model.vla import VLAAdapter'),
        ('model', 'from .bridge import Bridge'),
        ('data', 'from vla_adapter_ros.errors import DatasetError'),
    ],
)
def test_an_allowed_import_passes(room, statement):
    assert violations(rooms.imports_of(ROOT / room / 'x.py', statement)) == []


@pytest.mark.parametrize('indent', ['', 'def f():\n    '])
def test_a_circle_of_three_is_found_also_through_functions(indent):
    chain = ['motion.plan', 'motion.hermite', 'motion.latency']
    imports = []
    for name, after in zip(chain, [*chain[1:], chain[0]], strict=True):
        path = ROOT.joinpath(*name.split('.')).with_suffix('.py')
        imports += rooms.imports_of(path, f'{indent}import vla_adapter_ros.{after}')
    assert rooms.circles(imports) == [sorted(f'vla_adapter_ros.{name}' for name in chain)]
    assert rooms.circles(imports[:-1]) == []


def test_imports_for_type_checkers_make_no_circle():
    text = 'if TYPE_CHECKING:\n    from vla_adapter_ros.motion.plan import JointPlan'
    back = rooms.imports_of(ROOT / 'motion' / 'hermite.py', text)
    there = rooms.imports_of(ROOT / 'motion' / 'plan.py', 'import vla_adapter_ros.motion.hermite')
    assert rooms.circles([*back, *there]) == []


def test_cheap_modules_pull_in_no_heavy_library():
    code = ''.join(f'import {rooms.PACKAGE}.{module}\n' for module in CHEAP)
    run = subprocess.run(
        [sys.executable, '-X', 'importtime', '-c', code],  # tells on stderr who imports what
        capture_output=True, text=True, cwd=rooms.ROOT, check=True,
    )  # fmt: skip
    loaded = {line.rpartition('|')[2].strip().partition('.')[0] for line in run.stderr.split('\n')}
    assert rooms.PACKAGE in loaded
    assert loaded.isdisjoint({*HEAVY, 'rclpy', 'cv2'}), run.stderr
