# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Which kind of checkpoint a directory holds, and its metadata. No torch."""

from __future__ import annotations

from pathlib import Path

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.weights.metadata import METADATA_FILE, CheckpointMetadata, read_json
from vla_adapter_ros.weights.official import read_official_metadata


def read_checkpoint_metadata(directory: str | Path) -> CheckpointMetadata:
    """Read what a checkpoint directory says about itself, without torch and without its weights.

    Works for our own format and for official directories.

    Raises:
        CheckpointError: the directory is missing, or is no checkpoint of either kind.
    """
    directory = Path(directory).expanduser()
    if not directory.is_dir():
        raise CheckpointError(f'checkpoint {directory}: no such directory')
    if (directory / METADATA_FILE).is_file():
        return CheckpointMetadata.from_dict(
            read_json(directory / METADATA_FILE), str(directory / METADATA_FILE)
        )
    if (directory / 'config.json').is_file():
        return read_official_metadata(directory)
    raise CheckpointError(
        f'checkpoint {directory}: neither {METADATA_FILE} (own format) nor config.json (official)'
    )
