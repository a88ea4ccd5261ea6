# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Vision towers, pre-norm ViTs with the released (timm-style) parameter names, and projector.

One class serves DINOv2-with-registers and SigLIP: they differ in prefix tokens and LayerScale
only. Keeping the released names and the fused `qkv` layer means that a checkpoint is mapped into
memory without renaming or splitting, and that LoRA meets the layers of the released training.
`test/model/test_vision.py` compares both with transformers' Dinov2WithRegisters and Siglip models.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vla_adapter_ros.architecture.config import VisionTowerConfig, VLAAdapterConfig
from vla_adapter_ros.model.precision import attention, in_weights_dtype
from vla_adapter_ros.model.small.stem import ConvStem, KeypointToken


class PatchEmbed(nn.Module):
    """Non-overlapping patches through one convolution (the released form)."""

    def __init__(self, config: VisionTowerConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch, stride=config.patch)

    def forward(
        self, pixels: Tensor, language: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """(B, 3, H, W) -> (B, patches, width), rows first, and no feature maps."""
        # Contiguous: additions keep the layout of their first operand, so that all blocks would
        # work on transposed tokens, and each layer norm copy them first.
        return self.proj(pixels).flatten(2).transpose(1, 2).contiguous(), []


class Attention(nn.Module):
    """Bidirectional multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, width) -> (B, N, width); `mask` as for `precision.attention`."""
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attention(q, k, v, mask=mask)
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, width))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU (both towers use the exact one)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    """Per-channel factor. The released checkpoints call it `scale_factor` (timm: `gamma`)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale_factor = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """Return x + scale · branch."""
        return torch.addcmul(x, branch, self.scale_factor)


class Block(nn.Module):
    """Pre-norm transformer block, with FiLM between its halves where `film_width` is set."""

    def __init__(self, config: VisionTowerConfig, film_width: int = 0) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width, eps=config.norm_eps)
        self.attn = Attention(width, config.heads)
        self.norm2 = nn.LayerNorm(width, eps=config.norm_eps)
        self.mlp = Mlp(width, config.mlp_hidden)
        self.ls1 = LayerScale(width) if config.layer_scale else None
        self.ls2 = LayerScale(width) if config.layer_scale else None
        # FiLM as in OpenVLA-OFT: the mean prompt embedding scales and shifts the tokens.
        self.scale = nn.Linear(film_width, width) if film_width else None
        self.shift = nn.Linear(film_width, width) if film_width else None

    def forward(self, x: Tensor, language: Tensor | None = None) -> Tensor:
        """(B, N, width), and with FiLM its conditioning vector (B, film_width)."""
        x = _add(x, self.attn(self.norm1(x)), self.ls1)
        if self.scale is not None:
            language = language.to(self.scale.weight.dtype)  # FiLM may train while all else rests
            scale, shift = self.scale(language).to(x.dtype), self.shift(language).to(x.dtype)
            x = x * (1 + scale[:, None]) + shift[:, None]
        return _add(x, self.mlp(self.norm2(x)), self.ls2)


def _add(x: Tensor, branch: Tensor, scale: LayerScale | None) -> Tensor:
    return x + branch if scale is None else scale(x, branch)


class VisionTower(nn.Module):
    """A ViT up to and including block `depth - 2`; prefix tokens are stripped, no final norm."""

    def __init__(
        self, config: VisionTowerConfig, film_width: int = 0, cameras: int = 1
    ) -> None:
        super().__init__()
        self.config = config
        width = config.width
        if config.stem == 'conv':
            self.patch_embed: nn.Module = ConvStem(config, film_width)
        else:
            self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if config.class_token else None
        self.reg_token = (
            nn.Parameter(torch.zeros(1, config.registers, width)) if config.registers else None
        )
        # Quirk: the position embedding covers the patches only, not class and register tokens.
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2, width))
        # Quirk: the released code reads block depth - 2; its last block and norm are dead.
        self.blocks = nn.ModuleList(Block(config, film_width) for _ in range(config.used_depth))
        self.keypoint = KeypointToken(config, film_width, cameras) if config.keypoints else None
        self.gradient_checkpointing = False

    def forward(self, pixels: Tensor, language: Tensor | None = None) -> Tensor:
        """(B, 3, size, size) normalised pixels -> (B, tokens, width)."""
        x, feature_maps = self.patch_embed(pixels, language)
        x = x + self.pos_embed
        prefix = [token.expand(x.shape[0], -1, -1) for token in self._prefix()]
        count = sum(token.shape[1] for token in prefix)
        x = torch.cat((*prefix, x), dim=1) if prefix else x
        with in_weights_dtype(self.pos_embed):
            for block in self.blocks:
                if self.gradient_checkpointing and torch.is_grad_enabled():
                    x = checkpoint(block, x, language, use_reentrant=False)
                else:
                    x = block(x, language)
        return self._tokens(x[:, count:], feature_maps, language)

    def scores(self, pixels: Tensor, language: Tensor | None = None) -> Tensor:
        """(B, 3, size, size) normalised pixels -> scores of the maps (B, keypoints, h, w)."""
        patches, feature_maps = self.patch_embed(pixels, language)
        return self.keypoint.scores(feature_maps or [self._as_map(patches)], language)

    def _prefix(self) -> list[Tensor]:
        return [token for token in (self.cls_token, self.reg_token) if token is not None]

    def _tokens(
        self, patches: Tensor, feature_maps: list[Tensor], language: Tensor | None
    ) -> Tensor:
        """Pool the patch grid and append the keypoint token, where configured."""
        tokens = patches
        if self.config.pool > 1:
            pooled = F.avg_pool2d(self._as_map(patches), self.config.pool)
            tokens = pooled.flatten(2).transpose(1, 2)
        if self.keypoint is None:
            return tokens
        token = self.keypoint(feature_maps or [self._as_map(patches)], language)
        return torch.cat((tokens, token), dim=1)

    def _as_map(self, patches: Tensor) -> Tensor:
        return patches.transpose(1, 2).unflatten(-1, (self.config.grid, self.config.grid))


class VisionBackbone(nn.Module):
    """One tower, or two with features concatenated on channels; cameras follow one another."""

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__()
        film_width = config.film_width
        self.num_images = config.num_images
        towers = [VisionTower(tower, film_width, config.num_images) for tower in config.vision]
        self.featurizer = towers[0]
        self.fused_featurizer = towers[1] if len(towers) > 1 else None

    @property
    def towers(self) -> list[VisionTower]:
        """The towers in channel order."""
        towers = [self.featurizer, self.fused_featurizer]
        return [tower for tower in towers if tower is not None]

    def forward(
        self,
        pixels: Tensor,
        language: Tensor | None = None,
        fork: Callable[[list[Callable[[], Tensor]]], list[Tensor]] | None = None,
    ) -> Tensor:
        """(B, 3·towers·n, size, size) -> (B, n·tokens, sum of widths).

        All cameras of a batch go through each tower together. `fork` runs the towers' calls, e.g.
        in parallel; default: one after the other.
        """
        images, language = self._by_camera(pixels, language)
        calls = [partial(tower, images[:, i], language) for i, tower in enumerate(self.towers)]
        features = [call() for call in calls] if fork is None else fork(calls)
        fused = torch.cat(features, dim=-1) if len(features) > 1 else features[0]
        return fused.unflatten(0, (len(pixels), -1)).flatten(1, 2)

    def keypoint_scores(self, pixels: Tensor, language: Tensor | None) -> list[Tensor]:
        """Return each tower's keypoint scores (B·n, keypoints, h, w); no more of it runs."""
        images, language = self._by_camera(pixels, language)
        return [tower.scores(images[:, i], language) for i, tower in enumerate(self.towers)]

    def _by_camera(self, pixels: Tensor, language: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return (B·n, towers, 3, size, size), and the conditioning vector of each of them."""
        images = pixels.unflatten(1, (self.num_images, len(self.towers), 3)).flatten(0, 1)
        if language is not None:
            language = language.repeat_interleave(self.num_images, dim=0)
        return images, language


class Projector(nn.Module):
    """Visual features to the language model's embedding space.

    Fused towers: width -> 4 x width -> hidden -> hidden; one tower: width -> hidden -> hidden.
    Exact GELU between the layers. Names as in the released checkpoints (`fc1`, `fc2`, `fc3`).
    """

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__()
        width, hidden = config.vision_width, config.language.hidden
        fused = len(config.vision) > 1
        middle = 4 * width if fused else hidden
        self.fc1 = nn.Linear(width, middle)
        self.fc2 = nn.Linear(middle, hidden)
        self.fc3 = nn.Linear(hidden, hidden) if fused else None

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, tokens, width) to (B, tokens, hidden)."""
        x = self.fc2(F.gelu(self.fc1(features)))
        return x if self.fc3 is None else self.fc3(F.gelu(x))
