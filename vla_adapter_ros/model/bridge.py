# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Bridge Attention: one softmax over the policy's own tokens, query features and raw features.

The paper's equation concatenates separate attentions; the released code, followed here, gates the
scores of the raw features and takes one joint softmax.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.model.precision import attention

Pair = tuple[Tensor, Tensor]  # keys and values
Tables = tuple[Tensor, Tensor]  # cosines, and sines negated on even channels


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

    Args:
        x: queries or keys.
        cos: table of the cosines (length, head_dim).
        sin: table of the sines, negated on even channels.
    """
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return torch.addcmul(x * cos, swapped, sin)


def group_tables(
    config: VLAAdapterConfig, query: int, raw: int, like: Tensor, precision: str
) -> tuple[Tables, Tables]:
    """Rotary tables of the chunk tokens and of the features, in the dtype of `like`.

    Quirk: positions restart at zero for chunk, query and raw tokens.

    Args:
        config: the network.
        query: number of query tokens, the proprioception token included.
        raw: number of raw tokens.
        like: a tensor on the device and in the dtype that the tables are for.
        precision: dtype they are computed in: `float32`, `bfloat16`, or `run`, that of `like`.

    Returns:
        Cosines and signed sines (see `rotate_interleaved`): of the chunk (K, head_dim) each, and
        of query and raw tokens, one behind the other (query + raw, head_dim) each.
    """
    pinned = {'float32': torch.float32, 'bfloat16': torch.bfloat16}
    dtype = pinned.get(precision, like.dtype)
    head_dim = config.policy_width // config.policy.heads
    signs = torch.ones(head_dim, dtype=dtype, device=like.device)
    signs[0::2] = -1

    def tables(*lengths: int) -> Tables:
        groups = [policy_tables(length, head_dim, dtype, like.device) for length in lengths]
        cos, sin = (torch.cat(tables) for tables in zip(*groups))
        return cos.to(like.dtype), (sin * signs).to(like.dtype)

    return tables(config.chunk_size), tables(query, raw)


class BridgeBlock(nn.Module):
    """Common part of the original and the Pro block; subclasses name their projections."""

    rotary = False

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__()
        width, policy = config.policy_width, config.policy
        self.heads = policy.heads
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

    def forward(
        self,
        x: Tensor,
        features: Pair | Tensor,
        tables: Tables | None,
        own: Tensor | None = None,
    ) -> Tensor:
        """Chunk tokens (B, K, D) -> (B, K, D); the other arguments are those of `attend`."""
        return self.feed_forward(self.attend(x, features, tables, own), x)

    def own_layers(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        """Projections of the chunk tokens: queries, keys, values."""
        raise NotImplementedError

    def feature_layers(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Projections to keys and values of the query features and, if there are, the raw ones."""
        raise NotImplementedError

    def gates(self) -> tuple[nn.Parameter | None, nn.Parameter | None]:
        """Gating factors of the query and of the raw features."""
        return self.query_gating_factor, self.gating_factor

    def features(self, query: Tensor, raw: Tensor, tables: Tables | None) -> Pair:
        """Keys and values of the features; they do not depend on the chunk.

        Quirk: a gate scales the scores of its features, before one joint softmax: a closed gate
        (g = 0) gives their keys a logit of zero, not a weight of zero. Scaling the keys is the
        same.

        Args:
            query: query features followed by the proprioception token (B, Q + 1, D).
            raw: raw features (B, T, D).
            tables: rotary tables of both (Pro only).

        Returns:
            Keys and values, (B, heads, Q + 1 + T, head_dim) each.
        """
        keys, values = [], []
        for tokens, layers, gate in zip((query, raw), self.feature_layers(), self.gates()):
            key = layers[0](tokens)
            keys.append(key if gate is None else key * gate.tanh().to(key.dtype))
            values.append(layers[1](tokens))
        key, value = self.split(torch.cat(keys, dim=1)), self.split(torch.cat(values, dim=1))
        return key if tables is None else rotate_interleaved(key, *tables), value

    def attend(
        self,
        x: Tensor,
        features: Pair | Tensor,
        tables: Tables | None,
        own: Tensor | None = None,
    ) -> Tensor:
        """Joint attention of the chunk tokens, projected.

        Args:
            x: chunk tokens (B, K, D).
            features: keys and values of the features, from `features`; or both in one tensor
                (2, B, heads, N, head_dim), which saves a kernel.
            tables: rotary tables of the chunk tokens (Pro only); with `features` in one tensor,
                tables for their queries, keys and values.
            own: queries, keys and values of the chunk tokens (B, K, 3·D) if known already.

        Returns:
            (B, K, D), before the skip connection.
        """
        if own is None:
            own = torch.cat([layer(x) for layer in self.own_layers()], dim=-1)
        # (3, B, heads, K, head_dim)
        own = own.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        together = isinstance(features, Tensor)
        kinds = 3 if together else 2
        turned = own[:kinds] if tables is None else rotate_interleaved(own[:kinds], *tables)
        if together:
            keys, values = torch.cat((turned[1:], features), dim=3).unbind(0)
        else:
            keys = torch.cat((turned[1], features[0]), dim=2)
            values = torch.cat((own[2], features[1]), dim=2)
        mixed = attention(turned[0], keys, values)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))

    def feed_forward(self, attended: Tensor, x: Tensor) -> Tensor:
        """Skip connection around the attention, then the FFN.

        Quirk: there is no skip around the FFN; its ReLU is the block's output.
        """
        return self.ffn(attended + x)

    def split(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, heads, N, head_dim)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class OriginalBlock(BridgeBlock):
    """Released `MLPResNetBlock`: one key and one value projection for all groups, no positions.

    Quirk: without positions and with a zero input, all actions of a chunk are equal at inference.
    """

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__(config)
        width = config.policy_width
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)

    def own_layers(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        """Projections of the chunk tokens."""
        return self.q_proj, self.k_proj, self.v_proj

    def feature_layers(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Both groups have the layers of the chunk tokens."""
        return [(self.k_proj, self.v_proj)] * 2


class ProBlock(BridgeBlock):
    """Released `MLPResNetBlock_Pro`: projections per group and rotary positions on keys.

    Parameters have the released names: `adapter` for query features, `task` for raw ones. The
    `film_gen` layer, never called in the released code, does not exist here.
    """

    rotary = True

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__(config)
        source, width = config.language.hidden, config.policy_width
        self.has_raw = config.policy.features != 'query'
        self.k_self = nn.Linear(width, width)
        self.v_self = nn.Linear(width, width)
        self.k_adapter = nn.Linear(source, width)
        self.v_adapter = nn.Linear(source, width)
        if self.has_raw:
            self.k_task = nn.Linear(source, width)
            self.v_task = nn.Linear(source, width)

    def own_layers(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        """Projections of the chunk tokens."""
        return self.q_proj, self.k_self, self.v_self

    def feature_layers(self) -> list[tuple[nn.Linear, nn.Linear]]:
        """Each group has its own layers; a policy on query features alone has none for raw."""
        query = (self.k_adapter, self.v_adapter)
        return [query, (self.k_task, self.v_task)] if self.has_raw else [query]


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

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks, in order."""
        return self.mlp_resnet_blocks

    def wide_end(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Parameters of the last norm and layer for chunk tokens in `dtype`: float32 at least."""
        wide = torch.promote_types(dtype, torch.float32)
        norm, layer = self.layer_norm2, self.fc2
        parameters = norm.weight, norm.bias, layer.weight, layer.bias
        return tuple(parameter.to(wide) for parameter in parameters)

    def finish(self, x: Tensor, end: tuple[Tensor, ...] | None = None) -> Tensor:
        """Chunk tokens (B, K, D) -> normalised actions (B, K, A); no squashing at the end.

        In float32 at least: in bfloat16 actions would come in steps of 2⁻⁸ of the range, and the
        controller differentiates them. `end`: an earlier result of `wide_end`.
        """
        scale, shift, weight, bias = self.wide_end(x.dtype) if end is None else end
        x = F.layer_norm(x.to(scale.dtype), scale.shape, scale, shift, self.layer_norm2.eps)
        return F.linear(x, weight, bias)

    def tables(
        self, query: int, raw: int, like: Tensor
    ) -> tuple[Tables, Tables] | tuple[None, None]:
        """Rotary tables of chunk and features, or none for the original policy."""
        if not self.mlp_resnet_blocks[0].rotary:
            return None, None
        return group_tables(self.config, query, raw, like, self.rope_precision)

    def forward(
        self,
        latent: Tensor,
        features: Sequence[tuple[Tensor, Tensor]],
        stages: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Plain path, block by block.

        Args:
            latent: (B, K, D·A), zeros at inference.
            features: per block, query features (B, Q + 1, D), proprioception last, and raw
                features (B, T, D).
            stages: filled with the intermediate results if given.

        Returns:
            Normalised actions (B, K, A).
        """
        x = self.fc1(self.layer_norm1(latent))
        if stages is not None:
            stages['fc1_out'] = x
        x = F.relu(x)
        own_tables, tables = self.tables(*(group.shape[1] for group in features[0]), x)
        for index, (block, (query, raw)) in enumerate(zip(self.mlp_resnet_blocks, features)):
            pair = block.features(query, raw, tables)
            if stages is None:
                x = block(x, pair, own_tables)
                continue
            attended = block.attend(x, pair, own_tables)
            x = block.feed_forward(attended, x)
            stages |= {f'block{index:02d}_attn_out': attended, f'block{index:02d}_out': x}
        return self.finish(x)
