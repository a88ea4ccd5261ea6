# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Convert checkpoints from the official layout to our own and back, without loss."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vla_adapter_ros.architecture.config import VisionTowerConfig, VLAAdapterConfig
from vla_adapter_ros.errors import CheckpointError, VLAAdapterError
from vla_adapter_ros.model.vla import VLAAdapter
from vla_adapter_ros.weights.files import write_json
from vla_adapter_ros.weights.metadata import METADATA_FILE, TOKENIZER_FILES, WEIGHTS_FILE
from vla_adapter_ros.weights.official import LANGUAGE_KEYS
from vla_adapter_ros.weights.official_weights import OpenCheckpoint
from vla_adapter_ros.weights.own import open_checkpoint, save
from vla_adapter_ros.weights.tensors import (
    load_parameters,
    open_safetensors,
    save_pt,
    save_safetensors,
)

# Official files and tensors that our format does not need, kept for the conversion back.
KEPT_FOLDER = 'official'
UNUSED_FILE = 'unused.safetensors'
KEPT_FILES = (
    'config.json',
    'generation_config.json',
    'preprocessor_config.json',
    'processor_config.json',
)


def to_own(
    source: Path,
    target: Path,
    *,
    towers: dict[str, VisionTowerConfig] | None = None,
    keep_unused: bool = True,
    overrides: dict[str, Any] | None = None,
    base: Path | None = None,
) -> list[str]:
    """Convert an official directory to our format; return a log, one line per file.

    Weights keep their dtype. Official tensors that nothing reads go to `official/` beside our
    files (about 160 MB at the released size), unless `keep_unused` is False.
    """
    opened = open_checkpoint(source, towers, overrides, base)
    if opened.metadata.source.get('format') != 'official':
        raise CheckpointError(f'{source}: is in our own format already; --reverse goes back')
    model = VLAAdapter.from_config(opened.metadata.config, device='meta')
    load_parameters(model, opened.tensors, dtype=None, device='cpu', where=str(source))
    model.metadata = opened.metadata
    record = save(model, target)
    done = [
        f'{target / WEIGHTS_FILE}: {len(opened.tensors)} tensors, {record.dtype}',
        f'{target / METADATA_FILE}: policy {record.config.policy.kind}, '
        f'statistics {sorted(record.statistics) or "none"}',
    ]
    kept = target / KEPT_FOLDER
    kept.mkdir(exist_ok=True)
    done += [f'{path}: copied' for path in copy_present(source, target, TOKENIZER_FILES)]
    done += [f'{path}: copied' for path in copy_present(source, kept, KEPT_FILES)]
    if keep_unused and opened.unused:
        values = {name: lazy.read(None) for name, lazy in opened.unused.items()}
        save_safetensors(kept / UNUSED_FILE, values, {})
        done.append(f'{kept / UNUSED_FILE}: {len(values)} tensors that no forward pass reads')
    elif opened.unused:
        done.append(f'{len(opened.unused)} tensors that no forward pass reads were left out')
    return done


