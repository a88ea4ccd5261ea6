# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The language model as the policy uses it: embeddings in, the hidden state of every layer out.

Layers are those of transformers; the loop over them is ours, because the library's own forward
reads tensor values on the host (which forbids CUDA graph capture) and computes an LM head over
every token (11 % of the released code's arithmetic) that nothing reads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vla_adapter_ros.architecture.config import LanguageConfig


def _layer_classes(config: LanguageConfig) -> tuple[type, type, object]:
    """Return the decoder layer class, the norm class and the library's configuration object."""
    common = {
        'vocab_size': config.vocab_size,
        'hidden_size': config.hidden,
        'intermediate_size': config.mlp_hidden,
        'num_hidden_layers': config.layers,
        'num_attention_heads': config.heads,
        'num_key_value_heads': config.kv_heads,
        'rms_norm_eps': config.norm_eps,
        'max_position_embeddings': config.max_positions,
        'attn_implementation': 'sdpa',
    }
    if config.family == 'llama':
        from transformers import LlamaConfig
        from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRMSNorm

        return LlamaDecoderLayer, LlamaRMSNorm, LlamaConfig(**common)
    from transformers import Qwen2Config
    from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer, Qwen2RMSNorm

    return Qwen2DecoderLayer, Qwen2RMSNorm, Qwen2Config(**common)


class Decoder(nn.Module):
    """Embeddings, decoder layers and final norm of a causal language model; no LM head."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        layer, norm, library_config = _layer_classes(config)
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden)
        self.layers = nn.ModuleList(layer(library_config, i) for i in range(config.layers))
        self.norm = norm(config.hidden, eps=config.norm_eps)
        self.gradient_checkpointing = False

    def tables(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and sine of positions 0 to length - 1, each (1, length, head_dim).

        Float32 trigonometry on the device of `like`, then cast to its dtype.
        """
        head_dim = self.config.hidden // self.config.heads
        steps = torch.arange(0, head_dim, 2, device=like.device).float()
        inverse = 1.0 / self.config.rope_theta ** (steps / head_dim)
        angles = torch.arange(length, device=like.device).float()[:, None] * inverse
        angles = torch.cat((angles, angles), dim=-1)[None]
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)

    def forward(
        self,
        embeddings: Tensor,
        tables: tuple[Tensor, Tensor] | None = None,
        last_layer: int | None = None,
        visit: Callable[[int, Tensor], None] | None = None,
        keep: bool = True,
    ) -> list[Tensor]:
        """Run the layers over (B, length, hidden).

        Attention is causal without any mask: with the padding on the right no real token can see
        it (so is the released code, although its comments call it bi-directional).

        Args:
            embeddings: input embeddings.
            tables: rotary tables from `tables`, computed here if not given.
            last_layer: highest hidden state wanted (0 is the input); the layers above do not run.
            visit: called with (index, state) as soon as each state is known, from 0 on.
            keep: collect the states; False leaves them to `visit`.

        Returns:
            `last_layer + 1` tensors (B, length, hidden): the input, then each layer's output; the
            state of the topmost layer is taken after the final norm. Empty unless `keep`.
        """
        count = len(self.layers)
        last_layer = count if last_layer is None else last_layer
        tables = self.tables(embeddings.shape[1], embeddings) if tables is None else tables
        states, hidden = [], embeddings
        for index in range(last_layer + 1):
            if index:
                hidden = self._run(self.layers[index - 1], hidden, tables)
            # Quirk: only the last of the stacked states is normalised, and the policy reads it so.
            state = self.norm(hidden) if index == count else hidden
            if keep:
                states.append(state)
            if visit is not None:
                visit(index, state)
        return states

    def _run(self, layer: nn.Module, hidden: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(_call_layer, layer, hidden, tables, use_reentrant=False)
        return _call_layer(layer, hidden, tables)


def _call_layer(layer: nn.Module, hidden: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    return layer(hidden, attention_mask=None, position_embeddings=tables)
