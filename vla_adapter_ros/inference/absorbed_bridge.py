# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The policy on a CPU: projections of the features absorbed, with far fewer operations, exact.

A block projects 577 feature tokens to keys and values for the sake of 8 chunk tokens. Since
q·(W h + b) = (Wᵀ q)·h + q·b, and since values W h + b can be summed by attention weight before W
is applied, the 8 queries can be projected to the features' space instead.

  * original policy: keys and values of all three groups are absorbed;
  * Pro policy: values are; keys are not, because rotary positions stand between W and q.

That saves arithmetic and costs kernels: on a GPU `fast_bridge.py` is faster.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vla_adapter_ros.inference.fast_bridge import first_tokens
from vla_adapter_ros.model.bridge import BridgeBlock, BridgeNetwork, Tables, rotate_interleaved


class AbsorbedBridge:
    """A bridge network with its constants computed once; build a new one when weights change.

    Args:
        network: it is not changed.
        query: number of query tokens that each block reads, the proprioception token included.
        raw: number of raw tokens.
    """

    @torch.no_grad()
    def __init__(self, network: BridgeNetwork, query: int, raw: int) -> None:
        self.network = network
        self.first = first_tokens(network)
        own, features = network.tables(query, raw, self.first)
        self.tables: list[Tables] = []
        if own is not None:
            groups = zip(*(table.split((query, raw)) for table in features))
            self.tables = [own, *groups]

    def run(self, query: Tensor, raw: Tensor) -> Tensor:
        """Query and raw features (blocks, B, N, D) -> normalised actions (B, K, A)."""
        x = self.first.expand(query.shape[1], -1, -1)
        for block, *features in zip(self.network.blocks, query, raw):
            groups = [x, *features[: len(block.feature_layers())]]
            if self.tables:
                values = _attend_pro(block, groups, self.tables)
            else:
                values = _attend_original(block, groups)
            attended = block.o_proj(values.transpose(1, 2).flatten(2))
            x = block.feed_forward(attended, x)
        return self.network.finish(x)


def _attend_original(block: BridgeBlock, groups: list[Tensor]) -> Tensor:
    query, key, value = block.own_layers()
    q = block.split(query(groups[0]))
    carried = (q @ _per_head(key.weight, block.heads)).flatten(1, 2)  # (B, heads·K, D)
    # The bias adds the same score to every key of a row; the gates then scale it by group.
    offset = (q @ key.bias.view(block.heads, -1, 1)).flatten(1, 2)  # (B, heads·K, 1)
    scores = [carried @ group.transpose(-1, -2) + offset for group in groups]
    mixed = sum(w @ group for w, group in zip(_weights(block, scores, q), groups))
    return _project(mixed, value, block.heads)


def _attend_pro(block: BridgeBlock, groups: list[Tensor], tables: list[Tables]) -> Tensor:
    query, *own = block.own_layers()
    layers = [own, *block.feature_layers()]
    q = rotate_interleaved(block.split(query(groups[0])), *tables[0])
    keys = [
        rotate_interleaved(block.split(key(group)), *table)
        for group, (key, _), table in zip(groups, layers, tables)
    ]
    weights = _weights(block, [(q @ key.transpose(-1, -2)).flatten(1, 2) for key in keys], q)
    return sum(
        _project(weight @ group, value, block.heads, weight)
        for weight, group, (_, value) in zip(weights, groups, layers)
    )


def _weights(block: BridgeBlock, scores: list[Tensor], q: Tensor) -> tuple[Tensor, ...]:
    """Return the joint attention weights of each group, from scores (B, heads·K, N_g)."""
    gates = [None, *block.gates()]
    gated = [s if gate is None else s * gate.tanh() for s, gate in zip(scores, gates)]
    weights = (torch.cat(gated, dim=-1) / q.shape[-1] ** 0.5).softmax(dim=-1)
    return weights.split([score.shape[-1] for score in scores], dim=-1)


def _per_head(weight: Tensor, heads: int) -> Tensor:
    """(D, S) -> (heads, head_dim, S)."""
    return weight.unflatten(0, (heads, -1))


def _project(mixed: Tensor, layer: nn.Linear, heads: int, weight: Tensor | None = None) -> Tensor:
    """Apply a value layer to mixed inputs (B, heads·K, S) -> (B, heads, K, head_dim).

    The bias is scaled by the group's total attention weight; over all groups that is one.
    """
    mixed = mixed.unflatten(1, (heads, -1))
    values = mixed @ _per_head(layer.weight, heads).transpose(-1, -2)
    bias = layer.bias.view(heads, 1, -1)
    if weight is None:
        return values + bias
    return values + bias * weight.sum(dim=-1).unflatten(1, (heads, -1))[..., None]