def to_official(source: Path, target: Path) -> list[str]:
    """Convert our format to an official directory; return a log, one line per file.

    Official tensors that nothing reads come back from `official/unused.safetensors`. Without it
    only `film_gen` is written, as zeros: the official code loads the policy strictly, but not the
    VLM, whose other unused tensors it initialises itself.

    Raises:
        CheckpointError: the network has an option that the official code lacks.
    """
    opened = open_checkpoint(source)
    config = opened.metadata.config
    if (
        opened.metadata.source.get('format') == 'official'
        and not (source / METADATA_FILE).is_file()
    ):
        raise CheckpointError(f'{source}: is an official directory already')
    reasons = inexpressible(config)
    if reasons:
        raise CheckpointError(f'{source}: the official code cannot run it: ' + '; '.join(reasons))
    target.mkdir(parents=True, exist_ok=True)
    tensors = {
        name.removeprefix('policy.'): lazy.read_finite(None)
        for name, lazy in opened.tensors.items()
    }
    kept = source / KEPT_FOLDER / UNUSED_FILE
    if kept.is_file():
        unused = {name: lazy.read(None) for name, lazy in open_safetensors(kept).items()}
        done = [f'{len(unused)} unused tensors restored from {kept}']
    else:
        unused = film_gen_zeros(config, tensors['action_head.model.fc2.weight'].dtype)
        done = [f'{len(unused)} unused tensors of the policy written as zeros'] if unused else []
    tensors |= unused
    parts: dict[str, dict[str, Tensor]] = {'action_head': {}, 'proprio_projector': {}, 'vlm': {}}
    for name, value in tensors.items():
        head, _, rest = name.partition('.')
        if head in ('action_head', 'proprio_projector'):
            parts[head][f'module.{rest}'] = value
        else:
            parts['vlm'][name] = value
    save_safetensors(target / WEIGHTS_FILE, parts.pop('vlm'), {})
    for kind, values in parts.items():
        if values:
            save_pt(target / f'{kind}--checkpoint.pt', values)
    write_json(target / 'dataset_statistics.json', opened.metadata.statistics)
    done += [f'{path}: copied' for path in copy_present(source, target, TOKENIZER_FILES)]
    copied = copy_present(source / KEPT_FOLDER, target, KEPT_FILES)
    done += [f'{path}: copied' for path in copied]
    if target / 'config.json' not in copied:
        write_json(target / 'config.json', official_config_file(opened))
        done.append(f'{target / "config.json"}: written')
    return [f'{target}: {len(tensors)} tensors', *done]


def inexpressible(config: VLAAdapterConfig) -> list[str]:
    """Return the options of a network that the official code lacks."""
    policy, released = config.policy, VLAAdapterConfig()
    checks = [
        (policy.kind in ('original', 'pro'), f'policy kind {policy.kind}'),
        (policy.features == 'both', f'features {policy.features}'),
        (policy.feature_layers == 'all', f'feature_layers {policy.feature_layers}'),
        (policy.raw_gate == 'tanh' and policy.query_gate == 'none', 'injection degrees'),
        (config.policy_blocks == 24, f'{config.policy_blocks} policy blocks instead of 24'),
        (config.policy_width == config.language.hidden, f'policy width {config.policy_width}'),
        (config.num_queries == released.num_queries, f'{config.num_queries} ActionQueries'),
        (config.num_task_tokens == 512, f'{config.num_task_tokens} raw-feature tokens'),
        (not config.aligned_slices, 'aligned_slices'),
        (not config.use_film, 'FiLM towers'),
        (policy.rope_precision != 'float32', 'rotary tables in float32'),
        (
            all(t.stem == 'patch' and not t.keypoints and t.pool == 1 for t in config.vision),
            'stem',
        ),
        (all(tower.name for tower in config.vision), 'vision towers without a timm name'),
    ]
    return [reason for fine, reason in checks if not fine]


