# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The model card of a checkpoint, as the Hugging Face Hub shows it: what it is, from what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vla_adapter_ros.weights.directory import read_checkpoint_metadata
from vla_adapter_ros.weights.files import write_text
from vla_adapter_ros.weights.hub import is_hub, parse_address
from vla_adapter_ros.weights.metadata import ADAPTERS_FILE, CheckpointMetadata

CARD_FILE = 'README.md'


def write_card(folder: Path) -> None:
    """Write the card of a checkpoint of this trainer beside it.

    Raises:
        CheckpointError: the folder holds no checkpoint.
    """
    partial = (folder / ADAPTERS_FILE).is_file()
    write_text(folder / CARD_FILE, model_card(read_checkpoint_metadata(folder), partial))


def model_card(metadata: CheckpointMetadata, partial: bool = False) -> str:
    """Return the card in Markdown, with the header that the Hub reads."""
    recipe = metadata.training.get('config', {})
    rows = _rows(metadata, recipe)
    table = '\n'.join(f'| {name} | {value} |' for name, value in rows.items())
    use = (
        'It holds only what trained; to make a whole checkpoint of it:\n\n'
        '    python -m vla_adapter_ros.training.checkpoints.merge CHECKPOINT OUTPUT'
        if partial
        else '    from vla_adapter_ros.inference.policy import Policy\n'
        "    policy = Policy.from_pretrained('CHECKPOINT')\n\n"
        'or on an arm with ROS 2: the parameter `checkpoint` of the policy node.'
    )
    header = yaml.safe_dump(_header(recipe), sort_keys=False, allow_unicode=True)
    return (
        f'---\n{header}---\n# VLA-Adapter policy for {metadata.robot.get("name", "recorded data")}'
        f'\n\n| | |\n|---|---|\n{table}\n\nSuccess rate: not stated here; the trainer does not '
        f'measure it on an arm.\n\n{use}\n'
    )


def _header(recipe: dict[str, Any]) -> dict[str, Any]:
    header: dict[str, Any] = {
        'library_name': 'vla_adapter_ros',
        'pipeline_tag': 'robotics',
        'tags': ['robotics', 'vla-adapter'],
    }
    base = _repositories([recipe.get('start', {}).get('path') or ''])
    datasets = _repositories(recipe.get('data', {}).get('datasets', []))
    return (
        header | ({'base_model': base[0]} if base else {})
        | ({'datasets': datasets} if datasets else {})
    )  # fmt: skip


def _repositories(paths: list[str]) -> list[str]:
    return [parse_address(path).repo for path in paths if is_hub(path)]


def _rows(metadata: CheckpointMetadata, recipe: dict[str, Any]) -> dict[str, str]:
    network, start = metadata.config, recipe.get('start', {})
    samples = (
        recipe.get('batch_size', 1) * recipe.get('accumulate', 1)
        * metadata.training.get('processes', 1)
    )  # fmt: skip
    robot = metadata.robot
    return {
        'policy': f'{network.policy.kind}, chunks of {network.chunk_size} actions of '
                  f'{network.action_dim} numbers',
        'actions': robot.get('action_space') or 'as recorded',
        'cameras': ', '.join(metadata.preprocessing.get('cameras', ())),
        'datasets': ', '.join(_name(path) for path in recipe.get('data', {}).get('datasets', [])),
        'started from': _name(start.get('path') or '') or start.get('kind', ''),
        'trained': f'{metadata.training.get("step")} of {recipe.get("steps")} steps of {samples} '
                   f'samples, {recipe.get("adaptation", {}).get("mode")}',
        'software': ', '.join(f'{k} {v}' for k, v in metadata.versions.items()),
    }  # fmt: skip


def _name(path: str) -> str:
    """Return an address on the Hub, or the last part of a path: folders are nobody's business."""
    return path if is_hub(path) else Path(path).name
