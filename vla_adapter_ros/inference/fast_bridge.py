# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Bridge Attention with far fewer operations: projections of the features absorbed, exact.

A block projects 577 feature tokens to keys and values for the sake of 8 chunk tokens. Since
q·(W h + b) = (Wᵀ q)·h + q·b, and since values W h + b can be summed by attention weight before W
is applied, the 8 queries can be projected to the features' space instead.

  * original policy: keys and values of all three groups are absorbed;
  * Pro policy: values are; keys are not, because rotary positions stand between W and q.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.model.bridge import (
    BridgeBlock,
    BridgeNetwork,
    OriginalBlock,
    ProBlock,
    Tables,
    rotate_interleaved,
)


class FastBridge:
    """The policy's blocks at inference, one step per block, with its constants computed once.

    The constants depend on the weights alone: the first tokens (the initial latent is zero) and
    the rotary tables. Build a new one when the weights change.
    """

    def __init__(self, network: BridgeNetwork, query: int, raw: int) -> None:
        """Args: the network, and how many query and raw tokens each block will read."""
        config = network.config
        weight = network.fc1.weight
        zeros = weight.new_zeros(1, config.chunk_size, config.policy_width * config.action_dim)
        self.network = network
        self.blocks = list(network.mlp_resnet_blocks)
        self.first = F.relu(network.fc1(network.layer_norm1(zeros)))
        self.tables = network.tables(query, raw, self.first)

    def start(self, batch: int) -> Tensor:
        """Chunk tokens (B, K, D) before the first block."""
        return self.first.expand(batch, -1, -1)

    def step(self, index: int, x: Tensor, query: Tensor, raw: Tensor) -> Tensor:
        """Run block `index` on chunk tokens (B, K, D), query and raw features."""
        block = self.blocks[index]
        if isinstance(block, ProBlock):
            attended = _attend_pro(block, x, query, raw, self.tables)
        else:
            attended = _attend_original(block, x, query, raw)
        return block.feed_forward(attended, x)

    def finish(self, x: Tensor) -> Tensor:
        """Chunk tokens (B, K, D) -> normalised actions (B, K, A)."""
        return self.network.finish(x)


def _attend_original(block: OriginalBlock, x: Tensor, query: Tensor, raw: Tensor) -> Tensor:
    q = block.split(block.q_proj(x))
    carried = q @ _per_head(block.k_proj.weight, block.heads)  # (B, heads, K, D)
    # The bias adds the same score to every key of a row; the gates then scale it by group.
    offset = (q @ block.k_proj.bias.view(block.heads, -1, 1)).flatten(1, 2)  # (B, heads·K, 1)
    carried = carried.flatten(1, 2)
    groups = (x, query, raw)
    weights = _weights(block, [carried @ group.mT + offset for group in groups])
    mixed = sum(weight @ group for weight, group in zip(weights, groups))  # (B, heads·K, D)
    values = _project(mixed, block.v_proj, block.heads, None)
    return block.o_proj(block.merge(values))


def _attend_pro(
    block: ProBlock, x: Tensor, query: Tensor, raw: Tensor, tables: tuple[Tables, ...]
) -> Tensor:
    q = rotate_interleaved(block.split(block.q_proj(x)), *tables[0])
    layers = [(x, block.k_self, block.v_self), (query, block.k_adapter, block.v_adapter)]
    if raw.shape[1]:
        layers.append((raw, block.k_task, block.v_task))
    keys = [
        rotate_interleaved(block.split(key(group)), *table)
        for (group, key, _), table in zip(layers, tables)
    ]
    weights = _weights(block, [(q @ key.mT).flatten(1, 2) for key in keys])
    parts = [
        _project(weight @ group, value, block.heads, weight)
        for weight, (group, _, value) in zip(weights, layers)
    ]
    return block.o_proj(block.merge(sum(parts)))


def _weights(block: BridgeBlock, scores: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the joint attention weights of each group, from scores (B, heads·K, N_g)."""
    sizes = [score.shape[-1] for score in scores]
    return block.joint_weights(scores).split(sizes, dim=-1)


def _per_head(weight: Tensor, heads: int) -> Tensor:
    """(D, S) -> (heads, head_dim, S)."""
    return weight.unflatten(0, (heads, -1))


def _project(mixed: Tensor, layer: nn.Linear, heads: int, weight: Tensor | None) -> Tensor:
    """Apply a value layer to mixed inputs (B, heads·K, S) -> (B, heads, K, head_dim).

    The bias is scaled by the group's total attention weight; over all groups that is one.
    """
    mixed = mixed.unflatten(1, (heads, -1))
    values = mixed @ _per_head(layer.weight, heads).mT
    bias = layer.bias.view(heads, 1, -1)
    if weight is None:
        return values + bias
    return values + bias * weight.sum(dim=-1).unflatten(1, (heads, -1))[..., None]
