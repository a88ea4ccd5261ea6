# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What FiLM towers are told of the instruction: its average embedding, whole or piece by piece.

The average (OpenVLA-OFT, and the released `use_film`) is blind to word order: "the red block on
the blue block" and the reverse give the same one. A pre-trained tower does not mind, as the
language model sorts it out; a small one trained from nothing looks for the wrong block. Here each
piece of the prompt is told by itself, together with the phrases that are found in it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import FILM_PIECES

CONTEXT = 5  # words in a phrase


def average(embedded: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Average of the real prompt tokens (B, L, hidden) -> (B, hidden)."""
    if attention_mask is None:
        return embedded.mean(dim=1)
    mask = attention_mask[..., None].to(embedded.dtype)
    return (embedded * mask).sum(dim=1) / mask.sum(dim=1)


class PieceEncoder(nn.Module):
    """Tells of each piece of the prompt its words' average and its strongest phrases.

    Args:
        width: of the embeddings.
        words: in a piece; the last of the `FILM_PIECES` pieces takes all the rest.
    """

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.words = words
        self.detect = nn.Conv1d(width, 2 * width, CONTEXT, padding=CONTEXT // 2)
        self.mix = nn.Linear(2 * width, width)

    def forward(self, embedded: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(B, L, hidden) and (B, L) -> (B, FILM_PIECES * hidden).

        Pieces without words are zero.
        """
        batch, length, hidden = embedded.shape
        real = embedded.new_ones(batch, length)
        if attention_mask is not None:
            real = attention_mask.to(embedded.dtype)
            # Padding must look like the end of a shorter prompt.
            embedded = embedded * real[..., None]
        found = F.gelu(self.detect(embedded.mT)).mT
        lowest = torch.finfo(found.dtype).min
        told = []
        for piece in range(FILM_PIECES):
            first = piece * self.words
            end = first + self.words if piece < FILM_PIECES - 1 else length
            part = real[:, first:end, None]
            if not part.shape[1]:
                told.append(embedded.new_zeros(batch, hidden))
                continue
            count = part.sum(dim=1)
            mean = embedded[:, first:end].sum(dim=1) / count.clamp(min=1)
            strongest = found[:, first:end].masked_fill(part == 0, lowest).amax(dim=1)
            phrases = self.mix(strongest.masked_fill(count == 0, 0))
            told.append(F.layer_norm(mean + phrases, (hidden,)) * (count > 0))
        return torch.cat(told, dim=1)
