# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The action policy: proprioception and hidden states in, normalised actions out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.model.bridge import BridgeNetwork

LATENT_STD = 0.02  # of the random initial latent in training


class ProprioProjector(nn.Module):
    """Proprioception (B, P) -> one token (B, 1, hidden): linear, exact GELU, linear."""

    def __init__(self, proprio_dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(proprio_dim, hidden)
        self.fc2 = nn.Linear(hidden, hidden)

    def forward(self, proprio: Tensor) -> Tensor:
        """Project normalised proprioception."""
        return self.fc2(F.gelu(self.fc1(proprio)))


class ActionPolicy(nn.Module):
    """Base of the policies: blocks (`action_head.model`) and the proprioception projector."""

    def __init__(self, config: VLAAdapterConfig, network: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.action_head = nn.ModuleDict({'model': network})
        self.proprio_projector = (
            ProprioProjector(config.proprio_dim, config.language.hidden)
            if config.use_proprio
            else None
        )

    @property
    def network(self) -> nn.Module:
        """The blocks."""
        return self.action_head['model']

    @property
    def dtype(self) -> torch.dtype:
        """Parameter dtype."""
        return next(self.network.parameters()).dtype

    def split_features(self, hidden_states: Tensor, token: Tensor | None) -> tuple[Tensor, Tensor]:
        """Split stacked states into the features that each block reads.

        Args:
            hidden_states: (B, layers + 1, T + Q, D).
            token: projected proprioception (B, 1, D), or None.

        Returns:
            Query features, the proprioception token last, (B, blocks, Q + 1, D), and raw
            features (B, blocks, T, D).
        """
        config = self.config
        states = hidden_states.to(self.dtype)[:, list(config.layer_of_block)]
        # The queries come last; all before them is raw features, unless their number is pinned.
        count = config.policy.num_task_tokens or states.shape[2] - config.queries_in_sequence
        count = 0 if config.policy.features == 'query' else count
        query, raw = states[:, :, count:], states[:, :, :count]
        if token is not None:
            repeated = token[:, None].expand(-1, query.shape[1], -1, -1)
            query = torch.cat((query, repeated.to(query.dtype)), dim=2)
        return query, raw

    def proprio_token(self, proprio: Tensor | None, batch: int) -> Tensor | None:
        """Project proprioception to (B, 1, D), or None for a policy without it.

        Raises:
            ObservationError: proprioception is missing or has the wrong shape.
        """
        if self.proprio_projector is None:
            return None
        expected = (batch, self.config.proprio_dim)
        if proprio is None or proprio.shape != expected:
            got = None if proprio is None else tuple(proprio.shape)
            raise ObservationError(f'proprio: got shape {got}, the policy expects {expected}')
        return self.proprio_projector(proprio.to(self.dtype))[:, None]


class BridgePolicy(ActionPolicy):
    """Regression policy of the paper (`original` or `pro`).

    Parameter names under `action_head.model` and `proprio_projector` are the released ones.
    """

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__(config, BridgeNetwork(config))

    def forward(
        self,
        hidden_states: Tensor,
        proprio: Tensor | None = None,
        initial_latent: Tensor | None = None,
        return_stages: bool = False,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Compute one chunk.

        Args:
            hidden_states: stacked language-model states (B, layers + 1, T + Q, D): raw features,
                then query features. State 0, the embeddings, is not read.
            proprio: normalised proprioception (B, P).
            initial_latent: (K, D·A) or (B, K, D·A). Default: zeros, and in training mode noise.
            return_stages: also return the intermediate results by the released names.

        Returns:
            Normalised actions (B, K, A), and the stages if requested.
        """
        token = self.proprio_token(proprio, hidden_states.shape[0])
        query, raw = self.split_features(hidden_states, token)
        stages: dict[str, Tensor] | None = {} if return_stages else None
        if stages is not None and token is not None:
            stages['proprio_feat'] = token[:, 0]
        latent = self.initial_latent(hidden_states.shape[0], hidden_states.device, initial_latent)
        actions = self.network(latent, query, raw, stages)
        if stages is None:
            return actions
        stages['actions'] = actions
        return actions, stages

    def loss(
        self,
        hidden_states: Tensor,
        proprio: Tensor | None,
        actions: Tensor,
        initial_latent: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean absolute error of the normalised actions (B, K, A), unweighted, with gripper."""
        predicted = self(hidden_states, proprio, initial_latent)
        if actions.shape != predicted.shape:  # a chunk of one step would be broadcast
            raise ObservationError(
                f'actions: got shape {tuple(actions.shape)}, '
                f'the network predicts {tuple(predicted.shape)}'
            )
        error = (predicted.float() - actions.to(predicted.device).float()).abs()
        steps = {'l1_first': error[:, 0].mean()}
        if error.shape[1] > 1:
            steps['l1_later'] = error[:, 1:].mean()
        return error.mean(), steps

    def initial_latent(
        self, batch: int, device: torch.device, given: Tensor | None = None
    ) -> Tensor:
        """Latent chunk (B, K, D·A) that the blocks start from.

        Quirk: zeros at inference, but in training new noise N(0, 0.02²), one draw for the whole
        batch and not learned; the first LayerNorm brings it to unit variance.
        """
        shape = (self.config.chunk_size, self.config.policy_width * self.config.action_dim)
        if given is not None:
            if given.shape[-2:] != shape:
                raise ObservationError(
                    f'initial_latent: got {tuple(given.shape)}, expected {shape}'
                )
            return given.to(device, self.dtype).expand(batch, -1, -1)
        latent = torch.empty(shape, device=device, dtype=self.dtype)
        latent = latent.normal_(0.0, LATENT_STD) if self.training else latent.zero_()
        return latent.expand(batch, -1, -1)
