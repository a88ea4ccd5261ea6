# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What FiLM towers are told of the instruction: its average embedding, whole or piece by piece.

The average (OpenVLA-OFT, and the released `use_film`) is blind to word order: "the red block on
the blue block" and the reverse give the same one. A pre-trained tower does not mind, as the
language model sorts it out; a small one trained from nothing looks for the wrong block. Averages
of successive pieces keep the order and stay linear in the words, so that what "red" means is
learned once for all sentences.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import FILM_PIECES


def average(embedded: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Average of the real prompt tokens (B, L, hidden) -> (B, hidden)."""
    if attention_mask is None:
        return embedded.mean(dim=1)
    mask = attention_mask[..., None].to(embedded.dtype)
    return (embedded * mask).sum(dim=1) / mask.sum(dim=1)


def piecewise_average(embedded: Tensor, attention_mask: Tensor | None, words: int) -> Tensor:
    """Normalised averages of pieces of `words` tokens (B, L, hidden) -> (B, FILM_PIECES * hidden).

    Pieces without a real token are zero.
    """
    length, hidden = embedded.shape[1:]
    piece = (torch.arange(length, device=embedded.device) // words).clamp(max=FILM_PIECES - 1)
    share = F.one_hot(piece, FILM_PIECES).to(embedded.dtype)[None]
    if attention_mask is not None:
        share = share * attention_mask[..., None].to(embedded.dtype)
    share = share / share.sum(dim=1, keepdim=True).clamp(min=1)
    pieces = share.mT.expand(embedded.shape[0], -1, -1) @ embedded
    return F.layer_norm(pieces, (hidden,)).flatten(1)