def film_gen_zeros(config: VLAAdapterConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the Pro policy's `film_gen` tensors, which its forward pass does not read."""
    width, blocks = config.policy_width, config.policy_blocks
    shapes = {'weight': (2 * width, width), 'bias': (2 * width,)}
    return {
        f'action_head.model.mlp_resnet_blocks.{block}.film_gen.0.{name}': torch.zeros(
            shape, dtype=dtype
        )
        for block in range(blocks if config.policy.kind == 'pro' else 0)
        for name, shape in shapes.items()
    }


def official_config_file(opened: OpenCheckpoint) -> dict[str, Any]:
    """Write an official `config.json` for a network that never had one."""
    config, language = opened.metadata.config, opened.metadata.config.language
    released = language.family == 'qwen2'
    return {
        'model_type': 'openvla',
        'architectures': ['OpenVLAForActionPrediction'],
        'arch_specifier': 'no-align+fused-gelu-mlp',
        'vision_backbone_id': 'dinosiglip-vit-so-224px',
        'llm_backbone_id': 'qwen25-0_5b-extra' if released else 'llama2-7b-pure',
        'image_resize_strategy': 'resize-naive',
        'use_fused_vision_backbone': len(config.vision) > 1,
        'timm_model_ids': [tower.name for tower in config.vision],
        'timm_override_act_layers': [None] * len(config.vision),
        'image_sizes': [tower.image_size for tower in config.vision],
        'n_action_bins': 256,
        'llm_max_length': 2048,
        'pad_token_id': 32000,
        'pad_to_multiple_of': 64,
        'torch_dtype': opened.metadata.dtype,
        'norm_stats': opened.metadata.statistics,
        'text_config': {
            'model_type': language.family,
            **{theirs: getattr(language, ours) for theirs, ours in LANGUAGE_KEYS.items()},
            'tie_word_embeddings': True,
        },
    }


def copy_present(source: Path, target: Path, names: Sequence[str]) -> list[Path]:
    """Copy those of the named files that `source` has; return their copies."""
    copied = []
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
            copied.append(target / name)
    return copied


def _override(text: str) -> tuple[str, Any]:
    field, _, value = text.partition('=')
    try:
        return field, json.loads(value)
    except ValueError:
        return field, value


def parser() -> argparse.ArgumentParser:
    """Build the command's arguments."""
    result = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.model.convert', description=__doc__
    )
    result.add_argument('source', type=Path, metavar='SRC', help='checkpoint directory to read')
    result.add_argument('target', type=Path, metavar='DST', help='directory to write')
    result.add_argument(
        '--reverse', action='store_true', help='from our own format to the official layout'
    )
    result.add_argument(
        '--drop-unused',
        action='store_true',
        help='leave out official tensors that no forward pass reads',
    )
    result.add_argument(
        '--num-images',
        type=int,
        metavar='N',
        help='cameras the checkpoint was trained with (not in official files; default 2)',
    )
    result.add_argument(
        '--chunk-size',
        type=int,
        metavar='K',
        help='actions per chunk (not in official files; default by action size)',
    )
    result.add_argument(
        '--set',
        nargs='+',
        default=[],
        type=_override,
        metavar='FIELD=VALUE',
        help='other fields of the network that the files do not record, as JSON, e.g. '
        'use_proprio=false',
    )
    result.add_argument(
        '--base',
        type=Path,
        metavar='DIR',
        help='directory that training started from, if the LoRA adapter in SRC is not merged '
        '(default: the one that the adapter names)',
    )
    result.add_argument(
        '--vision-towers',
        type=json.loads,
        default={},
        metavar='JSON',
        help='shapes of vision towers that are not the released ones, by timm name, e.g. '
        '\'{"my_vit": {"width": 384, "depth": 12, "heads": 6, "mlp_hidden": 1536}}\'',
    )
    result.add_argument(
        '--force', action='store_true', help='write into a directory that is not empty'
    )
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parser().parse_args(arguments)
    overrides = dict(options.set) | {
        key: value
        for key, value in (('num_images', options.num_images), ('chunk_size', options.chunk_size))
        if value is not None
    }
    try:
        if options.target.exists() and any(options.target.iterdir()) and not options.force:
            raise CheckpointError(f'{options.target}: is not empty; --force writes into it')
        if options.reverse:
            lines = to_official(options.source, options.target)
        else:
            lines = to_own(
                options.source,
                options.target,
                towers={n: VisionTowerConfig(**t) for n, t in options.vision_towers.items()},
                keep_unused=not options.drop_unused,
                overrides=overrides,
                base=options.base,
            )
    except (VLAAdapterError, OSError, TypeError) as error:
        print(f'convert: {error}', file=sys.stderr)
        return 1
    print('\n'.join(lines))
    return 0


if __name__ == '__main__':
    sys.exit(main())
