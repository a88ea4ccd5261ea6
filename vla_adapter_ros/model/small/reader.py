# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reads a sentence into a few slots: what to act on first and where to, then what next.

FiLM tells small towers of an instruction, and is linear in its conditioning vector. In means of
segments of a sentence "red", "block", "green" and "cylinder" lie beside each other; which colour
goes with which shape, and which of the two objects comes first, was left to a few convolutions,
which then found a red cylinder. Two transformer layers put it in order before.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.model.vision import Attention, Mlp

LAYERS, HEADS = 2, 4


class SentenceReader(nn.Module):
    """Transformer over slots and words; only the slots are read.

    Args:
        width: of the word embeddings.
        slots: number of slots.
    """

    def __init__(self, width: int, slots: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(slots, width))
        self.layers = nn.ModuleList(_Layer(width) for _ in range(LAYERS))

    def forward(self, embedded: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return the normalised slots, (B, L, width) -> (B, slots * width)."""
        batch, length, width = embedded.shape
        words = F.layer_norm(embedded, (width,)) + positions(length, width).to(embedded)
        count = len(self.slots)
        x = torch.cat((self.slots.expand(batch, -1, -1), words), dim=1)
        mask = None
        if attention_mask is not None:
            slots = attention_mask.new_ones(batch, count)
            mask = torch.cat((slots, attention_mask), dim=1).bool()[:, None, None]
        for layer in self.layers:
            x = layer(x, mask)
        return F.layer_norm(x[:, :count], (width,)).flatten(1)


class _Layer(nn.Module):
    """Pre-norm transformer layer that passes over padding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width, HEADS), Mlp(width, 2 * width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, width) -> (B, N, width); `mask` as for `precision.attention`."""
        x = x + self.attn(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


def positions(length: int, width: int) -> Tensor:
    """Sine-cosine positions (length, width) of RMS 0.7."""
    half = (width + 1) // 2
    frequency = torch.exp(torch.arange(half) * (-math.log(1000.0) / half))
    angle = torch.arange(length)[:, None] * frequency
    return torch.cat((angle.sin(), angle.cos()), dim=-1)[:, :width]
