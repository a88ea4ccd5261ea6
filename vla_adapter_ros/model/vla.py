# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The network: cameras, instruction and proprioception in, one chunk of actions out.

Reference: VLA-Adapter, arXiv 2509.09372, in the form of its released code, quirks included.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.model.checks import check_inputs
from vla_adapter_ros.model.dit import DiffusionPolicy
from vla_adapter_ros.model.language import Decoder
from vla_adapter_ros.model.oft import OFTPolicy
from vla_adapter_ros.model.policy import BridgePolicy, Features
from vla_adapter_ros.model.sequence import (
    STOP_TOKEN,
    prompt_lengths,
    read_features,
    read_positions,
    splice_visual,
    text_and_queries,
)
from vla_adapter_ros.model.small.film import mean_embedding, segment_means, word_numbers
from vla_adapter_ros.model.small.reader import SentenceReader
from vla_adapter_ros.model.stages import record_stages
from vla_adapter_ros.model.stored import StoredNetwork
from vla_adapter_ros.model.vision import Projector, VisionBackbone
from vla_adapter_ros.weights.metadata import CheckpointMetadata

POLICIES = {
    'original': BridgePolicy,
    'pro': BridgePolicy,
    'dit': DiffusionPolicy,
    'oft': OFTPolicy,
}


