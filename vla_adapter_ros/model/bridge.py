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
from vla_adapter_ros.model.rope import policy_tables, rotate_interleaved

Pair = tuple[Tensor, Tensor]  # keys and values
Tables = tuple[Tensor, Tensor]  # cosine and sine


class BridgeBlock(nn.Module):
    """What the original and the Pro block share; subclasses say how keys and values are made."""

    rotary = False

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__()
        width, policy = config.policy_width, config.policy
        self.heads = policy.heads
        self.head_dim = width // policy.heads
        has_raw = policy.conditions != 'action_query'
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

    def condition_pairs(self, adapter: Tensor, task: Tensor) -> list[Pair]:
        """Keys and values of the adapter and task groups; they do not depend on the chunk."""
        raise NotImplementedError

    def attend(
        self,
        x: Tensor,
        adapter: Tensor,
        task: Tensor,
        tables: tuple[Tables, ...] | None = None,
        pairs: list[Pair] | None = None,
    ) -> Tensor:
        """Joint attention of the chunk tokens, projected.

        Args:
            x: chunk tokens (B, K, D).
            adapter: query features followed by the proprioception token (B, Q + 1, D).
            task: raw features (B, T, D).
            tables: rotary tables of the three groups (Pro only).
            pairs: `condition_pairs(adapter, task)` if known already.

        Returns:
            (B, K, D), before the skip connection.
        """
        q = self.split(self.q_proj(x))
        conditions = self.condition_pairs(adapter, task) if pairs is None else pairs
        groups = [self.own_pair(x), *conditions]
        keys = [self.split(key) for key, _ in groups]
        if tables is not None:
            q = rotate_interleaved(q, *tables[0])
            # Quirk: positions restart at zero for each of the three groups.
            keys = [rotate_interleaved(key, *table) for key, table in zip(keys, tables)]
        scores = [q @ key.mT for key in keys]
        if self.query_gating_factor is not None:
            scores[1] = scores[1] * self.query_gating_factor.tanh()
        if self.gating_factor is not None:
            # Quirk: the gate scales the raw features' scores, before one joint softmax: a closed
            # gate (g = 0) gives their keys a logit of zero, not a weight of zero.
            scores[2] = scores[2] * self.gating_factor.tanh()
        weights = (torch.cat(scores, dim=-1) / self.head_dim**0.5).softmax(dim=-1)
        values = torch.cat([self.split(value) for _, value in groups], dim=2)
        return self.o_proj(self.merge(weights @ values))

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

    def condition_pairs(self, adapter: Tensor, task: Tensor) -> list[Pair]:
        """Project both groups with the layers of the chunk tokens."""
        return [self.own_pair(adapter), self.own_pair(task)]


class ProBlock(BridgeBlock):
    """Released `MLPResNetBlock_Pro`: projections per group and rotary positions on keys.

    Its `film_gen` layer is never called in the released code and does not exist here.
    """

    rotary = True

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__(config)
        source, width = config.language.hidden, config.policy_width
        self.k_self = nn.Linear(width, width)
        self.v_self = nn.Linear(width, width)
        self.k_adapter = nn.Linear(source, width)
        self.v_adapter = nn.Linear(source, width)
        if config.policy.conditions != 'action_query':
            self.k_task = nn.Linear(source, width)
            self.v_task = nn.Linear(source, width)

    def own_pair(self, x: Tensor) -> Pair:
        """Project the chunk tokens."""
        return self.k_self(x), self.v_self(x)

    def condition_pairs(self, adapter: Tensor, task: Tensor) -> list[Pair]:
        """Project each group with its own layers."""
        pair = self.k_adapter(adapter), self.v_adapter(adapter)
        if not task.shape[1]:  # a policy on query features alone has no layers for raw ones
            return [pair, (pair[0][:, :0], pair[1][:, :0])]
        return [pair, (self.k_task(task), self.v_task(task))]


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
        self.rope_dtype = config.policy.rope_tables

    def finish(self, x: Tensor) -> Tensor:
        """Chunk tokens (B, K, D) -> normalised actions (B, K, A); no squashing at the end."""
        return self.fc2(self.layer_norm2(x))

    def tables(self, adapter: int, task: int, like: Tensor) -> tuple[Tables, ...] | None:
        """Rotary tables of the three groups, or None for the original policy."""
        if not self.mlp_resnet_blocks[0].rotary:
            return None
        return group_tables(self.config, adapter, task, like, self.rope_dtype)

    def forward(
        self,
        latent: Tensor,
        adapter: Tensor,
        task: Tensor,
        stages: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Plain path, block by block.

        Args:
            latent: (B, K, D·A), zeros at inference.
            adapter: per block, (B, blocks, Q + 1, D).
            task: per block, (B, blocks, T, D).
            stages: filled with the intermediate results if given.

        Returns:
            Normalised actions (B, K, A).
        """
        x = self.fc1(self.layer_norm1(latent))
        _record(stages, 'fc1_out', x)
        x = F.relu(x)
        tables = self.tables(adapter.shape[2], task.shape[2], x)
        for index, block in enumerate(self.mlp_resnet_blocks):
            attended = block.attend(x, adapter[:, index], task[:, index], tables)
            _record(stages, f'block{index:02d}_attn_out', attended)
            x = block.feed_forward(attended, x)
            _record(stages, f'block{index:02d}_out', x)
        return self.finish(x)


def group_tables(
    config: VLAAdapterConfig, adapter: int, task: int, like: Tensor, rope_dtype: str
) -> tuple[Tables, ...]:
    """Rotary tables of chunk, adapter and task tokens, in the dtype of `like`.

    `rope_dtype` is what they are computed in: a dtype's name, or `dtype` for that of `like`.
    """
    pinned = {'float32': torch.float32, 'bfloat16': torch.bfloat16}
    dtype = pinned.get(rope_dtype, like.dtype)
    head_dim = config.policy_width // config.policy.heads
    return tuple(
        tuple(
            table.to(like.dtype) for table in policy_tables(length, head_dim, dtype, like.device)
        )
        for length in (config.chunk_size, adapter, task)
    )


def _record(stages: dict[str, Tensor] | None, name: str, value: Tensor) -> None:
    if stages is not None:
        stages[name] = value
