# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Directories of released VLA-Adapter checkpoints: their content and how it maps to our network.

Layout: `model.safetensors` (or shards with an index) with the VLM, `action_head--*.pt` and
`proprio_projector--*.pt` with `module.` prefixes, `dataset_statistics.json`, `config.json`. Kind
and sizes of the policy are not recorded: they are read off the tensors' names and shapes.
No torch here; `own.py` opens the weights.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from vla_adapter_ros.architecture.config import (
    DINOV2_LARGE,
    OPENVLA_7B,
    SIGLIP_SO400M,
    LanguageConfig,
    PolicyConfig,
    VisionTowerConfig,
    VLAAdapterConfig,
)
from vla_adapter_ros.errors import CheckpointError, ConfigError
from vla_adapter_ros.weights.files import pointer_hint, read_json_object
from vla_adapter_ros.weights.hub import origin
from vla_adapter_ros.weights.metadata import CheckpointMetadata
from vla_adapter_ros.weights.released import model_folder, present_folder

KNOWN_TOWERS = {tower.name: tower for tower in (DINOV2_LARGE, SIGLIP_SO400M)}

# (action, proprioception) sizes of the paper's platforms, and their chunk lengths, which the files
# do not record.
LIBERO = 'LIBERO or CALVIN'
PLATFORMS = {(7, 8): LIBERO, (14, 14): 'ALOHA', (7, 7): 'BRIDGE'}
CHUNK_LENGTHS = {(7, 8): 8, (14, 14): 25, (7, 7): 5}

# The official head reads so many raw features whatever the number of cameras; right for two.
TASK_TOKENS = 512
HEAD, PROPRIO, FILM = 'action_head', 'proprio_projector', 'vision_backbone'
FILM_WRAPPER = f'{FILM}.{FILM}.'  # the official wrapper holds the towers that it adds FiLM to
ADAPTER = 'lora_adapter'
STATISTICS_FILE = 'dataset_statistics.json'
UNREAD_LAYERS = ('language_model.lm_head',)  # adapted by the official trainer, tied and not stored

# Entries of `text_config` -> fields of `LanguageConfig`.
LANGUAGE_KEYS = {
    'vocab_size': 'vocab_size',
    'hidden_size': 'hidden',
    'num_hidden_layers': 'layers',
    'num_attention_heads': 'heads',
    'num_key_value_heads': 'kv_heads',
    'intermediate_size': 'mlp_hidden',
    'rope_theta': 'rope_theta',
    'rms_norm_eps': 'norm_eps',
    'max_position_embeddings': 'max_positions',
}
# By `text_config.model_type`.
LANGUAGE_MODELS = {'qwen2': LanguageConfig(), 'llama': OPENVLA_7B}


def read_official_metadata(
    directory: Path,
    vision_towers: Mapping[str, VisionTowerConfig] | None = None,
    overrides: Mapping[str, Any] | None = None,
    base: str | Path | None = None,
) -> CheckpointMetadata:
    """Read the metadata of an official directory.

    Args:
        directory: the checkpoint.
        vision_towers: shapes of towers whose `timm_model_ids` entry is not a released one.
        overrides: fields of `VLAAdapterConfig` and its sections that the files do not record, e.g.
            `num_images`.
        base: directory that training started from, or its repository, if the LoRA adapter is not
            merged: it has the `config.json`.

    Raises:
        CheckpointError: a file is missing or damaged, or a tower is unknown.
        ConfigError: an override names no field, or has an impossible value.
    """
    if (directory / 'config.json').is_file() or not is_unmerged(directory):
        config_file = read_json_object(directory / 'config.json')
    else:
        config_file = read_json_object(base_directory(directory, base) / 'config.json')
    statistics = _optional_json(directory / STATISTICS_FILE)
    statistics = statistics or config_file.get('norm_stats') or {}
    return CheckpointMetadata(
        config=official_config(directory, config_file, statistics, vision_towers, overrides),
        statistics=statistics,
        source={'format': 'official', 'path': origin(directory)},
        dtype=str(config_file.get('torch_dtype') or 'bfloat16'),
        preprocessor=_optional_json(directory / 'preprocessor_config.json'),
    )


def official_vlm_config(directory: Path) -> VLAAdapterConfig:
    """Return the network with the VLM of an official directory, which may be one without policy.

    Raises:
        CheckpointError: `config.json` is missing or damaged, or a tower is unknown.
    """
    config_file = read_json_object(directory / 'config.json')
    return VLAAdapterConfig(
        vision=_towers(directory, config_file, {}), language=_language(directory, config_file)
    )


def is_official(directory: Path) -> bool:
    """Return whether a directory looks like one of the official trainer's."""
    return (directory / 'config.json').is_file() or is_unmerged(directory)


def is_unmerged(directory: Path) -> bool:
    """Return whether a directory has a LoRA adapter and no weights that it is merged into."""
    return (directory / ADAPTER).is_dir() and not any(directory.glob('model*.safetensors*'))


