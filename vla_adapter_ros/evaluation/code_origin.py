# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Which code an evaluation ran: the revision of its checkout, and what decides an episode.

The revision tells a reader where to look. What is run again follows from the fingerprint instead:
most revisions change nothing that an episode sees, and changes without a revision may.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import vla_adapter_ros

# A workspace has links to the files of its checkout.
PACKAGE = Path(vla_adapter_ros.__file__).resolve().parent
UNKNOWN = 'unknown'
# What an episode in process imports, but the reading of datasets and of calibrations.
DECIDING = (
    'architecture', 'control', 'inference', 'model', 'motion', 'processing', 'robot', 'simulation',
    'weights', 'evaluation/policies.py', 'evaluation/replay.py', 'evaluation/rollout.py',
    'evaluation/simulate.py', 'evaluation/simulated_node.py',
)  # fmt: skip
# What comes to it through the nodes.
NODES = ('nodes/bringup', 'nodes/common', 'nodes/policy', 'nodes/simulation')
SUFFIXES = ('.py', '.xml')
_GIT_TIMEOUT_S = 5.0


@lru_cache
def code_revision(package: Path = PACKAGE) -> str:
    """Return the short hash of the checkout that the package lies in, with `+` if it has changes.

    Files that git does not know are no changes. `unknown` where the package is installed elsewhere
    or git does not answer.

    Args:
        package: folder of the package, at the top of its checkout.
    """
    top = package.parent
    # Not that of an environment which lies in somebody's repository.
    if not (top / '.git').exists():
        return UNKNOWN
    describe = ['describe', '--always', '--exclude=*', '--abbrev=10', '--dirty=+']
    # A hook of git names another repository there.
    environment = {key: v for key, v in os.environ.items() if not key.startswith('GIT_')}
    try:
        run = subprocess.run(
            ['git', '--no-optional-locks', '-C', str(top), *describe], capture_output=True,
            text=True, check=True, timeout=_GIT_TIMEOUT_S, env=environment,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.SubprocessError):
        return UNKNOWN
    return run.stdout.strip() or UNKNOWN


@lru_cache
def code_fingerprint(nodes: bool = False, package: Path = PACKAGE) -> str:
    """Return 16 hexadecimal digits that change when the code does that decides an episode.

    As this process found it when it first asked: what changes on disk later does not run here.

    Args:
        nodes: whether the episodes run through the nodes.
        package: folder of the package.
    """
    digest = hashlib.sha256()
    for path in _sources(package, (*DECIDING, *(NODES if nodes else ()))):
        content = path.read_bytes()
        digest.update(f'{path.relative_to(package).as_posix()}:{len(content)}:'.encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _sources(package: Path, parts: Iterable[str]) -> list[Path]:
    places = [package / part for part in parts]
    found = [f for p in places for f in ([p] if p.is_file() else p.rglob('*')) if f.is_file()]
    return sorted(path for path in found if path.suffix in SUFFIXES)
