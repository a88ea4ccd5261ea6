# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Datasets on the Hugging Face Hub: `hub:org/name@revision` wherever a folder may be named."""

from __future__ import annotations

from pathlib import Path

from vla_adapter_ros.errors import DatasetError, VLAAdapterError
from vla_adapter_ros.weights.hub import address_of, is_hub, parse_address, snapshot

# No reader needs them: documents, and what our tools leave beside the data.
UNUSED = ('.gitattributes', '.gitignore', '*.md', '*.rrd', '.*/*', '*/.*')


def dataset_folder(path: str | Path) -> Path:
    """Return a path as it is, or the local folder of a dataset on the Hub.

    Raises:
        DatasetError: the address is malformed, or the dataset cannot be had.
    """
    if not is_hub(path):
        return Path(path)
    try:
        return snapshot(parse_address(path), 'dataset', ignored=UNUSED)
    except VLAAdapterError as error:
        raise DatasetError(str(error)) from error


def pinned(path: str) -> str:
    """Return a path as it is, or the address of a dataset with the commit it stands for now.

    Raises:
        DatasetError: as `dataset_folder`.
    """
    if not is_hub(path):
        return path
    return str(address_of(dataset_folder(path)))
