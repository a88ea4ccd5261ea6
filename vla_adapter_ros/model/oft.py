# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""OpenVLA-OFT's way from the language model to actions, which the paper compares with its own.

The "+OFT" columns of its Table 2, and OpenVLA-OFT in Table 3, with a frozen VLM (arXiv
2502.19645): behind the prompt lie K·A slots whose embeddings are zero, proprioception is a token
behind the visual ones, and a residual MLP reads the slots' states of the last layer, A of them for
each action.

Attention is causal, as for every Qwen2 model in the official code: its fork of transformers, which
makes attention bi-directional, changes LLaMA only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.model.policy import ActionPolicy, Features, action_error

BLOCKS = 2  # unless the configuration says otherwise


class ResidualBlock(nn.Module):
    """Layer norm, linear layer and ReLU around a skip connection, (…, D) -> (…, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Return the input and what the layers add."""
        return x + self.ffn(x)


class OFTNetwork(nn.Module):
    """The slots' states of each action (B, K, A·hidden) -> actions (B, K, A).

    Parameter names are those of OpenVLA-OFT's `MLPResNet`.
    """

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__()
        source, width = config.language.hidden * config.action_dim, config.policy_width
        self.layer_norm1 = nn.LayerNorm(source)
        self.fc1 = nn.Linear(source, width)
        self.mlp_resnet_blocks = nn.ModuleList(
            ResidualBlock(width) for _ in range(config.policy.blocks or BLOCKS)
        )
        self.layer_norm2 = nn.LayerNorm(width)
        self.fc2 = nn.Linear(width, config.action_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Predict normalised actions; no squashing at the end."""
        x = F.relu(self.fc1(self.layer_norm1(x)))
        for block in self.mlp_resnet_blocks:
            x = block(x)
        return self.fc2(self.layer_norm2(x))


class OFTPolicy(ActionPolicy):
    """Regression from the last layer's states of the action slots."""

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__(config, OFTNetwork(config))

    def context(self, visual: Tensor, proprio: Tensor | None) -> Tensor:
        """Append the proprioception token: (B, V, hidden) -> (B, V + 1, hidden)."""
        token = self.proprio_token(proprio, visual.shape[0])
        return visual if token is None else torch.cat((visual, token.to(visual.dtype)), dim=1)

    def forward(
        self,
        features: Features,
        proprio: Tensor | None = None,
        initial_latent: Tensor | None = None,
        return_stages: bool = False,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Compute one chunk.

        Args:
            features: of one block: the slots' states (B, K·A, hidden), and no raw features.
            proprio: not read here: the language model has seen it.
            initial_latent: not used.
            return_stages: also return the actions as a stage.

        Returns:
            Normalised actions (B, K, A), and the stages if requested.
        """
        slots = features[0][0]
        if not torch.is_autocast_enabled(slots.device.type):
            slots = slots.to(self.dtype)
        actions = self.network(slots.unflatten(1, (self.config.chunk_size, -1)).flatten(2))
        return (actions, {'actions': actions}) if return_stages else actions

    def loss(
        self,
        features: Features,
        proprio: Tensor | None,
        actions: Tensor,
        initial_latent: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean absolute error of the normalised actions (B, K, A)."""
        return action_error(self(features), actions, valid)
