# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Conditioning vector of the FiLM layers: mean prompt embedding, whole or by segment.

The mean (OpenVLA-OFT, and the released `use_film`) does not depend on word order: "the red block
on the blue block" and the reverse have the same one. With a pre-trained tower the language model
sorts that out; a small tower trained from scratch looks for the wrong block. Means of successive
segments keep the order and stay linear in the tokens, so that "red" is learned once for all
sentences.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import FILM_SEGMENTS


def mean_embedding(embedded: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Return the mean of the real prompt tokens, (B, L, hidden) -> (B, hidden)."""
    if attention_mask is None:
        return embedded.mean(dim=1)
    mask = attention_mask[..., None].to(embedded.dtype)
    return (embedded * mask).sum(dim=1) / mask.sum(dim=1)


def word_numbers(input_ids: Tensor, pieces: tuple[int, int]) -> Tensor:
    """Return which word each token belongs to, (B, L) or (1, L).

    Ids from `pieces[0]` up to `pieces[1]` go on with the word before them: a word that is spelled
    out does not push the later ones into another segment. Without any, each token is a word.
    """
    if pieces[0] == pieces[1]:
        return torch.arange(input_ids.shape[1], device=input_ids.device)[None]
    begins = (input_ids < pieces[0]) | (input_ids >= pieces[1])
    return begins.long().cumsum(1) - 1


def segment_means(
    embedded: Tensor, attention_mask: Tensor | None, words: Tensor, count: int
) -> Tensor:
    """Return normalised means of segments of `count` words, numbered by `words`.

    (B, L, hidden) -> (B, FILM_SEGMENTS * hidden). Segments without a real token are zero.
    """
    hidden = embedded.shape[2]
    segment = (words // count).clamp(0, FILM_SEGMENTS - 1)
    weight = F.one_hot(segment, FILM_SEGMENTS).to(embedded.dtype)
    if attention_mask is not None:
        weight = weight * attention_mask[..., None].to(embedded.dtype)
    weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1)
    means = weight.mT.expand(embedded.shape[0], -1, -1) @ embedded
    return F.layer_norm(means, (hidden,)).flatten(1)
