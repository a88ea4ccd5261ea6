# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The tiny network as the files of every kind of checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from support.model_cases import TINY_DINO, TINY_SIGLIP, formula_tensor, tiny_config
from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.model.convert import film_gen_zeros
from vla_adapter_ros.model.vla import VLAAdapter

TOWERS = {'vit_reftiny_dino': TINY_DINO, 'vit_reftiny_siglip': TINY_SIGLIP}
STATISTICS = {
    'libero_object_no_noops': {
        'action': {'q01': [-1.0] * 7, 'q99': [1.0] * 7, 'mask': [True] * 6 + [False]},
        'proprio': {'q01': [-1.0] * 8, 'q99': [1.0] * 8},
    }
}


def unused_shapes(config: VLAAdapterConfig) -> dict[str, tuple[int, ...]]:
    """Some of each kind of official tensor that no forward pass reads, by name."""
    shapes = {n: tuple(v.shape) for n, v in film_gen_zeros(config, torch.float32).items()}
    for key, tower in config.towers.items():
        prefix, width = f'vision_backbone.{key}', tower.width
        shapes |= {f'{prefix}.norm.{part}': (width,) for part in ('weight', 'bias')}
        shapes[f'{prefix}.blocks.{tower.depth - 1}.attn.qkv.weight'] = (3 * width, width)
        if not tower.class_token:
            shapes[f'{prefix}.attn_pool.latent'] = (1, 1, width)
            shapes[f'{prefix}.attn_pool.mlp.fc1.weight'] = (tower.mlp_hidden, width)
    return shapes


def official_tensors(kind: str) -> tuple[dict, dict, dict]:
    """Tensors of the VLM, of the policy and of the proprio projector, by their official names."""
    config = tiny_config(kind)
    network = VLAAdapter.from_config(config, device='meta').state_dict()
    shapes = {name.removeprefix('policy.'): tuple(v.shape) for name, v in network.items()}
    shapes |= unused_shapes(config)
    vlm, head, proprio = {}, {}, {}
    for name, shape in shapes.items():
        part, _, rest = name.partition('.')
        if part == 'action_head':
            head[f'module.{rest}'] = formula_tensor(name, shape)
        elif part == 'proprio_projector':
            proprio[f'module.{rest}'] = formula_tensor(name, shape)
        else:
            vlm[name] = formula_tensor(f'vla.{name}', shape)
    return vlm, head, proprio


def write_official(
    directory: Path, kind: str, shards: int = 1, released_towers: bool = False
) -> None:
    """Write an official directory; its towers are the tiny ones unless `released_towers`."""
    directory.mkdir(parents=True, exist_ok=True)
    vlm, head, proprio = official_tensors(kind)
    names = list(vlm)
    if shards == 1:
        save_file(vlm, directory / 'model.safetensors')
    else:
        weight_map = {}
        for index in range(shards):
            file = f'model-{index + 1:05d}-of-{shards:05d}.safetensors'
            part = names[index::shards]
            save_file({name: vlm[name] for name in part}, directory / file)
            weight_map |= dict.fromkeys(part, file)
        index_file = directory / 'model.safetensors.index.json'
        index_file.write_text(json.dumps({'metadata': {}, 'weight_map': weight_map}))
    torch.save(head, directory / 'action_head--checkpoint.pt')
    torch.save(proprio, directory / 'proprio_projector--checkpoint.pt')
    (directory / 'dataset_statistics.json').write_text(json.dumps(STATISTICS))
    language = tiny_config(kind).language
    config = {
        'model_type': 'openvla',
        'llm_backbone_id': 'qwen25-0_5b-extra',
        'image_sizes': [224, 224],
        'text_config': {
            'model_type': 'qwen2',
            'vocab_size': language.vocab_size,
            'hidden_size': language.hidden,
            'num_hidden_layers': language.layers,
            'num_attention_heads': language.heads,
            'num_key_value_heads': language.kv_heads,
            'intermediate_size': language.mlp_hidden,
        },
    }
    if not released_towers:
        config['timm_model_ids'] = list(TOWERS)
    (directory / 'config.json').write_text(json.dumps(config))


PROJECTOR = {'fc1': '0', 'fc2': '2', 'fc3': '4'}
PRISMATIC_TOWERS = {'featurizer': 'dino_featurizer', 'fused_featurizer': 'siglip_featurizer'}


def prismatic_state(tensors: dict[str, torch.Tensor]) -> tuple[dict, dict]:
    """A VLM without towers in the nested layout of a base VLM, and its towers in timm's names."""
    nested: dict = {'projector': {}, 'llm_backbone': {}}
    towers: dict = {key: {} for key in PRISMATIC_TOWERS}
    for name, value in tensors.items():
        part, _, rest = name.partition('.')
        if part == 'projector':
            layer, kind = rest.split('.')
            nested[part][f'projector.{PROJECTOR[layer]}.{kind}'] = value
        elif part == 'language_model':
            nested['llm_backbone'][f'llm.{rest}'] = value
        elif part == 'vision_backbone':
            tower, _, inner = rest.partition('.')
            towers[tower][inner.replace('.scale_factor', '.gamma')] = value
    head = nested['llm_backbone']['llm.model.embed_tokens.weight']
    nested['llm_backbone']['llm.lm_head.weight'] = head
    return nested, towers


def base_vlm(with_vision: bool = True) -> dict:
    """The tiny VLM in the nested layout and names of a base Prismatic checkpoint."""
    nested, towers = prismatic_state(official_tensors('pro')[0])
    if with_vision:
        nested['vision_backbone'] = {
            f'{PRISMATIC_TOWERS[key]}.{name}': value
            for key, tower in towers.items()
            for name, value in tower.items()
        }
    return {'model': nested}


def write_base(directory, with_vision: bool = True):
    (directory / 'checkpoints').mkdir(parents=True)
    path = directory / 'checkpoints/step-020792-epoch-01-loss=0.5268.pt'
    torch.save(base_vlm(with_vision), path)
    return path
