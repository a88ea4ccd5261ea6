# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`pip install .[train]`: everything but the ROS nodes, for machines without ROS.

On a robot the package is built by colcon (CMakeLists.txt), which also generates the messages.
"""

from __future__ import annotations

import ast
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
PACKAGE = 'vla_adapter_ros'
EXTRAS = ('sim', 'train', 'camera', 'server', 'viz', 'export', 'vla_eval')
IN_ALL = ('sim', 'train', 'camera', 'server', 'viz')
DATA_SUFFIXES = (
    '.html', '.json', '.jsonl', '.md', '.npz', '.png', '.rules', '.rviz', '.safetensors', '.txt',
    '.urdf', '.xml', '.yaml',
)  # fmt: skip


def read_version() -> str:
    """Return `__version__` of the package without importing it."""
    source = (HERE / PACKAGE / '__init__.py').read_text(encoding='utf-8')
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '__version__':
            return ast.literal_eval(node.value)
    raise RuntimeError(f'{PACKAGE}/__init__.py has no __version__')


def read_requirements(group: str) -> list[str]:
    """Return the requirements of one group, without comments."""
    lines = (HERE / 'requirements' / f'{group}.txt').read_text(encoding='utf-8').splitlines()
    bare = (line.split('#')[0].strip() for line in lines)
    return [line for line in bare if line]


def data_files(folder: Path) -> list[str]:
    """Return the data files below a folder, relative to it."""
    found = (path for path in folder.rglob('*') if path.suffix in DATA_SUFFIXES)
    return sorted(str(path.relative_to(folder)) for path in found)


extras = {name: read_requirements(name) for name in EXTRAS}
extras['all'] = sorted({line for name in IN_ALL for line in extras[name]})
modules = find_packages(include=[PACKAGE, f'{PACKAGE}.*'], exclude=[f'{PACKAGE}.nodes*'])

setup(
    version=read_version(),
    # config/ is installed inside the module, where robot/contract.py looks for robots.
    packages=[*modules, f'{PACKAGE}.config'],
    package_dir={f'{PACKAGE}.config': 'config'},
    package_data={
        PACKAGE: data_files(HERE / PACKAGE),
        f'{PACKAGE}.config': data_files(HERE / 'config'),
    },
    install_requires=read_requirements('core'),
    extras_require=extras,
)
