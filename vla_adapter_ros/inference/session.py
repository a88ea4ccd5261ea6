# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Fast inference: the actions of `VLAAdapter.forward` without redundant work.

A session
  * computes once per instruction: prompt embeddings with the ActionQueries behind them, positions,
    rotary tables, the conditioning vector for FiLM;
  * computes once per checkpoint: the policy's first tokens and tables;
  * leaves out the last ActionQuery where nothing reads it, and layers above the highest one read;
  * projects the features of all policy blocks in two batched products (`fast_bridge.py`), and on
    a CPU leaves most of these products out (`absorbed_bridge.py`);
  * on a GPU runs the two towers in parallel.
All of it is exact up to rounding. Shapes depend only on batch and prompt length and no tensor
value is read on the host, so that a CUDA graph can capture a call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vla_adapter_ros.inference.absorbed_bridge import AbsorbedBridge
from vla_adapter_ros.inference.fast_bridge import FastBridge
from vla_adapter_ros.model.checks import check_pixels
from vla_adapter_ros.model.sequence import splice_visual, text_and_queries

if TYPE_CHECKING:
    from vla_adapter_ros.model.vla import VLAAdapter


@dataclass(frozen=True)
class Prompt:
    """The part of the inputs that depends on the instructions alone: one for all rows, or B.

    Attributes:
        text: embeddings of prompt and ActionQueries (1 or B, L + Q, D).
        positions: of the query features in the sequence (1 or B, Q), or None where none are read.
        tables: rotary tables of the language model for the complete sequence.
        language: conditioning vectors (1 or B, film_width) of the FiLM layers, or None.
    """

    text: Tensor
    positions: Tensor | None
    tables: tuple[Tensor, Tensor]
    language: Tensor | None

    def tensors(self) -> list[Tensor]:
        """All tensors, in a fixed order: to copy one prompt over another of the same length."""
        found = [self.text, self.positions, *self.tables, self.language]
        return [tensor for tensor in found if tensor is not None]


class InferenceSession:
    """A network prepared for inference; build a new one when its weights change."""

    def __init__(
        self,
        model: VLAAdapter,
        streams: bool | None = None,
        absorb: bool | None = None,
        pixels: nn.Module | None = None,
    ) -> None:
        """Prepare.

        Args:
            model: the network, on its device and in its dtype.
            streams: run the second tower on a side stream; default: on a GPU.
            pixels: crops and normalises resized views (B, n, S, S, 3) uint8, if given.
            absorb: leave out products in the policy, with more kernels; default: on a CPU.
        """
        config = model.config
        self.model, self.pixels = model.eval(), pixels
        self.layers = config.layer_of_block
        queries = config.queries_in_sequence
        self.on_gpu = model.device.type == 'cuda'
        self.streams = self.on_gpu if streams is None else streams
        self._side = torch.cuda.Stream(model.device) if self.streams else None
        self.policy = None
        if config.policy.kind in ('dit', 'oft'):
            # Run by the policy itself: sampling, which keeps the features' keys and values, and a
            # small MLP.
            return
        visual = 0 if config.policy.features == 'query' else config.visual_tokens
        raw = min(config.num_task_tokens, visual + queries)
        query = visual + queries - raw + (1 if config.use_proprio else 0)
        absorb = model.device.type == 'cpu' if absorb is None else absorb
        bridge = AbsorbedBridge if absorb else FastBridge
        self.policy = bridge(model.policy.network, query, raw)

    @torch.inference_mode()
    def prompt(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Prompt:
        """Prepare prompts (1 or B, L), right-padded according to `attention_mask`."""
        model, config = self.model, self.model.config
        embedded, lengths = model.embed_prompt(input_ids, attention_mask)
        queries = model.queries(embedded)
        if len(queries) and not config.aligned_slices:
            queries = queries[:-1]  # nothing reads the last one, and causality hides it
        text = text_and_queries(embedded, queries, lengths)
        positions = model.query_positions(input_ids, lengths)
        tables = model.decoder.tables(text.shape[1] + config.context_tokens, text)
        language = model.film_vector(input_ids, embedded, attention_mask)
        return Prompt(text, positions, tables, language)

    @torch.inference_mode()
    def __call__(
        self, pixel_values: Tensor, prompt: Prompt, proprio: Tensor | None = None
    ) -> Tensor:
        """Normalised actions (B, K, A) for pixels or views, and normalised proprioception."""
        if self.pixels is not None and pixel_values.dtype == torch.uint8:
            pixel_values = self.pixels(pixel_values)
        return self.act(self.encode(pixel_values, prompt), prompt, proprio)

    def encode(self, pixel_values: Tensor, prompt: Prompt) -> Tensor:
        """Cameras (B, channels, size, size) -> visual tokens (B, V, hidden)."""
        model = self.model
        check_pixels(model.config, pixel_values)
        language = prompt.language
        if language is not None:
            language = language.expand(pixel_values.shape[0], -1)
        fork = self._fork_towers if self.streams else None
        features = model.vision_backbone(pixel_values.to(model.dtype), language, fork=fork)
        return model.projector(features)

    def act(self, visual: Tensor, prompt: Prompt, proprio: Tensor | None) -> Tensor:
        """Visual tokens (B, V, hidden) -> normalised actions (B, K, A)."""
        model, batch = self.model, visual.shape[0]
        context = model.policy.context(visual, proprio)
        sequence = splice_visual(prompt.text.expand(batch, -1, -1), context)
        states = model.decoder(sequence, prompt.tables, last_layer=max(self.layers))
        if self.policy is None:
            read = [model.read(states[layer], prompt.positions) for layer in self.layers]
            return model.policy(read, proprio)
        # All states together, as if they were one batch: (blocks·B, N, D).
        stacked = torch.stack([states[layer] for layer in self.layers]).flatten(0, 1)
        positions = prompt.positions
        if positions is not None and len(positions) > 1:  # of each row, in every layer
            positions = positions.repeat(len(self.layers), 1)
        read = [x.unflatten(0, (-1, batch)) for x in model.read(stacked, positions)]
        query, raw = (x.to(model.policy.dtype) for x in read)
        token = model.policy.proprio_token(proprio, batch)
        if token is not None:
            query = torch.cat((query, token.expand(len(query), -1, -1, -1)), dim=2)
        return self.policy.run(query, raw)

    def _fork_towers(self, calls: list[Callable[[], Tensor]]) -> list[Tensor]:
        """Run two towers in parallel on two streams."""
        if len(calls) == 1:
            return [calls[0]()]
        main = torch.cuda.current_stream(self.model.device)
        self._side.wait_stream(main)
        with torch.cuda.stream(self._side):
            first = calls[0]()
        second = calls[1]()
        main.wait_stream(self._side)
        first.record_stream(main)
        return [first, second]