def base_directory(directory: Path, base: str | Path | None) -> Path:
    """Return the directory whose weights a LoRA adapter was trained on.

    `base`: a directory or a repository on the Hub; None: the one that the adapter names, which is
    a directory, or a repository in the cache.

    Raises:
        CheckpointError: it is not given and the adapter names none that is here, or it has no
            weights.
    """
    way_out, stated = '', str(base or _stated_base(directory / ADAPTER))
    if base is None:
        found, way_out = present_folder(stated) if stated else (Path(), '')
    else:
        found = model_folder(base)
    if stated and any(found.glob('model*.safetensors*')):
        return found
    what = f'{found} has no model.safetensors' if stated else 'the adapter names none'
    raise CheckpointError(
        f'checkpoint {directory}: its LoRA adapter is not merged and needs the directory that '
        f'training started from; {what}. Give it with base=FOLDER (convert: --base FOLDER)'
        f'{way_out}. If training started from the base VLM (--use_minivlm True), the '
        'ActionQueries it trained were not saved; train with --merge_lora_during_training True'
    )


def _stated_base(adapter: Path) -> str:
    """Return what peft recorded of the base: a folder, or `org/name` and a revision; '' if not."""
    config = read_json_object(adapter / 'adapter_config.json')
    base, revision = (config.get(key) for key in ('base_model_name_or_path', 'revision'))
    if not isinstance(base, str):
        return ''
    pinned = isinstance(revision, str) and revision and not Path(base).expanduser().exists()
    return f'{base}@{revision}' if pinned else base


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json_object(path) if path.is_file() else {}


def official_config(
    directory: Path,
    config_file: dict[str, Any],
    statistics: dict[str, Any],
    vision_towers: Mapping[str, VisionTowerConfig] | None,
    overrides: Mapping[str, Any] | None,
) -> VLAAdapterConfig:
    """Derive our configuration from an official `config.json` and the files beside it."""
    towers = _towers(directory, config_file, vision_towers or {})
    action, proprio = _dimensions(statistics)
    use_proprio = bool((overrides or {}).get('use_proprio', True))
    files = component_files(directory, use_proprio)
    fields: dict[str, Any] = {
        'vision': towers,
        'language': _language(directory, config_file),
        # What the released code fixes and no file records: the weights were trained in bfloat16.
        'policy': PolicyConfig(
            kind=policy_kind(files[HEAD]),
            rope_precision='bfloat16',
            num_task_tokens=TASK_TOKENS,
        ),
        'action_dim': action,
        'proprio_dim': proprio,
        'chunk_size': CHUNK_LENGTHS.get((action, proprio), 8),
        'use_proprio': use_proprio,
        'use_film': FILM in files,
    }
    return VLAAdapterConfig(**fields).override(**(overrides or {}))


def _towers(
    directory: Path, config_file: dict[str, Any], given: Mapping[str, VisionTowerConfig]
) -> tuple[VisionTowerConfig, ...]:
    names = config_file.get('timm_model_ids') or list(KNOWN_TOWERS)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f'{directory / "config.json"}: timm_model_ids {names!r}, expected a list of names'
        )
    sizes = config_file.get('image_sizes') or [224] * len(names)
    if not isinstance(sizes, list) or len(sizes) != len(names):
        raise CheckpointError(
            f'{directory / "config.json"}: image_sizes {sizes!r}, expected one for each of the '
            f'vision towers {names}'
        )
    known = {**KNOWN_TOWERS, **given}
    towers = []
    for name, size in zip(names, sizes):
        if name in known:
            with _stated_in(directory):
                towers.append(replace(known[name], name=name, image_size=size))
        else:
            raise CheckpointError(
                f'{directory / "config.json"}: unknown vision tower {name!r}, known are '
                f'{sorted(KNOWN_TOWERS)}; describe it with vision_towers={{{name!r}: '
                'VisionTowerConfig(width=, depth=, heads=, mlp_hidden=, …)}'
            )
    return tuple(towers)


def _language(directory: Path, config_file: dict[str, Any]) -> LanguageConfig:
    text = config_file.get('text_config') or {}
    if not isinstance(text, dict):
        raise CheckpointError(f'{directory / "config.json"}: text_config {text!r} is no object')
    backbone = str(config_file.get('llm_backbone_id') or '')
    family = text.get('model_type') or ('llama' if backbone.startswith('llama2') else 'qwen2')
    if family not in LANGUAGE_MODELS:
        raise CheckpointError(
            f'{directory / "config.json"}: text_config.model_type {family!r}, '
            f'supported are {sorted(LANGUAGE_MODELS)}'
        )
    # transformers 5 writes `rope_theta` inside of `rope_parameters`.
    rope = text.get('rope_parameters') or text.get('rope_scaling') or {}
    text = {**{key: rope[key] for key in ('rope_theta',) if key in rope}, **text}
    items = LANGUAGE_KEYS.items()
    stated = {ours: text[theirs] for theirs, ours in items if text.get(theirs) is not None}
    with _stated_in(directory):
        language = replace(LANGUAGE_MODELS[family], **stated)
    _check_language(directory, text, rope, language)
    return language


