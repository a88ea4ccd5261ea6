# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The language model as the policy uses it: embeddings in, the hidden state of every layer out.

Layers of Qwen2 and Llama, under the names of transformers and with its numbers
(`test/model/test_language.py` compares both); the loop over them reads no tensor value on the host
(which would forbid CUDA graph capture) and has no LM head (11 % of the released code's arithmetic,
which nothing reads).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vla_adapter_ros.architecture.config import LanguageConfig
from vla_adapter_ros.model.precision import attention, in_weights_dtype

Tables = tuple[Tensor, Tensor]  # cosines, and sines negated on the first half of the channels


class RMSNorm(nn.Module):
    """Root-mean-square norm over the channels, computed in float32 at least."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., width), in the wider dtype of input and weight."""
        return F.rms_norm(x.to(self.weight.dtype), self.weight.shape, self.weight, self.eps)


class SelfAttention(nn.Module):
    """Causal attention with rotary positions; several query heads share a key and value head."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        width, self.head_dim = config.hidden, config.hidden // config.heads
        self.heads, self.kv_heads = config.heads, config.kv_heads
        bias, shared = config.family != 'llama', config.kv_heads * self.head_dim
        self.q_proj = nn.Linear(width, width, bias=bias)
        self.k_proj = nn.Linear(width, shared, bias=bias)
        self.v_proj = nn.Linear(width, shared, bias=bias)
        self.o_proj = nn.Linear(width, width, bias=False)
        # Set by `inference/joined.py`: the three projections as one.
        self.register_buffer('qkv_weight', None, persistent=False)
        self.register_buffer('qkv_bias', None, persistent=False)

    def forward(self, x: Tensor, tables: Tables) -> Tensor:
        """(B, N, hidden) -> (B, N, hidden)."""
        if self.qkv_weight is None:
            turned = torch.cat((self.q_proj(x), self.k_proj(x)), dim=-1)
            value = self.v_proj(x)
        else:
            sizes = (self.heads + self.kv_heads, self.kv_heads)
            both = F.linear(x, self.qkv_weight, self.qkv_bias)
            turned, value = both.split([n * self.head_dim for n in sizes], dim=-1)
        turned, value = self._split(turned), self._split(value)
        cos, sin = tables
        turned = torch.addcmul(turned * cos, turned.roll(self.head_dim // 2, dims=-1), sin)
        query, key = turned.split((self.heads, self.kv_heads), dim=1)
        mixed = attention(query, self._shared(key), self._shared(value), is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """(B, N, heads·head_dim) -> (B, heads, N, head_dim)."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def _shared(self, x: Tensor) -> Tensor:
        """Repeat each key or value head for its query heads (some export formats need that)."""
        if self.heads == self.kv_heads:
            return x
        return x[:, :, None].expand(-1, -1, self.heads // self.kv_heads, -1, -1).flatten(1, 2)


class GatedMlp(nn.Module):
    """Linear layers with a SiLU gate."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        width, hidden = config.hidden, config.mlp_hidden
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)
        # Set by `inference/joined.py`: gate and up as one.
        self.register_buffer('gate_up_weight', None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, hidden) -> (B, N, hidden)."""
        if self.gate_up_weight is None:
            gate, up = self.gate_proj(x), self.up_proj(x)
        else:
            gate, up = F.linear(x, self.gate_up_weight).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


class DecoderLayer(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config)
        self.mlp = GatedMlp(config)
        self.input_layernorm = RMSNorm(config.hidden, config.norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden, config.norm_eps)

    def forward(self, x: Tensor, tables: Tables) -> Tensor:
        """(B, N, hidden) -> (B, N, hidden)."""
        x = x + self.self_attn(self.input_layernorm(x), tables)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embeddings, decoder layers and final norm of a causal language model; no LM head."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden, config.norm_eps)
        self.gradient_checkpointing = False

    def tables(self, length: int, like: Tensor) -> Tables:
        """Return rotary tables of positions 0 to length - 1, each (length, head_dim).

        Float32 trigonometry on the device of `like`, then cast to its dtype.
        """
        head_dim = self.config.hidden // self.config.heads
        steps = torch.arange(0, head_dim, 2, device=like.device).float()
        inverse = 1.0 / self.config.rope_theta ** (steps / head_dim)
        angles = torch.arange(length, device=like.device).float()[:, None] * inverse
        cos, sin = angles.cos(), angles.sin()
        tables = torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)
        return tables[0].to(like.dtype), tables[1].to(like.dtype)

    def forward(
        self, embeddings: Tensor, tables: Tables | None = None, last_layer: int | None = None
    ) -> list[Tensor]:
        """Run the layers over (B, length, hidden).

        Attention is causal without any mask: with the padding on the right no real token can see
        it (so is the released code, although its comments call it bi-directional).

        Args:
            embeddings: input embeddings.
            tables: rotary tables from `tables`, computed here if not given.
            last_layer: highest hidden state wanted (0 is the input); the layers above do not run.

        Returns:
            `last_layer + 1` tensors (B, length, hidden): the input, then each layer's output; the
            state of the topmost layer is taken after the final norm.
        """
        count = len(self.layers)
        last_layer = count if last_layer is None else last_layer
        tables = self.tables(embeddings.shape[1], embeddings) if tables is None else tables
        states = [embeddings]
        with in_weights_dtype(self.norm.weight):
            for layer in self.layers[:last_layer]:
                states.append(self._run(layer, states[-1], tables))
            if last_layer == count:
                # Quirk: only the last of the states is normalised, and the policy reads it so.
                states[-1] = self.norm(states[-1])
        return states

    def _run(self, layer: nn.Module, hidden: Tensor, tables: Tables) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(layer, hidden, tables, use_reentrant=False)
        return layer(hidden, tables)
