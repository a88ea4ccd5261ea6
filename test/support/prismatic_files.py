# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The tiny VLM as a base Prismatic checkpoint file."""

from __future__ import annotations

import torch

from support.checkpoint_cases import official_tensors

PROJECTOR = {'fc1': '0', 'fc2': '2', 'fc3': '4'}
TOWERS = {'featurizer': 'dino_featurizer', 'fused_featurizer': 'siglip_featurizer'}


def base_vlm(with_vision: bool = True) -> dict:
    """The tiny VLM in the nested layout and names of a base Prismatic checkpoint."""
    nested: dict = {'projector': {}, 'llm_backbone': {}, 'vision_backbone': {}}
    for name, value in official_tensors('pro')[0].items():
        part, _, rest = name.partition('.')
        if part == 'projector':
            layer, kind = rest.split('.')
            nested[part][f'projector.{PROJECTOR[layer]}.{kind}'] = value
        elif part == 'language_model':
            nested['llm_backbone'][f'llm.{rest}'] = value
        elif part == 'vision_backbone':
            tower, _, inner = rest.partition('.')
            inner = inner.replace('.scale_factor', '.gamma')
            nested[part][f'{TOWERS[tower]}.{inner}'] = value
    head = nested['llm_backbone']['llm.model.embed_tokens.weight']
    nested['llm_backbone']['llm.lm_head.weight'] = head
    if not with_vision:
        del nested['vision_backbone']
    return {'model': nested}


def write_base(directory, with_vision: bool = True):
    (directory / 'checkpoints').mkdir(parents=True)
    path = directory / 'checkpoints/step-020792-epoch-01-loss=0.5268.pt'
    torch.save(base_vlm(with_vision), path)
    return path
