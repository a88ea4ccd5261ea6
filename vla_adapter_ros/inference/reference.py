# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reference of tests and benchmarks: what the released code computes, dead work included.

Each camera goes through the towers on its own, both towers compute their unused last block, the
language model is that of transformers and reads the stop token, an LM head turns every token into
float32 logits, all hidden states are stacked, and each policy block projects its own keys and
values, group by group, and gates the scores.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.model.bridge import BridgeBlock, rotate_interleaved
from vla_adapter_ros.model.sequence import STOP_TOKEN, splice_visual, text_and_queries
from vla_adapter_ros.model.vision import Block, VisionTower

if TYPE_CHECKING:
    from vla_adapter_ros.architecture.config import LanguageConfig
    from vla_adapter_ros.model.language import Decoder
    from vla_adapter_ros.model.vla import VLAAdapter


class ReferenceForward:
    """Forward pass of the released code. Dead blocks get random weights."""

    def __init__(self, model: VLAAdapter) -> None:
        self.model = model.eval()
        self.dead = nn.ModuleList(
            self._dead_block(tower) for tower in model.vision_backbone.towers
        )
        self.decoder = library_decoder(model.decoder)

    def _dead_block(self, tower: VisionTower) -> Block:
        like = next(tower.parameters())
        film = self.model.config.film_width
        return Block(tower.config, film).to(like.device, like.dtype)

    @torch.inference_mode()
    def __call__(
        self, pixel_values: Tensor, input_ids: Tensor, proprio: Tensor | None = None
    ) -> Tensor:
        """Normalised actions (B, K, A)."""
        visual = self.encode(pixel_values, input_ids)
        return self.policy(self.language(visual, input_ids), input_ids, proprio)

    @torch.inference_mode()
    def encode(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        """Cameras -> projected visual tokens, one image and one tower at a time."""
        model, backbone = self.model, self.model.vision_backbone
        language = model.film_vector(input_ids, model.decoder.embed_tokens(input_ids), None)
        images = pixel_values.to(model.dtype).unflatten(1, (-1, len(backbone.towers), 3))
        per_image = []
        for image in images.unbind(1):
            features = []
            for tower, dead, pixels in zip(backbone.towers, self.dead, image.unbind(1)):
                with tower.blocks[-1].register_forward_hook(partial(_run_dead, dead, language)):
                    features.append(tower(pixels, language))
            per_image.append(torch.cat(features, dim=-1))
        return model.projector(torch.cat(per_image, dim=1))

    @torch.inference_mode()
    def language(self, visual: Tensor, input_ids: Tensor) -> Tensor:
        """Visual tokens and prompt -> all hidden states (B, layers + 1, N, D)."""
        model = self.model
        embedded = model.decoder.embed_tokens(input_ids)
        text = text_and_queries(embedded, model.queries(embedded), None)
        stop = model.decoder.embed_tokens(torch.full_like(input_ids[:, :1], STOP_TOKEN))
        states = self.decode(splice_visual(torch.cat((text, stop), dim=1), visual))
        F.linear(states[-1], model.decoder.embed_tokens.weight).float()  # logits, read by nothing
        return torch.stack(states, dim=1)

    def decode(self, embeddings: Tensor) -> list[Tensor]:
        """Embeddings (B, N, D) -> the hidden states of all layers."""
        decoder = self.model.decoder
        cos, sin = decoder.tables(embeddings.shape[1], embeddings)
        half = sin.shape[-1] // 2  # transformers negates the channels, not the sines
        tables = cos[None], torch.cat((-sin[:, :half], sin[:, half:]), dim=-1)[None]
        states = [embeddings]
        for layer in self.decoder:
            states.append(layer(states[-1], attention_mask=None, position_embeddings=tables))
        return [*states[:-1], decoder.norm(states[-1])]

    @torch.inference_mode()
    def policy(self, states: Tensor, input_ids: Tensor, proprio: Tensor | None) -> Tensor:
        """Hidden states -> normalised actions (B, K, A)."""
        model = self.model
        policy, network = model.policy, model.policy.network
        positions = model.query_positions(input_ids, None)
        features, _ = policy.inputs(
            [model.read(states[:, layer], positions) for layer in model.config.layer_of_block],
            proprio,
        )
        latent = policy.initial_latent(states.shape[0], states.device)
        x = F.relu(network.fc1(network.layer_norm1(latent)))
        own, tables = network.tables(*(group.shape[1] for group in features[0]), x)
        for block, (query, raw) in zip(network.blocks, features):
            x = block.feed_forward(_attend(block, x, query, raw, own, tables), x)
        return network.finish(x)


def library_decoder(decoder: Decoder) -> nn.ModuleList:
    """Return transformers' layers with the weights of ours, shared."""
    kind, config = _library(decoder.config)
    with torch.device('meta'):
        layers = nn.ModuleList(kind(config, index) for index in range(len(decoder.layers)))
    layers.load_state_dict(decoder.layers.state_dict(), assign=True)
    return layers.eval()


def _library(config: LanguageConfig) -> tuple[type[nn.Module], object]:
    """Return transformers' layer class and its configuration."""
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
        from transformers.models.llama.modeling_llama import LlamaDecoderLayer

        return LlamaDecoderLayer, LlamaConfig(**common)
    from transformers import Qwen2Config
    from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

    return Qwen2DecoderLayer, Qwen2Config(**common)


def _attend(
    block: BridgeBlock, x: Tensor, query: Tensor, raw: Tensor, own: tuple, tables: tuple
) -> Tensor:
    """Attention of one block as released: scores by group, gated, one softmax over all."""
    query_layer, *layers = block.own_layers()
    q = block.split(query_layer(x))
    groups = [(x, layers), *zip((query, raw), block.feature_layers())]
    keys = [block.split(key(tokens)) for tokens, (key, _) in groups]
    if block.rotary:
        sizes = [tokens.shape[1] for tokens, _ in groups[1:]]
        by_group = [own, *zip(*(table.split(sizes) for table in tables))]
        q = rotate_interleaved(q, *own)
        keys = [rotate_interleaved(key, *table) for key, table in zip(keys, by_group)]
    scores = [q @ key.transpose(-1, -2) for key in keys]
    for index, gate in enumerate(block.gates()[: len(scores) - 1], 1):
        if gate is not None:
            scores[index] = scores[index] * gate.tanh()
    weights = (torch.cat(scores, dim=-1) / q.shape[-1] ** 0.5).softmax(dim=-1)
    values = torch.cat([block.split(value(tokens)) for tokens, (_, value) in groups], dim=2)
    return block.o_proj((weights @ values).transpose(1, 2).flatten(2))


def _run_dead(
    dead: Block, language: Tensor | None, block: nn.Module, inputs: tuple, tokens: Tensor
) -> None:
    """Forward hook of a tower's last used block: run the dead one behind it."""
    dead(tokens, language)
