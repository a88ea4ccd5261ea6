# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Small text and JSON files: a crash while writing leaves the old file or the new one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import CheckpointError, VLAAdapterError


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically."""
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with temporary.open('w', encoding='utf-8') as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Replace a JSON file atomically."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + '\n')


def read_json(path: Path, error: type[VLAAdapterError] = CheckpointError) -> Any:
    """Return a JSON file's data. Raises `error`, naming the file, if missing or malformed."""
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except OSError as problem:
        raise error(f'{path}: cannot be read: {problem.strerror}') from problem
    except ValueError as problem:
        raise error(f'{path}: cannot be read as JSON: {problem}') from problem


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a checkpoint's file.

    Raises:
        CheckpointError: the file is missing, malformed, or holds something else.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise CheckpointError(f'{path}: expected a JSON object, got {type(data).__name__}')
    return data
