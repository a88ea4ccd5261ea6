# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Bridge Attention: one softmax over the policy's own tokens, query features and raw features.

The paper's equation concatenates separate attentions; the released code, followed here, gates the
scores of the raw features and takes one joint softmax.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import VLAAdapterConfig

Pair = tuple[Tensor, Tensor]  # keys and values
Tables = tuple[Tensor, Tensor]  # cosine and sine


def policy_tables(
    length: int, head_dim: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the Pro policy, each (length, head_dim), computed in `dtype` throughout.

    Quirk: casting the released module to bfloat16 casts its inverse frequencies too, and positions
    are counted in that dtype. Positions above 256 are then rounded (385 distinct values of 512),
    the angles too, by up to 1.7 in cosine. The released Pro weights were trained that way.
    """
    inverse = 1.0 / 10000 ** (torch.arange(0, head_dim, 2, device=device).float() / head_dim)
    positions = torch.arange(length, device=device).to(dtype)
    angles = positions[:, None] * inverse.to(dtype)
    # Quirk: the table repeats by halves [f, f] although the rotation pairs neighbours.
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate_interleaved(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the Pro policy's tables to (..., length, head_dim).

    Quirk: channels 2i and 2i+1 are paired, but their table entries belong to different frequencies
    (half-concatenated tables), so this is not a rotation. The weights expect it as it is.
    """
    turned = torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)
    return x * cos + turned * sin


def group_tables(
    config: VLAAdapterConfig, query: int, raw: int, like: Tensor, precision: str
) -> tuple[Tables, ...]:
    """Rotary tables of chunk, query and raw tokens, in the dtype of `like`.

    `precision` is the dtype they are computed in: `float32`, `bfloat16`, or `run`, that of `like`.
    """
    pinned = {'float32': torch.float32, 'bfloat16': torch.bfloat16}
    dtype = pinned.get(precision, like.dtype)
    head_dim = config.policy_width // config.policy.heads
    return tuple(
        tuple(
            table.to(like.dtype) for table in policy_tables(length, head_dim, dtype, like.device)
        )
        for length in (config.chunk_size, query, raw)
    )


