# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The kind, metadata and fingerprint of a checkpoint directory. No torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vla_adapter_ros.errors import CheckpointError, readable
from vla_adapter_ros.weights.files import read_json_object
from vla_adapter_ros.weights.metadata import METADATA_FILE, CheckpointMetadata
from vla_adapter_ros.weights.official import STATISTICS_FILE, is_official, read_official_metadata
from vla_adapter_ros.weights.released import model_folder

FINGERPRINT_SUFFIXES = ('.safetensors', '.pt', '.bin', '.json')
# What training and evaluation write beside a checkpoint; a report names the fingerprint itself.
BESIDE = ('report', 'score', 'training_state')
SAMPLE_BYTES = 1 << 20


def read_checkpoint_metadata(directory: str | Path) -> CheckpointMetadata:
    """Read a checkpoint directory's metadata, without torch and without its weights.

    Works for our own format and for official directories, and for those on the Hub.

    Raises:
        CheckpointError: the directory is missing, or is no checkpoint of either kind.
    """
    directory = model_folder(directory)
    if not directory.is_dir():
        raise CheckpointError(f'checkpoint {directory}: no such directory')
    with readable(f'checkpoint {directory}', CheckpointError):
        if (directory / METADATA_FILE).is_file():
            return CheckpointMetadata.from_dict(
                read_json_object(directory / METADATA_FILE), str(directory / METADATA_FILE)
            )
        if is_official(directory):
            return read_official_metadata(directory)
    raise CheckpointError(
        f'checkpoint {directory}: neither {METADATA_FILE} (own format) nor config.json (official)'
    )


def missing_statistics(directory: str | Path) -> str:
    """Return what is wrong with a checkpoint without dataset statistics, and the way out."""
    if (Path(directory) / METADATA_FILE).is_file():
        return (
            f"no dataset statistics: {METADATA_FILE} has none in 'statistics'; take a checkpoint "
            'of a training run, or save with save_pretrained(…, statistics=…)'
        )
    return (
        f'no dataset statistics: {STATISTICS_FILE} is missing or empty, and config.json has no '
        'norm_stats; copy it from the folder that training wrote'
    )


def checkpoint_fingerprint(directory: str | Path) -> str:
    """Return 16 hexadecimal digits that change when the checkpoint does.

    Hashes each file's name, size, and first and last mebibyte: the first has the tensors' layout
    and our own checkpoint id, the last has weights.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(directory).expanduser().iterdir()):
        if path.suffix not in FINGERPRINT_SUFFIXES or path.name.startswith(('.', *BESIDE)):
            continue
        size = path.stat().st_size
        digest.update(f'{path.name}:{size}:'.encode())
        with path.open('rb') as file:
            digest.update(file.read(SAMPLE_BYTES))
            if size > SAMPLE_BYTES:
                file.seek(max(SAMPLE_BYTES, size - SAMPLE_BYTES))
                digest.update(file.read())
    return digest.hexdigest()[:16]
