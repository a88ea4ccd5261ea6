# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Prompts of different lengths in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def padded_prompts(
    rows: Sequence[np.ndarray | list[int]], pad_id: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask (B, L) of prompts of different lengths, padded on the right."""
    length = max(len(row) for row in rows)
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.from_numpy(np.array(row))
        mask[i, : len(row)] = 1
    return ids, mask
