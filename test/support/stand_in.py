# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Executables in place of the interpreters that have a benchmark's simulator."""

import sys
import textwrap
from pathlib import Path


def interpreter(folder: Path, program: str) -> str:
    """Return an executable that runs `program` where a worker's interpreter would be started."""
    path = folder / 'python'
    path.write_text(f'#!{sys.executable}\n' + textwrap.dedent(program))
    path.chmod(0o755)
    return str(path)
