# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Intermediate results of the network, by the names of the recorded cases."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def record_stages(
    stages: dict[str, Tensor],
    sequence: Tensor,
    states: list[Tensor],
    read: Callable[[Tensor], tuple[Tensor, Tensor]],
    input_ids: Tensor,
    attention_mask: Tensor | None,
) -> None:
    """Add what the language model saw and made.

    Args:
        stages: results by name.
        sequence: (B, N, D), what went into the language model.
        states: (B, N, D) each, from its embeddings to its last layer.
        read: from a state to its query features and raw features.
        input_ids: the prompt (B, L).
        attention_mask: one for real prompt tokens (B, L); None: all are.
    """
    stages['inputs_embeds'] = sequence
    mask = sequence.new_ones(sequence.shape[:2], dtype=torch.long)
    if attention_mask is not None:
        end = attention_mask.sum(dim=1) + sequence.shape[1] - input_ids.shape[1]
        mask *= torch.arange(sequence.shape[1], device=mask.device)[None] < end[:, None]
    stages['attention_mask'] = mask
    for index, state in enumerate(states):
        stages[f'lm_hidden_{index:02d}'] = state
    features = [read(state) for state in states]
    stages['multi_layer_hidden_states'] = torch.stack(
        [torch.cat((raw, query), dim=1) for query, raw in features], dim=1
    )
    stages['actions_hidden_states_last'] = features[-1][0][:, None]
