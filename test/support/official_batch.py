# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Batches of the official training loader as batches of `VLAAdapter.compute_loss`.

The official loader appends 64 discretised action tokens to each prompt; the official model then
overwrites their embeddings by the ActionQueries. Ours adds the queries itself and takes the
prompt alone. Loss and gradients are equal.

    loss, _ = model.train().compute_loss(from_official_batch(batch))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.training.trainer import Batch

IGNORED = -100  # label of a token that is no action token
OFFICIAL_PADDING = 151643  # the official collator's padding id


def from_official_batch(batch: Mapping[str, Any]) -> Batch:
    """Cut the action tokens off the prompts and keep everything else.

    Args:
        batch: `pixel_values`, `input_ids` (B, N): prompt, action tokens, padding on the right;
            `labels` (B, N), -100 except on the action tokens; `actions` (B, K, A) normalised;
            `proprio`, whose shape may be (B, P) or, as the loader gives it, (B, 1, P); and
            optionally `attention_mask` (default: tokens other than the official padding) and
            `initial_latent`, (K, D·A) or (B, K, D·A), the noise of the forward to be repeated.

    Returns:
        The same with `input_ids` and `attention_mask` of the prompts, (B, longest prompt).

    Raises:
        ObservationError: a row has no prompt, or no action tokens behind it.
    """
    ids, labels = torch.as_tensor(batch['input_ids']), torch.as_tensor(batch['labels'])
    mask = batch.get('attention_mask')
    real = ids != OFFICIAL_PADDING if mask is None else torch.as_tensor(mask).bool()
    lengths = _prompt_lengths(real, labels)
    longest = int(lengths.max())
    kept = torch.arange(longest, device=ids.device)[None] < lengths[:, None]
    proprio = batch.get('proprio')
    rest = {k: v for k, v in batch.items() if k in ('pixel_values', 'actions', 'initial_latent')}
    return rest | {
        'input_ids': ids[:, :longest] * kept,
        'attention_mask': kept.long(),
        'proprio': None if proprio is None else torch.as_tensor(proprio).reshape(len(ids), -1),
    }


def _prompt_lengths(real: Tensor, labels: Tensor) -> Tensor:
    """Return tokens in front of the first action token (B,)."""
    action = real & (labels != IGNORED)
    found = action.any(dim=1)
    lengths = action.long().argmax(dim=1)
    good = found & (lengths > 0)
    if not bool(good.all()):
        row = int(good.long().argmin())
        what = 'no action token' if not found[row] else 'no prompt in front of its action tokens'
        raise ObservationError(f'official batch, row {row}: {what} (labels other than {IGNORED})')
    return lengths
