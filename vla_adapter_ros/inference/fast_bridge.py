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
from vla_adapter_ros.model.bridge import BridgeNetwork, Pair, rotate_interleaved

Weights = tuple[Tensor, Tensor]  # (blocks, out, in) and (blocks, out)


def first_tokens(network: BridgeNetwork) -> Tensor:
    """Chunk tokens (1, K, D) before the first block: the initial latent is zero at inference."""
    config = network.config
    width = config.policy_width * config.action_dim
    zeros = network.fc1.weight.new_zeros(1, config.chunk_size, width)
    return F.relu(network.fc1(network.layer_norm1(zeros)))


class FastBridge:
    """A bridge network with its weights side by side and its constants computed once.

    The constants depend on the weights alone: the first tokens (the initial latent is zero) and
    the rotary tables. Build a new one when the weights change.

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
        self.own_tables, self.tables = network.tables(query, raw, self.first)
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
        keys, values = self.features(query, raw)
        for block, own, key, value in zip(self.blocks, self.own, keys, values):
            x = block(x, (key, value), self.own_tables, F.linear(x, *own))
        return self.network.finish(x)

    def features(self, query: Tensor, raw: Tensor) -> Pair:
        """Keys and values for all blocks, (blocks, B, heads, query + raw, head_dim) each."""
        found = []
        for tokens, ((weight, bias), gate) in zip((query, raw), self.groups):
            flat = tokens.flatten(1, 2)
            pairs = torch.baddbmm(bias[:, None], flat, weight.transpose(1, 2))
            if gate is not None:  # of the keys
                pairs[..., : pairs.shape[-1] // 2].mul_(gate)
            found.append(pairs.unflatten(1, tokens.shape[1:3]))
        pairs = torch.cat(found, dim=2).unflatten(-1, (2, self.blocks[0].heads, -1))
        keys, values = (pairs[:, :, :, kind].transpose(2, 3) for kind in (0, 1))
        return keys if self.tables is None else rotate_interleaved(keys, *self.tables), values
