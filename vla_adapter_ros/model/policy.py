# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The action policy: proprioception and hidden states in, normalised actions out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.model.bridge import BridgeNetwork

Features = list[tuple[Tensor, Tensor]]  # of each block: query and raw features (B, N, D)

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

    def context(self, visual: Tensor, proprio: Tensor | None) -> Tensor:
        """Return what the language model reads between the first token and the rest of the prompt.

        Visual tokens (B, V, hidden) alone: proprioception goes to the policy.
        """
        return visual

    def inputs(self, features: Features, proprio: Tensor | None) -> tuple[Features, Tensor | None]:
        """Append the projected proprioception to the query features of every block.

        Returns:
            Query features (B, Q + 1, D) and raw features (B, T, D) of each block in the
            parameters' dtype, and the token (B, 1, D) or None.

        Raises:
            ObservationError: proprioception is missing or has the wrong shape.
        """
        query = features[0][0]
        if query.dtype != self.dtype and not torch.is_autocast_enabled(query.device.type):
            features = [(q.to(self.dtype), raw.to(self.dtype)) for q, raw in features]
        token = self.proprio_token(proprio, query.shape[0])
        if token is None:
            return features, None
        return [(torch.cat((q, token.to(q.dtype)), dim=1), raw) for q, raw in features], token

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


def mean_of_valid(values: Tensor, valid: Tensor | None) -> Tensor:
    """Return the mean of values (B, K, A) over the steps that `valid` (B, K) marks; None: all."""
    if valid is None:
        return values.mean()
    kept = valid.to(values.device)[..., None]
    return torch.where(kept, values, 0.0).sum() / (kept.sum() * values.shape[-1]).clamp(min=1)


def action_error(
    predicted: Tensor, actions: Tensor, valid: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean absolute error of chunks (B, K, A), and that of the first and the later actions.

    `valid` (B, K) marks the steps that count.

    Raises:
        ObservationError: the shapes differ.
    """
    if actions.shape != predicted.shape:  # a chunk of one step would be broadcast
        raise ObservationError(
            f'actions: got shape {tuple(actions.shape)}, '
            f'the network predicts {tuple(predicted.shape)}'
        )
    error = (predicted.float() - actions.to(predicted.device).float()).abs()
    steps = {'l1_first': error[:, 0].mean()}
    if error.shape[1] > 1:
        later = None if valid is None else valid[:, 1:]
        steps['l1_later'] = mean_of_valid(error[:, 1:], later)
    return mean_of_valid(error, valid), steps


class BridgePolicy(ActionPolicy):
    """Regression policy of the paper (`original` or `pro`).

    Parameter names under `action_head.model` and `proprio_projector` are the released ones.
    """

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__(config, BridgeNetwork(config))

    def forward(
        self,
        features: Features,
        proprio: Tensor | None = None,
        initial_latent: Tensor | None = None,
        return_stages: bool = False,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Compute one chunk.

        Args:
            features: of each block: query features (B, Q, D) and raw features (B, T, D).
            proprio: normalised proprioception (B, P).
            initial_latent: (K, D·A) or (B, K, D·A). Default: zeros, and in training mode noise.
            return_stages: also return the intermediate results by the released names.

        Returns:
            Normalised actions (B, K, A), and the stages if requested.
        """
        features, token = self.inputs(features, proprio)
        stages: dict[str, Tensor] | None = {} if return_stages else None
        if stages is not None and token is not None:
            stages['proprio_feat'] = token[:, 0]
        query = features[0][0]
        latent = self.initial_latent(query.shape[0], query.device, initial_latent)
        actions = self.network(latent, features, stages)
        if stages is None:
            return actions
        stages['actions'] = actions
        return actions, stages

    def loss(
        self,
        features: Features,
        proprio: Tensor | None,
        actions: Tensor,
        initial_latent: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean absolute error of the normalised actions (B, K, A), unweighted, with gripper."""
        return action_error(self(features, proprio, initial_latent), actions, valid)

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
