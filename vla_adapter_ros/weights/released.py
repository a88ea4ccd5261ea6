# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Models on the Hugging Face Hub in place of folders: `org/name`, `hub:org/name@revision`.

    Policy.from_pretrained('VLA-Adapter/LIBERO-Object-Pro')

No code of a repository is fetched: only configuration, tokenizers and weights, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from vla_adapter_ros.errors import CheckpointError, VLAAdapterError
from vla_adapter_ros.weights.hub import (
    HubAddress,
    address_of,
    cached,
    is_hub,
    parse_address,
    parse_name,
    snapshot,
)

# Of a checkpoint (ours or released) or a base VLM: what our readers open.
CHECKPOINT_FILES = (
    '*.json',
    '*.safetensors',
    'merges.txt',
    '*action_head*checkpoint*.pt',
    '*proprio_projector*checkpoint*.pt',
    '*vision_backbone*checkpoint*.pt',
    'checkpoints/*.pt',
)
LATEST = 'latest-checkpoint.pt'  # of a base VLM; the official code reads this one of several
TOKENIZER_PATTERNS = ('tokenizer*.json', 'vocab.json', 'merges.txt', 'added_tokens.json')
TOWER_FILE = 'model.safetensors'

# What the released checkpoints were trained from.
BASE_VLM = 'hub:Stanford-ILIAD/prism-qwen25-extra-dinosiglip-224px-0_5b'
BASE_TOKENIZER = 'hub:Qwen/Qwen2.5-0.5B'
# By `VisionTowerConfig.name`.
TOWERS = {
    'vit_large_patch14_reg4_dinov2.lvd142m': 'hub:timm/vit_large_patch14_reg4_dinov2.lvd142m',
    'vit_so400m_patch14_siglip_224': 'hub:timm/vit_so400m_patch14_siglip_224.webli',
}


def model_folder(
    path: str | Path,
    files: Sequence[str] = CHECKPOINT_FILES,
    say: Callable[[str], None] = print,
    *,
    revision: str | None = None,
) -> Path:
    """Return a file or folder as it is, or the local folder of a model on the Hub.

    A folder of that name wins; so does its parent, where `org/name` is then a missing folder.

    Args:
        path: a file or folder, `org/name`, `hub:org/name` or `hf://org/name`, with `@revision`
            after it if wanted (a branch, tag or commit).
        files: patterns of what is needed.
        say: is told what will be downloaded, before it is.
        revision: the same as `@revision`.

    Raises:
        CheckpointError: no such folder, or the model cannot be had; a revision of a folder.
    """
    local = Path(path).expanduser()
    try:
        address = _at_revision(path, _address(path, local), revision)
        if address is None:
            return local
        return snapshot(address, 'model', wanted=files, spared=_other_steps, say=say)
    except VLAAdapterError as error:
        begin = '' if is_hub(path) or local.exists() else f'{path}: no such file or folder here; '
        raise CheckpointError(f'{begin}{error}') from error


def present_folder(path: str | Path) -> tuple[Path, str]:
    """Return the folder that a file of a checkpoint names, and how to get it if it is not there.

    It may be a model in the cache of the Hub. Nothing is downloaded because a file says so: a
    folder of the machine that trained, `outputs/pick`, reads like a repository.
    """
    local = Path(path).expanduser()
    address = parse_address(path) if is_hub(path) else parse_name(str(path))
    if local.exists() or address is None:
        return local, ''
    fetch = f'python -m vla_adapter_ros.weights.fetch {address}'
    return cached(address, 'model') or local, f', or, if it is on the Hub, fetch it: {fetch}'


def tokenizer_folder(path: str | Path, say: Callable[[str], None] = print) -> Path:
    """Return the folder of a tokenizer, as `model_folder`; without the weights beside it."""
    return model_folder(path, TOKENIZER_PATTERNS, say)


def tower_file(path: str | Path, say: Callable[[str], None] = print) -> Path:
    """Return the weights of a vision tower: a file, or `model.safetensors` of a folder.

    Raises:
        CheckpointError: as `model_folder`.
    """
    found = model_folder(path, (TOWER_FILE,), say)
    return found / TOWER_FILE if found.is_dir() else found


def base_vlm_file(names: Iterable[str]) -> str | None:
    """Return the file of a base VLM's weights among several paths: the latest step's."""
    files = [name for name in names if name.endswith('.pt')]
    latest = [name for name in files if PurePath(name).name == LATEST]
    # `step-020792-epoch-01-loss=0.5268.pt`: the official code takes the last in this order, too.
    return max(latest or files, default=None)


def _other_steps(names: list[str]) -> list[str]:
    """Return the weights of steps that are not read: gigabytes each."""
    folders: dict[PurePath, list[str]] = {}
    for name in names:
        if (path := PurePath(name)).parent.name == 'checkpoints' and path.suffix == '.pt':
            folders.setdefault(path.parent, []).append(name)
    return [n for files in folders.values() for n in files if n != base_vlm_file(files)]


def is_base_vlm(path: Path) -> bool:
    """Return whether a folder is meant as a base Prismatic VLM, which has `.pt` files only.

    A released checkpoint whose LoRA is not merged has no `.safetensors` of its own either.
    """
    policy_too = any(path.glob('*.safetensors')) or any(path.glob('*action_head*'))
    return path.is_dir() and not policy_too


def pinned_model(path: str | None) -> str | None:
    """Return a path as it is, or the address of a model on the Hub with its present commit.

    Raises:
        CheckpointError: as `model_folder`.
    """
    if path is None or (folder := model_folder(path)) == Path(path).expanduser():
        return path
    return str(address_of(folder))


def checkpoint_name(folder: str | Path) -> str:
    """Return where a checkpoint came from: `hub:org/name@commit`, or its path."""
    return str(address_of(folder) or Path(folder).expanduser().resolve())


def _at_revision(
    path: str | Path, address: HubAddress | None, revision: str | None
) -> HubAddress | None:
    if revision is None:
        return address
    if address is None:
        raise CheckpointError(
            f'{path}: got revision={revision!r}; folders have none, only models on the Hub '
            '(org/name or hub:org/name)'
        )
    if address.revision not in (None, revision):
        raise CheckpointError(f'{address}: got revision={revision!r} too; give one of the two')
    return parse_address(str(replace(address, revision=revision)))


def _address(path: str | Path, local: Path) -> HubAddress | None:
    if local.exists():
        return None
    if is_hub(path):
        return parse_address(path)
    address = parse_name(str(path))
    if address is not None and local.parent.is_dir():
        raise CheckpointError(f'for the repository on the Hub write {address}')
    return address
