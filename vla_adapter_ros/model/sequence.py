# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Layout of the language model's sequence, and the positions that the policy reads.

One sample of prompt length L, V visual tokens and Q ActionQueries:

    position  0      1 .. V          V+1 .. V+L-1     V+L .. V+L+Q-1
    content   tok 0  visual tokens   tok 1 .. L-1     ActionQuery 0 .. Q-1

In a batch the prompts are right-padded; the queries follow each sample's own last prompt token, so
that they attend to the same tokens as without a batch, and the padding ends up behind them.

Quirks of the released code, kept unless `aligned_slices`:
  * raw features are positions 0 .. V-1: the first token is in, the last visual token is out;
  * ActionQuery features start one early: the last prompt token and queries 0 .. Q-2; the last
    query is never read and gets no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vla_adapter_ros.errors import ObservationError

STOP_TOKEN = 2  # ends the released code's inference sequence; causality leaves it no effect


def prompt_lengths(input_ids: Tensor, attention_mask: Tensor | None) -> Tensor | None:
    """Real tokens per row (B,), or None where every row is full.

    Raises:
        ObservationError: the mask is not a run of ones followed by zeros, or a row is empty.
    """
    if attention_mask is None:
        return None
    if attention_mask.shape != input_ids.shape:
        raise ObservationError(
            f'attention_mask: shape {tuple(attention_mask.shape)} differs from input_ids '
            f'{tuple(input_ids.shape)}'
        )
    mask = attention_mask.to(torch.long)
    # Elsewhere reading the values would stall the device, and a traced network has none.
    if mask.device.type == 'cpu' and not torch.compiler.is_compiling():
        if bool((mask[:, 1:] > mask[:, :-1]).any()):
            raise ObservationError('attention_mask: padding must be on the right of each prompt')
        if bool((mask[:, 0] == 0).any()):
            raise ObservationError(
                'attention_mask: a prompt is empty, at least one token is needed'
            )
    return mask.sum(dim=1)


def text_and_queries(embedded: Tensor, queries: Tensor, lengths: Tensor | None) -> Tensor:
    """Put the queries behind each prompt: (B, L, D) and (Q, D) -> (B, L + Q, D)."""
    batch, length, _ = embedded.shape
    both = torch.cat((embedded, queries.to(embedded.dtype).expand(batch, -1, -1)), dim=1)
    if lengths is None or queries.shape[0] == 0:
        return both
    count = queries.shape[0]
    place = torch.arange(length + count, device=embedded.device)[None]
    end = lengths[:, None]
    is_query = (place >= end) & (place < end + count)
    # Behind the queries the padding's own embeddings follow; nothing ever reads them.
    source = torch.where(is_query, length + place - end, place - count * (place >= end + count))
    return torch.gather(both, 1, source[..., None].expand_as(both))


def splice_visual(text: Tensor, visual: Tensor) -> Tensor:
    """Insert the visual tokens behind the first text token (there is no separate BOS)."""
    return torch.cat((text[:, :1], visual, text[:, 1:]), dim=1)


def read_positions(
    visual: int, input_ids: Tensor, lengths: Tensor | None, queries: int, aligned: bool
) -> Tensor:
    """Return the positions (B or 1, Q) of the ActionQuery features in the sequence."""
    start = visual + (0 if aligned else -1)
    steps = torch.arange(queries, device=input_ids.device)[None] + start
    return steps + (input_ids.shape[1] if lengths is None else lengths[:, None])


def read_features(
    state: Tensor, raw: int, positions: Tensor | None, aligned: bool
) -> tuple[Tensor, Tensor]:
    """Return raw features (B, raw, D) and query features (B, Q, D) of a layer's (B, N, D)."""
    start = 1 if aligned else 0
    features = state[:, start : start + raw]
    if positions is None:
        return features, state[:, :0]
    if positions.shape[0] == 1:
        return features, state.index_select(1, positions[0])
    index = positions[..., None].expand(-1, -1, state.shape[-1])
    return features, torch.gather(state, 1, index)
