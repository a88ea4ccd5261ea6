# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reference for benchmarks: computes what the released code computes, dead work included.

Each camera goes through the towers on its own, both towers compute their unused last block, the
language model reads the stop token, an LM head turns every token into float32 logits, all hidden
states are stacked, and each policy block projects its own keys and values.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.model.sequence import STOP_TOKEN, splice_visual, text_and_queries
from vla_adapter_ros.model.vision import Block, VisionTower

if TYPE_CHECKING:
    from vla_adapter_ros.model.vla import VLAAdapter


class ReferenceForward:
    """Forward pass of the released code. Dead blocks get random weights."""

    def __init__(self, model: VLAAdapter) -> None:
        self.model = model.eval()
        self.dead = nn.ModuleList(
            self._dead_block(tower) for tower in model.vision_backbone.towers
        )

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
        hidden = self.language(visual, input_ids)
        return self.model.policy(hidden, proprio)

    @torch.inference_mode()
    def encode(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        """Cameras -> projected visual tokens, one image and one tower at a time."""
        model, backbone = self.model, self.model.vision_backbone
        language = model.film_vector(model.decoder.embed_tokens(input_ids), None)
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
        """Visual tokens and prompt -> stacked hidden states, with stop token and LM head."""
        model = self.model
        embedded = model.decoder.embed_tokens(input_ids)
        text = text_and_queries(embedded, model.queries(embedded), None)
        stop = model.decoder.embed_tokens(torch.full_like(input_ids[:, :1], STOP_TOKEN))
        states = model.decoder(splice_visual(torch.cat((text, stop), dim=1), visual))
        F.linear(states[-1], model.decoder.embed_tokens.weight).float()  # logits, read by nothing
        return model.stack_states(states, model.query_positions(input_ids, None))


def _run_dead(
    dead: Block, language: Tensor | None, block: nn.Module, inputs: tuple, tokens: Tensor
) -> None:
    """Forward hook of a tower's last used block: run the dead one behind it."""
    dead(tokens, language)
