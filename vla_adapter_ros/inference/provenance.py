# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A short name for the content of a checkpoint, quick to compute for gigabytes of weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

SAMPLE_BYTES = 1 << 20
SUFFIXES = ('.safetensors', '.pt', '.json')


def checkpoint_fingerprint(directory: str | Path) -> str:
    """Return 16 hexadecimal digits that change when the checkpoint does.

    Hashes each file's name, size, and first and last mebibyte: the first has the tensors' layout
    and our own checkpoint id, the last has weights.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(directory).expanduser().iterdir()):
        if path.suffix not in SUFFIXES or path.name.startswith('.'):
            continue
        size = path.stat().st_size
        digest.update(f'{path.name}:{size}:'.encode())
        with path.open('rb') as file:
            digest.update(file.read(SAMPLE_BYTES))
            if size > SAMPLE_BYTES:
                file.seek(max(SAMPLE_BYTES, size - SAMPLE_BYTES))
                digest.update(file.read())
    return digest.hexdigest()[:16]
