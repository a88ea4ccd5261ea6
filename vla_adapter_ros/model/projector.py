# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From visual features to the language model's embedding space."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import VLAAdapterConfig


class Projector(nn.Module):
    """Fused towers: width -> 4 x width -> hidden -> hidden; one tower: width -> hidden -> hidden.

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