class VLAAdapter(StoredNetwork):
    """Vision towers, projector, language model with ActionQueries, and the action policy.

    Parameter names are those of the released checkpoints (the policy's below `policy.`).
    """

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.metadata = CheckpointMetadata(config)
        self.vision_backbone = VisionBackbone(config)
        self.projector = Projector(config)
        self.language_model = nn.ModuleDict({'model': Decoder(config.language)})
        slots = config.film_slots
        self.sentence_reader = SentenceReader(config.language.hidden, slots) if slots else None
        self.action_queries = (
            nn.Embedding(config.num_queries, config.language.hidden)
            if config.queries_in_sequence and config.policy.kind != 'oft'
            else None
        )
        self.policy = POLICIES[config.policy.kind](config)

    @property
    def decoder(self) -> Decoder:
        """The language model."""
        return self.language_model['model']

    @property
    def dtype(self) -> torch.dtype:
        """Parameter dtype."""
        return self.decoder.embed_tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        """Parameter device."""
        return self.decoder.embed_tokens.weight.device

    @property
    def repeated_blocks(self) -> list[nn.Module]:
        """Blocks of towers, language model and policy, e.g. to compile each kind once."""
        towers = (block for tower in self.vision_backbone.towers for block in tower.blocks)
        return [*towers, *self.decoder.layers, *self.policy.network.blocks]

    def forward(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        proprio: Tensor | None = None,
        return_stages: bool = False,
        *,
        attention_mask: Tensor | None = None,
        initial_latent: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Compute one chunk of normalised actions per sample.

        Args:
            pixel_values: (B, channels·n, size, size) normalised pixels; per camera three channels
                for each tower.
            input_ids: the prompt alone (B, L), right-padded according to `attention_mask` (B, L).
            proprio: normalised proprioception (B, P).
            return_stages: also return intermediate results by the names of the recorded cases.
            attention_mask: one for real prompt tokens, zero for padding on the right.
            initial_latent: start of the policy; see `BridgePolicy.initial_latent`.

        Returns:
            Normalised actions (B, K, A), and a dict of stages if requested.

        Raises:
            ObservationError: a shape does not fit the configuration.
        """
        stages: dict[str, Tensor] | None = {} if return_stages else None
        features = self.features(
            pixel_values, input_ids, attention_mask, stages, proprio=proprio
        )
        result = self.policy(features, proprio, initial_latent, return_stages=return_stages)
        if stages is None:
            return result
        actions, policy_stages = result
        policy_stages['normalized_actions'] = policy_stages.pop('actions')
        return actions, stages | policy_stages

    def features(
        self,
        pixel_values: Tensor | None,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        stages: dict[str, Tensor] | None = None,
        *,
        visual: Tensor | None = None,
        proprio: Tensor | None = None,
    ) -> Features:
        """Run the VLM: query features (B, Q, D) and raw features (B, T, D) of each policy block.

        Layers above the highest one that a policy block reads do not run, unless `stages` is
        given. `visual`: an earlier result of `visual_tokens`, instead of the pixels. `proprio`:
        (B, P), read by the language model of an `oft` policy.
        """
        check_inputs(self.config, pixel_values, input_ids, visual)
        embedded, lengths = self.embed_prompt(input_ids, attention_mask)
        if visual is None:
            visual = self.visual_tokens(pixel_values, input_ids, embedded, attention_mask, stages)
        visual = self.policy.context(visual, proprio)
        queries = self.queries(embedded)
        text = text_and_queries(embedded, queries, lengths)
        if stages is not None and lengths is None:
            stop = torch.full_like(input_ids[:, :1], STOP_TOKEN)
            text = torch.cat((text, self.decoder.embed_tokens(stop)), dim=1)
        sequence = splice_visual(text, visual.to(text.dtype))
        layers = self.config.layer_of_block
        states = self.decoder(sequence, last_layer=None if stages is not None else max(layers))
        positions = self.query_positions(input_ids, lengths)
        if stages is not None:
            read_all = partial(self.read, positions=positions)
            record_stages(stages, sequence, states, read_all, input_ids, attention_mask)
        read = {layer: self.read(states[layer], positions) for layer in set(layers)}
        return [read[layer] for layer in layers]

    def embed_prompt(
        self, input_ids: Tensor, attention_mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return embeddings (B, L, hidden) and real tokens per row, None where all are real."""
        lengths = prompt_lengths(input_ids, attention_mask)
        if attention_mask is not None:
            # Padding ids may lie outside the vocabulary; nothing reads their embeddings.
            input_ids = input_ids * attention_mask.to(input_ids.dtype)
        return self.decoder.embed_tokens(input_ids), lengths

    def query_positions(self, input_ids: Tensor, lengths: Tensor | None) -> Tensor | None:
        """Return the query features' positions (B or 1, Q); None for raw features only."""
        config = self.config
        count, visual = config.queries_in_sequence, config.context_tokens
        if not count:
            return None
        return read_positions(visual, input_ids, lengths, count, config.aligned_slices)

    def read(self, state: Tensor, positions: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return query features (B, Q, D) and raw features (B, T, D) of one state (B, N, D)."""
        policy, visual = self.config.policy, self.config.visual_tokens
        raw = 0 if policy.features == 'query' else visual
        raw, query = read_features(state, raw, positions, self.config.aligned_slices)
        count = policy.num_task_tokens or raw.shape[1]
        if policy.features != 'query' and count != raw.shape[1]:
            # Pinned: raw features need not end where the query features begin.
            both = torch.cat((raw, query), dim=1)
            raw, query = both[:, :count], both[:, count:]
        return query, raw

    def visual_tokens(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        embedded: Tensor,
        attention_mask: Tensor | None = None,
        stages: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Encode and project the cameras: (B, n·tokens, hidden)."""
        language = self.film_vector(input_ids, embedded, attention_mask)
        features = self.vision_backbone(pixel_values.to(self.dtype), language)
        projected = self.projector(features)
        if stages is not None:
            stages['vision_features'] = features
            stages['projected_patches'] = projected
        return projected

    def film_vector(
        self, input_ids: Tensor, embedded: Tensor, attention_mask: Tensor | None
    ) -> Tensor | None:
        """Return the conditioning vector of the FiLM layers (B, film_width), or None without."""
        if not self.config.use_film:
            return None
        if self.sentence_reader is not None:
            return self.sentence_reader(embedded, attention_mask)
        if count := self.config.film_segment_tokens:
            words = word_numbers(input_ids, self.config.film_pieces)
            return segment_means(embedded, attention_mask, words, count)
        if not self.config.aligned_slices:
            # Quirk: all but the action tokens count, and one of them is the stop token. In
            # official training padding counts too; here never, so that both act the same.
            stop = torch.full((len(embedded), 1), STOP_TOKEN, device=embedded.device)
            embedded = torch.cat((self.decoder.embed_tokens(stop), embedded), dim=1)
            if attention_mask is not None:
                attention_mask = F.pad(attention_mask, (1, 0), value=1)
        return mean_embedding(embedded, attention_mask)

    def compute_loss(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Training objective: mean absolute error of the actions, or of the noise for `dit`.

        Args:
            batch: `pixel_values` (or `visual_tokens` computed earlier), `input_ids`,
                `proprio`, `actions` (B, K, A) normalised, and optionally `attention_mask`,
                `initial_latent`, and `valid` (B, K): the steps of the chunks that count.

        Returns:
            The loss and detached metrics to log.
        """
        features = self.features(
            batch.get('pixel_values'),
            batch['input_ids'],
            batch.get('attention_mask'),
            visual=batch.get('visual_tokens'),
            proprio=batch.get('proprio'),
        )
        loss, metrics = self.policy.loss(
            features, batch.get('proprio'), batch['actions'], batch.get('initial_latent'),
            batch.get('valid'),
        )  # fmt: skip
        return loss, {name: value.detach() for name, value in {'loss': loss, **metrics}.items()}

    @torch.inference_mode()
    def predict(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        proprio: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Inference: normalised actions (B, K, A) in float32, without gradients or noise."""
        was_training = self.training
        self.eval()
        try:
            return self(pixel_values, input_ids, proprio, attention_mask=attention_mask).float()
        finally:
            self.train(was_training)

    @torch.no_grad()
    def initialise_policy(self, device: str | torch.device) -> None:
        """Initialise new ActionQueries and a new policy on `device`, to train from a VLM."""
        dtype = self.dtype
        with torch.device(device):
            self.policy = type(self.policy)(self.config).to(dtype)
            if self.action_queries is not None:
                self.action_queries = nn.Embedding(*self.action_queries.weight.shape).to(dtype)
                self.action_queries.weight.normal_(0.0, self.config.query_scale)

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Save the activations' memory of towers and language model for a third more time."""
        self.decoder.gradient_checkpointing = enabled
        for tower in self.vision_backbone.towers:
            tower.gradient_checkpointing = enabled

    def queries(self, embedded: Tensor) -> Tensor:
        """ActionQuery embeddings (Q, hidden): none for raw features alone, zeros for `oft`."""
        if self.action_queries is None:
            return embedded.new_zeros(self.config.queries_in_sequence, embedded.shape[-1])
        return self.action_queries.weight