class BridgeBlock(nn.Module):
    """Common part of the original and the Pro block; subclasses project keys and values."""

    rotary = False

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__()
        width, policy = config.policy_width, config.policy
        self.heads = policy.heads
        self.head_dim = width // policy.heads
        has_raw = policy.features != 'query'
        self.gating_factor = (
            nn.Parameter(torch.zeros(1)) if has_raw and policy.raw_gate == 'tanh' else None
        )
        # Not in the released form: a learned injection degree for the queries (Table 8).
        self.query_gating_factor = (
            nn.Parameter(torch.zeros(1)) if policy.query_gate == 'tanh' else None
        )
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())
        self.q_proj = nn.Linear(width, width)
        self.o_proj = nn.Linear(width, width)

    def own_pair(self, x: Tensor) -> Pair:
        """Keys and values of the chunk tokens, not yet split into heads."""
        raise NotImplementedError

    def feature_pairs(self, query: Tensor, raw: Tensor) -> list[Pair]:
        """Keys and values of query and raw features; they do not depend on the chunk."""
        raise NotImplementedError

    def attend(
        self,
        x: Tensor,
        query: Tensor,
        raw: Tensor,
        tables: tuple[Tables, ...] | None = None,
        pairs: list[Pair] | None = None,
    ) -> Tensor:
        """Joint attention of the chunk tokens, projected.

        Args:
            x: chunk tokens (B, K, D).
            query: query features followed by the proprioception token (B, Q + 1, D).
            raw: raw features (B, T, D).
            tables: rotary tables of the three groups (Pro only).
            pairs: `feature_pairs(query, raw)` if known already.

        Returns:
            (B, K, D), before the skip connection.
        """
        q = self.split(self.q_proj(x))
        features = self.feature_pairs(query, raw) if pairs is None else pairs
        groups = [self.own_pair(x), *features]
        keys = [self.split(key) for key, _ in groups]
        if tables is not None:
            q = rotate_interleaved(q, *tables[0])
            # Quirk: positions restart at zero for each of the three groups.
            keys = [rotate_interleaved(key, *table) for key, table in zip(keys, tables)]
        weights = self.joint_weights([q @ key.mT for key in keys])
        values = torch.cat([self.split(value) for _, value in groups], dim=2)
        return self.o_proj(self.merge(weights @ values))

    def joint_weights(self, scores: list[Tensor]) -> Tensor:
        """Gate the groups' scores (…, N_g) and take one softmax over all of them (…, N)."""
        if self.query_gating_factor is not None:
            scores[1] = scores[1] * self.query_gating_factor.tanh()
        if self.gating_factor is not None:
            # Quirk: the gate scales the raw features' scores, before one joint softmax: a closed
            # gate (g = 0) gives their keys a logit of zero, not a weight of zero.
            scores[2] = scores[2] * self.gating_factor.tanh()
        return (torch.cat(scores, dim=-1) / self.head_dim**0.5).softmax(dim=-1)

    def feed_forward(self, attended: Tensor, x: Tensor) -> Tensor:
        """Skip connection around the attention, then the FFN.

        Quirk: there is no skip around the FFN; its ReLU is the block's output.
        """
        return self.ffn(attended + x)

    def split(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, heads, N, head_dim)."""
        return x.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)

    @staticmethod
    def merge(x: Tensor) -> Tensor:
        """(B, heads, N, head_dim) -> (B, N, D)."""
        return x.transpose(1, 2).flatten(2)


class OriginalBlock(BridgeBlock):
    """Released `MLPResNetBlock`: one key and one value projection for all groups, no positions.

    Quirk: without positions and with a zero input, all actions of a chunk are equal at inference.
    """

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__(config)
        width = config.policy_width
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)

    def own_pair(self, x: Tensor) -> Pair:
        """Project the chunk tokens."""
        return self.k_proj(x), self.v_proj(x)

    def feature_pairs(self, query: Tensor, raw: Tensor) -> list[Pair]:
        """Project both groups with the layers of the chunk tokens."""
        return [self.own_pair(query), self.own_pair(raw)]


class ProBlock(BridgeBlock):
    """Released `MLPResNetBlock_Pro`: projections per group and rotary positions on keys.

    Parameters have the released names: `adapter` for query features, `task` for raw ones. The
    `film_gen` layer, never called in the released code, does not exist here.
    """

    rotary = True

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__(config)
        source, width = config.language.hidden, config.policy_width
        self.k_self = nn.Linear(width, width)
        self.v_self = nn.Linear(width, width)
        self.k_adapter = nn.Linear(source, width)
        self.v_adapter = nn.Linear(source, width)
        if config.policy.features != 'query':
            self.k_task = nn.Linear(source, width)
            self.v_task = nn.Linear(source, width)

    def own_pair(self, x: Tensor) -> Pair:
        """Project the chunk tokens."""
        return self.k_self(x), self.v_self(x)

    def feature_pairs(self, query: Tensor, raw: Tensor) -> list[Pair]:
        """Project each group with its own layers."""
        pair = self.k_adapter(query), self.v_adapter(query)
        if not raw.shape[1]:  # a policy on query features alone has no layers for raw ones
            return [pair, (pair[0][:, :0], pair[1][:, :0])]
        return [pair, (self.k_task(raw), self.v_task(raw))]


class BridgeNetwork(nn.Module):
    """The released `MLPResNet`: latent chunk -> one block per language-model layer -> actions."""

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__()
        self.config = config
        width = config.policy_width
        block = ProBlock if config.policy.kind == 'pro' else OriginalBlock
        self.layer_norm1 = nn.LayerNorm(width * config.action_dim)
        self.fc1 = nn.Linear(width * config.action_dim, width)
        self.mlp_resnet_blocks = nn.ModuleList(block(config) for _ in range(config.policy_blocks))
        self.layer_norm2 = nn.LayerNorm(width)
        self.fc2 = nn.Linear(width, config.action_dim)
        self.rope_precision = config.policy.rope_precision

    def finish(self, x: Tensor) -> Tensor:
        """Chunk tokens (B, K, D) -> normalised actions (B, K, A); no squashing at the end."""
        return self.fc2(self.layer_norm2(x))

    def tables(self, query: int, raw: int, like: Tensor) -> tuple[Tables, ...] | None:
        """Rotary tables of the three groups, or None for the original policy."""
        if not self.mlp_resnet_blocks[0].rotary:
            return None
        return group_tables(self.config, query, raw, like, self.rope_precision)

    def forward(
        self,
        latent: Tensor,
        query: Tensor,
        raw: Tensor,
        stages: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Plain path, block by block.

        Args:
            latent: (B, K, D·A), zeros at inference.
            query: query features per block, (B, blocks, Q + 1, D), proprioception last.
            raw: raw features per block, (B, blocks, T, D).
            stages: filled with the intermediate results if given.

        Returns:
            Normalised actions (B, K, A).
        """
        x = self.fc1(self.layer_norm1(latent))
        _record(stages, 'fc1_out', x)
        x = F.relu(x)
        tables = self.tables(query.shape[2], raw.shape[2], x)
        for index, block in enumerate(self.mlp_resnet_blocks):
            attended = block.attend(x, query[:, index], raw[:, index], tables)
            _record(stages, f'block{index:02d}_attn_out', attended)
            x = block.feed_forward(attended, x)
            _record(stages, f'block{index:02d}_out', x)
        return self.finish(x)


def _record(stages: dict[str, Tensor] | None, name: str, value: Tensor) -> None:
    if stages is not None:
        stages[name] = value
