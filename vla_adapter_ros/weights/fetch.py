# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Download models of the Hugging Face Hub before they are needed.

    python -m vla_adapter_ros.weights.fetch VLA-Adapter/LIBERO-Object-Pro
    python -m vla_adapter_ros.weights.fetch base

An interrupted download is continued. The progress bar is that of huggingface_hub; it needs a
terminal. With HF_HUB_OFFLINE=1 the command tells whether all is in the cache.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.weights.directory import read_checkpoint_metadata
from vla_adapter_ros.weights.metadata import METADATA_FILE
from vla_adapter_ros.weights.official import is_official, official_vlm_config
from vla_adapter_ros.weights.released import (
    BASE_TOKENIZER,
    BASE_VLM,
    TOWERS,
    checkpoint_name,
    is_base_vlm,
    model_folder,
    tokenizer_folder,
    tower_file,
)

BASE = 'base'
_GIGABYTE = 1e9


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.weights.fetch',
        description='Download models of the Hugging Face Hub before they are needed.',
    )
    parser.add_argument(
        'models', nargs='+', metavar='ID',
        help=f'ORG/NAME, ORG/NAME@REVISION or hub:ORG/NAME/FOLDER; {BASE}: what the paper trains '
        'from, which is a base VLM, its vision towers and its tokenizer',
    )
    return parser


def fetch(model: str) -> list[Path]:
    """Download a checkpoint, a base VLM, or with `base` all that training as in the paper needs.

    Returns:
        The folders.

    Raises:
        CheckpointError: the model cannot be had, or is no checkpoint.
    """
    if model == BASE:
        towers = [tower_file(address).parent for address in TOWERS.values()]
        return [model_folder(BASE_VLM), *towers, tokenizer_folder(BASE_TOKENIZER)]
    folder = model_folder(model)
    if is_vlm_alone(folder):
        official_vlm_config(folder)
    elif not is_base_vlm(folder):
        read_checkpoint_metadata(folder)
    return [folder]


def is_vlm_alone(folder: Path) -> bool:
    """Return whether a folder has a VLM in the form of transformers and no policy beside it."""
    policy = (folder / METADATA_FILE).is_file() or any(folder.glob('*action_head*'))
    return not policy and is_official(folder) and any(folder.glob('model*.safetensors'))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        for folder in (folder for model in options.models for folder in fetch(model)):
            size = sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())
            print(f'{checkpoint_name(folder)}: {size / _GIGABYTE:.3f} GB in {folder}')
            if is_vlm_alone(folder):
                print('  a VLM without a policy: for training with start.kind=base')
    except VLAAdapterError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
