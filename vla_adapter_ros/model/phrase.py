# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What FiLM towers are told of the instruction: its average embedding, and optionally its phrases.

The average (OpenVLA-OFT, and the released `use_film`) is blind to word order: "the red block on
the blue block" and the reverse give the same one. A pre-trained tower does not mind, as the
language model sorts it out; a small one trained from nothing looks for the wrong block.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mean_of_tokens(embedded: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Average of the real prompt tokens (B, L, hidden) -> (B, hidden)."""
    if attention_mask is None:
        return embedded.mean(dim=1)
    mask = attention_mask[..., None].to(embedded.dtype)
    return (embedded * mask).sum(dim=1) / mask.sum(dim=1)


class PhraseEncoder(nn.Module):
    """Adds to the normalised average which phrases occur: detectors of word groups, by maximum.

    The average is normalised alone and the detectors are bounded. Normalised together, one phrase
    that tells skills apart ("on the plate") grew until the colour next to it was lost.

    Args:
        width: of the embeddings.
        context: words in a phrase, odd.
    """

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.detect = nn.Conv1d(width, 2 * width, context, padding=context // 2)
        self.mix = nn.Linear(2 * width, width)

    def forward(self, embedded: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(B, L, hidden) and (B, L) -> (B, hidden)."""
        words = embedded
        if attention_mask is not None:
            # Padding must look like the end of a shorter prompt.
            words = embedded * attention_mask[..., None].to(embedded.dtype)
        found = torch.tanh(self.detect(words.mT))
        if attention_mask is not None:
            found = found.masked_fill(attention_mask[:, None] == 0, -1.0)
        average = self.norm(mean_of_tokens(embedded, attention_mask))
        return average + self.mix(found.amax(dim=-1))
