# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Random initial weights of a network that is trained from scratch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vla_adapter_ros.model.language import Decoder
from vla_adapter_ros.model.small.stem import KeypointToken
from vla_adapter_ros.model.vision import VisionTower

STD = 0.02
# Spread of a keypoint map's scores. Near zero a map is uniform, its keypoint the image's centre,
# and its gradient lost among the pixels: with torch's default a policy that has to find the named
# block had learned nothing after 300 steps; with this it was 8 cm off, and 2 cm at step 500.
KEYPOINT_SPREAD = 4.6


@torch.no_grad()
def initialise(model: nn.Module) -> None:
    """Initialise towers and language model as their authors do; the rest keeps torch's defaults.

    ActionQueries follow N(0, 0.02²): the released code zeroes them, but its later global
    initialisation draws them again.
    """
    for module in model.modules():
        if isinstance(module, VisionTower):
            _tower(module)
        elif isinstance(module, Decoder):
            _decoder(module)
        elif isinstance(module, KeypointToken):
            module.maps.weight.normal_(0.0, KEYPOINT_SPREAD / math.sqrt(module.maps.in_channels))
    queries = getattr(model, 'action_queries', None)
    if queries is not None:
        queries.weight.normal_(0.0, model.config.query_scale)


def _linears(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=STD)
            if part.bias is not None:
                part.bias.zero_()


def _tower(tower: VisionTower) -> None:
    _linears(tower.blocks)
    config = tower.config
    if config.position_scale > 0.1:
        # Learned positions of scale 0.02 take thousands of steps to become distinct.
        tower.pos_embed.copy_(config.position_scale * grid_positions(config.grid, config.width))
    else:
        tower.pos_embed.normal_(0.0, config.position_scale)
    for token in (tower.cls_token, tower.reg_token):
        if token is not None:
            token.normal_(0.0, 1e-6 if config.position_scale <= 0.1 else config.position_scale)


def _decoder(decoder: Decoder) -> None:
    _linears(decoder.layers)
    decoder.embed_tokens.weight.normal_(0.0, decoder.config.embedding_scale)


def grid_positions(grid: int, width: int) -> Tensor:
    """Two-dimensional sine-cosine positions (1, grid², width), rows first, of RMS 0.7."""
    quarter = math.ceil(width / 4)
    frequency = 1.0 / 100 ** (torch.arange(quarter) / max(1, quarter - 1))
    angle = torch.arange(grid)[:, None] * frequency * math.pi / 2
    wave = torch.cat((angle.sin(), angle.cos()), dim=-1)  # (grid, width / 2)
    rows = wave[:, None].expand(-1, grid, -1)
    columns = wave[None].expand(grid, -1, -1)
    return torch.cat((rows, columns), dim=-1).reshape(1, grid * grid, -1)[..., :width]
