# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The policy on a GPU: the features of all blocks projected in two batched products.

A block's keys and values of the features do not depend on the chunk. Once the language model is
done they are computed for all blocks together, and each block is left with its few chunk tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vla_adapter_ros.inference.joined import joined
from vla_adapter_ros.model.bridge import BridgeNetwork, Tables

Weights = tuple[Tensor, Tensor]  # (blocks, out, in) and (blocks, out)


def first_tokens(network: BridgeNetwork) -> Tensor:
    """Chunk tokens (1, K, D) before the first block: the initial latent is zero at inference."""
    config = network.config
    width = config.policy_width * config.action_dim
    zeros = network.fc1.weight.new_zeros(1, config.chunk_size, width)
    return F.relu(network.fc1(network.layer_norm1(zeros)))


class FastBridge:
    """A bridge network with its weights side by side and its constants computed once.

    The constants depend on the weights alone: the first tokens (the initial latent is zero), the
    rotary tables, and the last layer in float32. Build a new one when the weights change.

    Args:
        network: its layers' weights become views of the joined ones, with the same values.
        query: number of query tokens that each block reads, the proprioception token included.
        raw: number of raw tokens.
    """

    @torch.no_grad()
    def __init__(self, network: BridgeNetwork, query: int, raw: int) -> None:
        config = network.config
        self.network = network
        self.blocks = blocks = list(network.blocks)
        self.first = first_tokens(network)
        self.end = network.wide_end(self.first.dtype)
        own_tables, self.tables = network.tables(query, raw, self.first)
        self.own_tables = None if own_tables is None else _for_values_too(own_tables)
        own = joined([block.own_layers() for block in blocks])
        self.own = list(zip(*own))
        self.groups: list[tuple[Weights, Tensor | None]] = []
        for index, layers in enumerate(blocks[0].feature_layers()):
            gates = [block.gates()[index] for block in blocks]
            gate = None if gates[0] is None else torch.stack(gates).tanh()[:, :, None]
            if layers == blocks[0].own_layers()[1:]:  # the original policy's are the same
                parts = tuple(x[:, config.policy_width :] for x in own)
            else:
                parts = joined([block.feature_layers()[index] for block in blocks])
            self.groups.append((parts, gate))

    def run(self, query: Tensor, raw: Tensor) -> Tensor:
        """Query and raw features (blocks, B, N, D) -> normalised actions (B, K, A)."""
        x = self.first.expand(query.shape[1], -1, -1)
        for block, own, pairs in zip(self.blocks, self.own, self.features(query, raw)):
            x = block(x, pairs, self.own_tables, F.linear(x, *own))
        return self.network.finish(x, self.end)

    def features(self, query: Tensor, raw: Tensor) -> Tensor:
        """Keys and values for all blocks, (blocks, 2, B, heads, query + raw, head_dim)."""
        found = []
        for tokens, ((weight, bias), gate) in zip((query, raw), self.groups):
            flat = tokens.flatten(1, 2)
            pairs = torch.baddbmm(bias[:, None], flat, weight.transpose(1, 2))
            if gate is not None:  # of the keys
                pairs[..., : pairs.shape[-1] // 2].mul_(gate)
            found.append(pairs.unflatten(1, tokens.shape[1:3]))
        pairs = torch.cat(found, dim=2).unflatten(-1, (2, self.blocks[0].heads, -1))
        if self.tables is not None:
            _rotate_in_place(pairs[:, :, :, 0], *self.tables)
        return pairs.permute(0, 3, 1, 4, 2, 5)


def _for_values_too(tables: Tables) -> Tables:
    """Tables (K, head_dim) of queries and keys -> (3, 1, 1, K, head_dim), with ones for values.

    So that a block rotates what one product gave as a whole, and joins it to the features in one
    copy instead of two.
    """
    cos, sin = tables
    cos = torch.stack((cos, cos, torch.ones_like(cos)))
    sin = torch.stack((sin, sin, torch.zeros_like(sin)))
    return cos[:, None, None], sin[:, None, None]


def _rotate_in_place(keys: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Do what `bridge.rotate_interleaved` does, to keys (blocks, B, N, heads, head_dim)."""
    swapped = keys.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    keys.mul_(cos[:, None]).addcmul_(swapped, sin[:, None])