@contextmanager
def _stated_in(directory: Path) -> Iterator[None]:
    """Name the file whose values a network cannot have."""
    try:
        yield
    except ConfigError as error:
        raise CheckpointError(f'{directory / "config.json"}: {error}') from None


def _check_language(
    directory: Path, text: dict[str, Any], rope: dict[str, Any], language: LanguageConfig
) -> None:
    """Refuse what changes the arithmetic of the language model and is not built here."""
    width = language.hidden // language.heads
    for name, value, built in (
        ('rope_type', rope.get('rope_type', rope.get('type', 'default')), ('default', None)),
        ('hidden_act', text.get('hidden_act', 'silu'), ('silu',)),
        ('use_sliding_window', text.get('use_sliding_window', False), (False, None)),
        ('use_mrope', text.get('use_mrope', False), (False, None)),
        ('head_dim', text.get('head_dim') or width, (width,)),
    ):
        if value not in built:
            raise CheckpointError(
                f'{directory / "config.json"}: text_config: {name} {value!r} is not supported, '
                f'only {built[0]!r}'
            )


def _dimensions(statistics: dict[str, Any]) -> tuple[int, int]:
    """Sizes of action and proprioception, from the first statistics that have them."""

    def size(entry: dict[str, Any], part: str) -> int:
        values = entry.get(part) or {}
        return len(values.get('q01') or values.get('min') or ())

    sizes = ((size(entry, 'action'), size(entry, 'proprio')) for entry in statistics.values())
    return next(((action, proprio or 8) for action, proprio in sizes if action), (7, 8))


def component_files(directory: Path, use_proprio: bool) -> dict[str, Path]:
    """Find the files beside the VLM: `action_head`, `proprio_projector`, `vision_backbone`.

    Raises:
        CheckpointError: a needed one is missing, there are several of a kind, or their names say
            that they are of different steps.
    """
    kinds = (HEAD, PROPRIO, FILM) if use_proprio else (HEAD, FILM)
    files = {kind: path for kind in kinds if (path := _component_file(directory, kind))}
    if HEAD not in files:
        raise CheckpointError(
            f'checkpoint {directory}: expected exactly one {HEAD}--*checkpoint.pt, found none'
        )
    if use_proprio and PROPRIO not in files:
        raise CheckpointError(
            f'checkpoint {directory}: {PROPRIO}--*checkpoint.pt is missing, without which the '
            'policy knows no state; fetch or copy it, or, if training had none '
            '(--use_proprio False), give use_proprio=False (convert: --set use_proprio=false)'
        )
    steps = {path.name.partition(kind)[2] for kind, path in files.items()}
    if len(steps) > 1:
        raise CheckpointError(
            f'checkpoint {directory}: {[path.name for path in files.values()]} are of different '
            'steps; copy the files of one step into one directory'
        )
    return files


def _component_file(directory: Path, kind: str) -> Path | None:
    found = sorted(path for path in directory.glob(f'*{kind}*.pt') if 'checkpoint' in path.name)
    if len(found) > 1:
        raise CheckpointError(
            f'checkpoint {directory}: expected exactly one {kind}--*checkpoint.pt, '
            f'found {[path.name for path in found]}'
        )
    return found[0] if found else None


def policy_kind(path: Path) -> str:
    """Tell `pro` from `original` by a tensor name inside the file, without loading it."""
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith('data.pkl')]
            content = archive.read(pickles[0])
    except Exception as error:  # each compression has errors of its own
        hint = pointer_hint(path) or f': {error}'
        raise CheckpointError(f'{path}: damaged or not a torch file{hint}') from None
    for kind, key in (('pro', b'.k_self.weight'), ('original', b'.k_proj.weight')):
        if key in content:
            return kind
    raise CheckpointError(f'{path}: neither a Pro (k_self) nor an original (k_proj) policy')


def unused_pattern(config: VLAAdapterConfig) -> re.Pattern[str]:
    """Return the names of official tensors that no forward pass reads: accepted and not built.

    The tied LM head, both towers' final norm and last block, SigLIP's attention pooling, and the
    Pro policy's `film_gen`.
    """
    parts = [r'language_model\.lm_head\.weight', r'action_head\..*\.film_gen\..*']
    for key, tower in config.towers.items():
        parts.append(
            rf'vision_backbone\.{key}\.(norm\.|attn_pool\.|blocks\.{tower.depth - 1}\.).*'
        )
    return re.compile('|'.join(f'(?:{part})' for part in parts))


def strip_ddp_prefix(name: str) -> str:
    """Return the name without the `module.` of torch's DistributedDataParallel."""
    return name.removeprefix('module.')


def film_name(name: str) -> str:
    """Return our name of a FiLM tower tensor: the official wrapper nests the block."""
    name = strip_ddp_prefix(name).removeprefix('vision_backbone.')
    return 'vision_backbone.' + re.sub(r'(blocks\.\d+)\.block\.', r'\1.', name)


def local_name(name: str) -> str:
    """Return our parameter name of an official one."""
    policy = name.startswith(('action_head.', 'proprio_projector.'))
    return f'policy.{name}' if policy else name
