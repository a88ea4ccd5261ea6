# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The official training forward, and batches of the official loader, written a second time.

From their description, not from our code: stock transformers Qwen2 over the official sequence
(prompt, visual tokens, 64 placeholders that become ActionQueries, padding with its mask), every
layer's state, the two slices that the policy reads, and the policy block by block for one sample
at a time. Weights by their official names. The towers are the network's own:
test/model/test_vision.py holds them against transformers' models.

The official loader appends 64 discretised action tokens to each prompt; the official model then
overwrites their embeddings by the ActionQueries. Ours adds the queries itself and takes the
prompt alone. Loss and gradients are equal.

    loss, _ = model.train().compute_loss(from_official_batch(batch))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.training.trainer import Batch

QUERIES = 64


class OfficialReference:
    """Actions and loss of one official batch as a function of official parameters.

    Args:
        towers: callable of pixels (B, C, S, S) and the mean prompt embedding (B, D), gives
            features (B, V, width).
        weights: official name -> tensor; gradients flow into them.
        sizes: `hidden`, `layers`, `heads`, `kv_heads`, `mlp_hidden`, `vocab_size`.
        pro: Pro or original policy.
        task_tokens: how many of a layer's features the policy reads as raw ones; the released
            head fixes 512. None: those of the images.
    """

    def __init__(
        self, towers, weights: dict, sizes: dict, pro: bool, task_tokens: int | None = None
    ) -> None:
        # Seconds of import, which every worker would take to collect the tests.
        from transformers import Qwen2Config, Qwen2Model

        self.towers, self.weights, self.sizes, self.pro = towers, weights, sizes, pro
        self.task_tokens = task_tokens
        config = Qwen2Config(
            vocab_size=sizes['vocab_size'], hidden_size=sizes['hidden'],
            intermediate_size=sizes['mlp_hidden'], num_hidden_layers=sizes['layers'],
            num_attention_heads=sizes['heads'], num_key_value_heads=sizes['kv_heads'],
            rms_norm_eps=sizes.get('norm_eps', 1e-6), rope_theta=sizes.get('rope_theta', 1e6),
            max_position_embeddings=32768, attn_implementation='eager', use_cache=False,
        )  # fmt: skip
        self.qwen = Qwen2Model(config).train()

    def loss(self, batch: dict) -> torch.Tensor:
        """Mean absolute error over all actions of the batch, before any reduction elsewhere."""
        return F.l1_loss(self.actions(batch), batch['actions'])

    def actions(self, batch: dict) -> torch.Tensor:
        """Normalised actions (B, K, A)."""
        states, action_tokens = self.language(batch)
        predicted = []
        proprio = batch.get('proprio')
        for row, mask in enumerate(action_tokens):
            visual = states[0].shape[1] - batch['input_ids'].shape[1]
            # States behind the visual tokens, without the last position; the mask is that of the
            # labels moved one to the left, so every feature is read one position early.
            query = [s[row, visual:-1][mask[1:]] for s in states]
            both = [torch.cat((s[row, :visual], q)) for s, q in zip(states, query)]
            count = visual if self.task_tokens is None else self.task_tokens
            raw, query = [f[:count] for f in both], [f[count:] for f in both]
            state = None if proprio is None else proprio[row]
            predicted.append(self.policy(raw, query, state, batch['latent']))
        return torch.stack(predicted)

    def language(self, batch: dict) -> tuple[tuple, torch.Tensor]:
        """Hidden states of all layers, and which ids are action tokens."""
        w = self.weights
        action_tokens = batch['labels'] > ACTION_TOKEN_BEGIN
        table = w['vla.language_model.model.embed_tokens.weight']
        embedded = F.embedding(batch['input_ids'].clamp(max=len(table) - 1), table)
        queries = w['vla.action_queries.weight'].repeat(len(embedded), 1)
        known = (batch['attention_mask'].bool() & ~action_tokens)[..., None]
        spoken = (embedded * known).sum(1) / known.sum(1)
        visual = self.project(self.towers(batch['pixel_values'], spoken))
        embedded = embedded.masked_scatter(action_tokens[..., None], queries)
        sequence = torch.cat((embedded[:, :1], visual, embedded[:, 1:]), dim=1)
        mask = batch['attention_mask']
        ones = torch.ones(visual.shape[:2], dtype=mask.dtype)
        mask = torch.cat((mask[:, :1], ones, mask[:, 1:]), dim=1)
        prefix = 'vla.language_model.model.'
        own = {n[len(prefix):]: v for n, v in w.items() if n.startswith(prefix)}
        inputs = {'inputs_embeds': sequence, 'attention_mask': mask, 'output_hidden_states': True}
        out = torch.func.functional_call(self.qwen, own, (), inputs)
        return out.hidden_states, action_tokens

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Apply the official layer of that name."""
        return F.linear(x, self.weights[f'{name}.weight'], self.weights[f'{name}.bias'])

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Apply the official LayerNorm of that name."""
        return F.layer_norm(
            x, x.shape[-1:], self.weights[f'{name}.weight'], self.weights[f'{name}.bias']
        )

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Projector: three layers, or for one tower two, with GELU between them."""
        x = F.gelu(self.linear('vla.projector.fc1', features))
        x = self.linear('vla.projector.fc2', x)
        if 'vla.projector.fc3.weight' not in self.weights:
            return x
        return self.linear('vla.projector.fc3', F.gelu(x))

    def policy(self, raw: list, query: list, proprio, latent) -> torch.Tensor:
        """One sample: (V, D) and (Q, D) per layer, (P,), (K, A D) -> actions (K, A)."""
        state = [] if proprio is None else [self.linear('proprio_projector.fc2', F.gelu(
            self.linear('proprio_projector.fc1', proprio)))[None]]  # fmt: skip
        x = F.relu(self.linear('action_head.model.fc1',
                               self.norm('action_head.model.layer_norm1', latent)))  # fmt: skip
        for i in range(len(raw) - 1):
            name = f'action_head.model.mlp_resnet_blocks.{i}'
            if f'{name}.q_proj.weight' in self.weights:
                x = self.block(name, x, torch.cat((query[i + 1], *state)), raw[i + 1])
        return self.linear('action_head.model.fc2', self.norm('action_head.model.layer_norm2', x))

    def block(self, name: str, x, adapter, raw) -> torch.Tensor:
        """One policy block on (K, D), (Q + 1, D) and (V, D)."""
        groups = [('self', x), ('adapter', adapter), ('task', raw)]
        q = self.heads(self.linear(f'{name}.q_proj', x))
        q = rotated(q) if self.pro else q
        scores, values = [], []
        for kind, tokens in groups:
            suffix = kind if self.pro else 'proj'
            key = self.heads(self.linear(f'{name}.k_{suffix}', tokens))
            score = q @ (rotated(key) if self.pro else key).transpose(-1, -2)
            gate = torch.tanh(self.weights[f'{name}.gating_factor'])
            scores.append(score * gate if kind == 'task' else score)
            values.append(self.heads(self.linear(f'{name}.v_{suffix}', tokens)))
        weights = torch.softmax(torch.cat(scores, dim=-1) / q.shape[-1] ** 0.5, dim=-1)
        mixed = (weights @ torch.cat(values, dim=1)).transpose(0, 1).reshape(x.shape)
        out = self.linear(f'{name}.o_proj', mixed)
        return F.relu(self.linear(f'{name}.ffn.1', self.norm(f'{name}.ffn.0', out + x)))

    def heads(self, x: torch.Tensor) -> torch.Tensor:
        """(N, D) -> (8 heads, N, D / 8)."""
        return x.reshape(len(x), 8, x.shape[-1] // 8).transpose(0, 1)


def rotated(x: torch.Tensor) -> torch.Tensor:
    """Official rotary positions: tables [f, f], but pairs of even and odd channels."""
    count, width = x.shape[-2:]
    frequencies = 10000.0 ** (-torch.arange(0, width, 2) / width)
    angles = (torch.arange(count)[:, None] * frequencies).repeat(1, 2)
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack((-odd, even), dim=-1).flatten(-2)
    return x * angles.cos().to(x.dtype) + turned * angles.sin().to(x.dtype)


# The official code knows action tokens by their ids, 151387 to 151642. Labels other than -100
# begin one token earlier: the loader keeps that of the prompt's last token, a line break, as well.
ACTION_TOKEN_BEGIN = 151386
OFFICIAL_PADDING = 151643  # the official collator's padding id


def from_official_batch(batch: Mapping[str, Any]) -> Batch:
    """Cut the action tokens off the prompts and keep everything else.

    Args:
        batch: `pixel_values`, `input_ids` (B, N): prompt, action tokens, padding on the right;
            `labels` (B, N), -100 except on the prompt's last token and the action tokens;
            `actions` (B, K, A) normalised; `proprio`, (B, P) or, as the official collator gives it
            for one sample, (P,); and
            optionally `attention_mask` (default: tokens other than the official padding) and
            `initial_latent`, (K, D·A) or (B, K, D·A), the noise of the forward to be repeated.

    Returns:
        The same with `input_ids` and `attention_mask` of the prompts, (B, longest prompt).

    Raises:
        ObservationError: a row has no prompt, or no action tokens behind it.
    """
    ids, labels = torch.as_tensor(batch['input_ids']), torch.as_tensor(batch['labels'])
    mask = batch.get('attention_mask')
    real = ids != OFFICIAL_PADDING if mask is None else torch.as_tensor(mask).bool()
    lengths = _prompt_lengths(real, labels)
    longest = int(lengths.max())
    kept = torch.arange(longest, device=ids.device)[None] < lengths[:, None]
    proprio = batch.get('proprio')
    rest = {k: v for k, v in batch.items() if k in ('pixel_values', 'actions', 'initial_latent')}
    return rest | {
        'input_ids': ids[:, :longest] * kept,
        'attention_mask': kept.long(),
        'proprio': None if proprio is None else torch.as_tensor(proprio).reshape(len(ids), -1),
    }


def _prompt_lengths(real: Tensor, labels: Tensor) -> Tensor:
    """Return tokens in front of the first action token (B,)."""
    action = real & (labels > ACTION_TOKEN_BEGIN)
    found = action.any(dim=1)
    lengths = action.long().argmax(dim=1)
    good = found & (lengths > 0)
    if not bool(good.all()):
        row = int(good.long().argmin())
        what = 'no action token' if not found[row] else 'no prompt in front of its action tokens'
        raise ObservationError(
            f'official batch, row {row}: {what} (labels above {ACTION_TOKEN_BEGIN})'
        )
    return lengths
