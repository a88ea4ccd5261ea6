# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Released directories of random shapes and forms, written from their description.

Names and shapes are those of the official trainer's files, not of our network, and what the
weights should do is computed by `OfficialReference` and the towers below.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from support.official_reference import OFFICIAL_PADDING, OfficialReference
from vla_adapter_ros.architecture.config import LanguageConfig, VisionTowerConfig
from vla_adapter_ros.processing.tokenizer import Tokenizer

SIZES = ((7, 8, 8), (14, 14, 25), (7, 7, 5), (6, 6, 8), (3, 9, 8))  # action, state, chunk
POLICY_HEADS = 8  # of the official head
CONFIGS = 'pretrained_models/configs'
CONVOLUTION = 'patch_embed.proj.weight'
TOWERS = ('featurizer', 'fused_featurizer')
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Draw:
    """One directory.

    Attributes:
        towers: their shapes; the names are not released ones.
        lora: `none`, `unmerged` with its base beside it, or `named`, whose file names the base.
        queries_stored: whether an unmerged adapter has the ActionQueries, too.
        prefix: of the names in `.pt` files.
        task_tokens: given to the loader in place of the released 512.
        chunk: given to the loader if the size of the actions tells another one.
        keys: of the statistics.
    """

    seed: int
    pro: bool
    towers: tuple[VisionTowerConfig, ...]
    language: LanguageConfig
    blocks: int
    images: int
    queries: int
    action: int
    state: int
    use_proprio: bool
    chunk: int | None
    film: bool
    lora: str
    queries_stored: bool
    rank: int
    alpha: int
    rslora: bool
    prefix: str
    step: str
    shards: int
    task_tokens: int | None
    keys: tuple[str, ...]
    text_layout: str
    tokenizer_of_files: bool

    @property
    def chunk_size(self) -> int:
        """Actions in a chunk."""
        known = {(action, state): chunk for action, state, chunk in SIZES}
        return self.chunk or known[self.action, self.state if self.use_proprio else 8]


def draw(seed: int) -> Draw:
    """Return the directory of a seed."""
    r = random.Random(seed)
    patch, grid = r.choice((4, 7, 14)), r.choice((1, 2, 3))
    towers = tuple(_tower(r, i, patch, grid) for i in range(r.choice((1, 2, 2))))
    heads = r.choice((2, 4))
    layers = r.randint(2, 4)
    images, queries = r.randint(1, 3), r.choice((1, 8, 64, 64))
    use_proprio = r.random() < 0.7
    # Without the projector nothing tells a state of 7 or 14 values; the chunk is then given.
    action, state, _ = r.choice(SIZES if use_proprio else SIZES[:1])
    features = images * grid**2 + queries
    return Draw(
        seed=seed,
        pro=r.random() < 0.6,
        towers=towers,
        language=LanguageConfig(
            vocab_size=r.choice((512, 544)), hidden=r.choice((16, 32, 48)), layers=layers,
            heads=heads, kv_heads=r.choice([n for n in (1, 2, 4) if heads % n == 0]),
            mlp_hidden=r.choice((24, 40)), rope_theta=r.choice((1e4, 1e6)),
            norm_eps=r.choice((1e-6, 1e-5)),
        ),
        blocks=r.choice((layers, layers, layers - 1)),
        images=images, queries=queries, action=action, state=state, use_proprio=use_proprio,
        chunk=r.choice((None, None, 1, 4)),
        film=r.random() < 0.3,
        lora=r.choice(('none', 'none', 'unmerged', 'named')),
        queries_stored=r.random() < 0.5,
        rank=r.choice((1, 3)), alpha=r.choice((2, 6)), rslora=r.random() < 0.3,
        prefix=r.choice(('module.', '')),
        step=r.choice(('', '5000_', 'latest_')),
        shards=r.choice((1, 1, 2, 3)),
        task_tokens=r.choice((None, r.randint(1, features))),
        keys=tuple(r.sample(('libero_object_no_noops', 'calvin_abc', 'mine'), r.randint(1, 3))),
        text_layout=r.choice(('plain', 'rope_parameters', 'more')),
        tokenizer_of_files=r.random() < 0.5,
    )  # fmt: skip


def _tower(r: random.Random, index: int, patch: int, grid: int) -> VisionTowerConfig:
    heads = r.choice((1, 2))
    return VisionTowerConfig(
        width=heads * r.choice((8, 12)), depth=r.randint(2, 4), heads=heads,
        mlp_hidden=r.choice((20, 32)), patch=patch, image_size=patch * grid,
        class_token=r.random() < 0.5, registers=r.choice((0, 0, 4)),
        layer_scale=r.random() < 0.5, name=f'vit_drawn_{index}',
    )  # fmt: skip


class Directory:
    """A drawn directory on the disk, and what its weights do.

    Attributes:
        folder: the checkpoint.
        options: what a user has to give to the loader.
        statistics: those of the key in `key`.
    """

    def __init__(self, folder: Path, drawn: Draw) -> None:
        self.folder, self.drawn = folder, drawn
        self._generator = torch.Generator().manual_seed(drawn.seed)
        base, head, proprio, film = self._tensors()
        self.options: dict[str, Any] = {
            'vision_towers': {  # sizes of images are in config.json
                tower.name: replace(tower, image_size=28 * 12) for tower in drawn.towers
            },
            'num_images': drawn.images,
            'rope_precision': 'run',  # the reference computes its tables in float32
            **({} if drawn.use_proprio else {'use_proprio': False}),
            **({} if drawn.chunk is None else {'chunk_size': drawn.chunk}),
            **({} if drawn.task_tokens is None else {'num_task_tokens': drawn.task_tokens}),
        }
        effective = self._write_vlm(base, film)
        self._write_policy(head, proprio)
        self.key = drawn.keys[0]
        self.statistics = {key: self._statistics(i) for i, key in enumerate(drawn.keys)}
        self._write_json('dataset_statistics.json', self.statistics)
        self._write_tokenizer()
        self._reference = OfficialReference(
            self._features, {f'vla.{n}': v for n, v in effective.items()} | head | proprio,
            asdict(drawn.language), drawn.pro, drawn.task_tokens or 512,
        )  # fmt: skip

    @torch.no_grad()
    def actions(self, pixels: torch.Tensor, prompt: list[int], state: Any) -> np.ndarray:
        """Return the normalised actions (K, A) for one observation, by the reference."""
        drawn = self.drawn
        ids = torch.tensor([[*prompt, *[1] * drawn.queries, 2]])
        labels = torch.full_like(ids, -100)
        labels[:, len(prompt) : -1] = 151387
        batch = {
            'pixel_values': pixels, 'input_ids': ids, 'labels': labels,
            'attention_mask': torch.ones_like(ids), 'proprio': state,
            'latent': torch.zeros(drawn.chunk_size, drawn.action * drawn.language.hidden),
        }  # fmt: skip
        return self._reference.actions(batch)[0].numpy()

    @property
    def weights(self) -> Weights:
        """What the files amount to, by official names; gradients of `loss` flow into them."""
        return self._reference.weights

    def loss(self, batch: dict[str, Any]) -> torch.Tensor:
        """Return the training loss of a batch of the official loader, by the reference."""
        return self._reference.loss(batch)

    def official_batch(self, lengths: tuple[int, ...]) -> dict[str, Any]:
        """Draw a padded batch with prompts of so many tokens."""
        d, g = self.drawn, torch.Generator().manual_seed(self.drawn.seed)
        rows, size = len(lengths), d.towers[0].image_size
        prompts = [torch.randint(3, 500, (length,), generator=g) for length in lengths]
        action = [torch.randint(151387, 151643, (d.queries,), generator=g) for _ in lengths]
        ids = [torch.cat(pair) for pair in zip(prompts, action)]
        # The official labels keep the prompt's last token, too.
        labels = [torch.where(torch.arange(len(i)) < n - 1, -100, i) for i, n in zip(ids, lengths)]
        pad = torch.nn.utils.rnn.pad_sequence
        ids = pad(ids, batch_first=True, padding_value=OFFICIAL_PADDING)
        channels = 3 * len(d.towers) * d.images
        state = torch.rand(rows, d.state, generator=g) * 2 - 1
        return {
            'pixel_values': torch.randn(rows, channels, size, size, generator=g),
            'input_ids': ids,
            'labels': pad(labels, batch_first=True, padding_value=-100),
            'attention_mask': (ids != OFFICIAL_PADDING).long(),
            'proprio': state if d.use_proprio else None,
            'actions': torch.rand(rows, d.chunk_size, d.action, generator=g) * 2 - 1,
            'latent': 0.02 * torch.randn(d.chunk_size, d.action * d.language.hidden, generator=g),
        }

    # ------------------------------------------------------------------ weights

    def _values(self, shapes: dict[str, tuple[int, ...]]) -> Weights:
        """Draw weights that keep the scale of what goes through them."""
        values = {}
        for name, shape in shapes.items():
            x = torch.randn(shape, generator=self._generator)
            if len(shape) > 1 and 'embed' not in name.replace('patch_embed', ''):
                x = x / np.sqrt(np.prod(shape[1:]))
            elif 'norm' in name or 'ffn.0' in name or 'scale_factor' in name:
                x = 0.1 * x + (not name.endswith('bias'))
            values[name] = x
        return values

    def _tensors(self) -> tuple[Weights, Weights, Weights, Weights]:
        """Draw the VLM, the head, the projector of the state, and the FiLM layers."""
        d = self.drawn
        vlm, film = dict(_language_shapes(d.language)), {}
        vlm['action_queries.weight'] = (d.queries, d.language.hidden)
        width = sum(tower.width for tower in d.towers)
        middle = [4 * width, d.language.hidden] if len(d.towers) > 1 else [d.language.hidden]
        sizes = [width, *middle, d.language.hidden]
        for i, (before, after) in enumerate(pairwise(sizes), 1):
            vlm |= _linear(f'projector.fc{i}', after, before)
        for key, tower in zip(TOWERS, d.towers):
            vlm |= _tower_shapes(f'vision_backbone.{key}', tower)
            for block in range(tower.depth if d.film else 0):
                for kind in ('scale', 'shift'):
                    name = f'vision_backbone.{key}.blocks.{block}.{kind}'
                    film |= _linear(name, tower.width, d.language.hidden)
        proprio = _linear('proprio_projector.fc1', d.language.hidden, d.state)
        proprio |= _linear('proprio_projector.fc2', d.language.hidden, d.language.hidden)
        parts = (vlm, _head_shapes(d), proprio if d.use_proprio else {}, film)
        return tuple(self._values(part) for part in parts)

    def _features(self, pixels: torch.Tensor, spoken: torch.Tensor) -> torch.Tensor:
        """Encode (B, 3·towers·images, S, S): features (B, V, width)."""
        seen, towers = [], self.drawn.towers
        for number, view in enumerate(pixels.split(3, dim=1)):
            i = number % len(towers)
            tower = f'vla.vision_backbone.{TOWERS[i]}.'
            named = self._reference.weights.items()
            own = {n.removeprefix(tower): v for n, v in named if n.startswith(tower)}
            seen.append(encode(own, towers[i], view, spoken))
        views = [seen[i : i + len(towers)] for i in range(0, len(seen), len(towers))]
        return torch.cat([torch.cat(view, dim=-1) for view in views], dim=1)

    # ------------------------------------------------------------------ files

    def _write_vlm(self, base: Weights, film: Weights) -> Weights:
        """Write VLM, adapter and FiLM towers; returns the weights that they amount to."""
        d = self.drawn
        halves, scale = {}, d.alpha / (d.rank**0.5 if d.rslora else d.rank)
        if d.lora != 'none':
            plain = ('embed_tokens', 'norm', 'action_queries', 'pos_embed', 'token', 'latent')
            for name, value in base.items():
                layer = name.endswith('.weight') and value.ndim > 1
                if layer and not any(part in name for part in plain):
                    kernel = value.shape[2:]
                    shapes = {'A': (d.rank, value.shape[1], *kernel),
                              'B': (len(value), d.rank, *[1] * len(kernel))}  # fmt: skip
                    halves[name] = self._values(shapes)
        merged = dict(base)
        for name, pair in halves.items():
            delta = pair['B'].flatten(1) @ pair['A'].flatten(1)
            merged[name] = base[name] + scale * delta.view_as(base[name])
        if d.lora == 'none':
            self._write_model(self.folder, base)
        else:
            other = self.folder.with_name(f'{self.folder.name}-base')
            self._write_model(other, base)
            merged |= self._write_adapter(halves, other)
        if film:
            self._write_film(merged, base, halves, film)
        return merged | film

    def _write_model(self, folder: Path, vlm: Weights) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shards = self.drawn.shards
        files = [f'model-{i + 1:05d}-of-{shards:05d}.safetensors' for i in range(shards)]
        files = files if shards > 1 else ['model.safetensors']
        for i, file in enumerate(files):
            save_file({n: vlm[n] for n in list(vlm)[i::shards]}, folder / file)
        if shards > 1:
            index = {name: files[i % shards] for i, name in enumerate(vlm)}
            content = {'metadata': {}, 'weight_map': index}
            (folder / 'model.safetensors.index.json').write_text(json.dumps(content))
        (folder / 'config.json').write_text(json.dumps(self._config()))

    def _config(self) -> dict[str, Any]:
        d, text = self.drawn, self.drawn.language
        stated = {
            'model_type': 'qwen2', 'hidden_size': text.hidden, 'num_hidden_layers': text.layers,
            'num_attention_heads': text.heads, 'num_key_value_heads': text.kv_heads,
            'intermediate_size': text.mlp_hidden, 'rms_norm_eps': text.norm_eps,
            'rope_theta': text.rope_theta, 'vocab_size': text.vocab_size,
        }  # fmt: skip
        if d.text_layout == 'rope_parameters':  # of transformers 5
            theta = stated.pop('rope_theta')
            stated['rope_parameters'] = {'rope_type': 'default', 'rope_theta': theta}
        elif d.text_layout == 'more':
            stated |= {'use_sliding_window': False, 'hidden_act': 'silu', 'rope_scaling': None}
            stated |= {'sliding_window': 32768, 'head_dim': text.hidden // text.heads}
            stated['vocab_size'] -= 16  # the padded size is that of the embeddings
        return {
            'model_type': 'openvla', 'llm_backbone_id': 'qwen25-0_5b-extra', 'text_config': stated,
            'timm_model_ids': [tower.name for tower in d.towers],
            'image_sizes': [tower.image_size for tower in d.towers], 'torch_dtype': 'bfloat16',
            'use_fused_vision_backbone': len(d.towers) > 1, 'norm_stats': {'bridge_orig': {}},
        }  # fmt: skip

    def _write_adapter(self, halves: dict[str, Weights], base: Path) -> Weights:
        """Write peft's files; returns what they hold beside the adapters."""
        d, folder = self.drawn, self.folder / 'lora_adapter'
        folder.mkdir(parents=True, exist_ok=True)
        tensors, whole = {}, {}
        for name, pair in halves.items():
            layer = f'base_model.model.{name.removesuffix(".weight")}'
            tensors |= {f'{layer}.lora_{half}.weight': value for half, value in pair.items()}
        if d.queries_stored:
            shape = (d.queries, d.language.hidden)
            whole = self._values({'action_queries.weight': shape})
            tensors |= {f'base_model.model.{name}': value for name, value in whole.items()}
        save_file(tensors, folder / 'adapter_model.safetensors')
        named = str(base) if d.lora == 'named' else CONFIGS
        if d.lora == 'unmerged':
            self.options['base'] = base
        config = {'r': d.rank, 'lora_alpha': d.alpha, 'use_rslora': d.rslora,
                  'base_model_name_or_path': named, 'revision': None}  # fmt: skip
        (folder / 'adapter_config.json').write_text(json.dumps(config))
        return whole

    def _write_film(
        self, merged: Weights, base: Weights, halves: dict[str, Weights], film: Weights
    ) -> None:
        """Write the towers as the official trainer does: wrapped blocks, LoRA beside."""
        stored = {}
        for name in [n for n in (*base, *film) if n.startswith('vision_backbone.')]:
            parts = name.split('.')
            if 'blocks' in parts and parts[4] not in ('scale', 'shift'):
                parts.insert(4, 'block')
            pre = f'{self.drawn.prefix}{".".join(parts[:-1])}'
            if name in halves:
                stored[f'{pre}.base_layer.{parts[-1]}'] = base[name]
                stored |= {f'{pre}.lora_{h}.default.weight': v for h, v in halves[name].items()}
            else:
                stored[f'{pre}.{parts[-1]}'] = merged[name] if name in merged else film[name]
        torch.save(stored, self.folder / f'vision_backbone--{self.drawn.step}checkpoint.pt')

    def _write_policy(self, head: Weights, proprio: Weights) -> None:
        for kind, values in (('action_head', head), ('proprio_projector', proprio)):
            stored = {self.drawn.prefix + n.partition('.')[2]: v for n, v in values.items()}
            if stored:
                torch.save(stored, self.folder / f'{kind}--{self.drawn.step}checkpoint.pt')

    def _statistics(self, number: int) -> dict[str, Any]:
        random = np.random.default_rng((self.drawn.seed, number))
        vectors = {}
        for part, size in (('action', self.drawn.action), ('proprio', self.drawn.state)):
            low = np.sort(random.uniform(-2, 2, (4, size)), axis=0)
            names = ('min', 'q01', 'q99', 'max')
            vectors[part] = dict(zip(names, low.tolist())) | {
                'mean': low.mean(0).tolist(), 'std': low.std(0).tolist()
            }
        vectors['action']['mask'] = [True] * (self.drawn.action - 1) + [False]
        return {**vectors, 'num_transitions': 10, 'num_trajectories': 2}

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        (self.folder / name).write_text(json.dumps(content))

    def _write_tokenizer(self) -> None:
        """Write `tokenizer.json`, or Qwen's two files with letters alone."""
        if not self.drawn.tokenizer_of_files:
            Tokenizer.from_texts().save(self.folder)
            return
        from tokenizers.pre_tokenizers import ByteLevel

        letters = sorted(ByteLevel.alphabet())
        self._write_json('vocab.json', {letter: i for i, letter in enumerate(letters)})
        (self.folder / 'merges.txt').write_text('#version: 0.2\n')


def _linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (rows, columns), f'{name}.bias': (rows,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.{part}': (width,) for part in ('weight', 'bias')}


def _language_shapes(text: LanguageConfig) -> dict[str, tuple[int, ...]]:
    hidden, keys = text.hidden, text.hidden // text.heads * text.kv_heads
    model = 'language_model.model'
    shapes = {f'{model}.embed_tokens.weight': (text.vocab_size, hidden)}
    for i in range(text.layers):
        layer = f'{model}.layers.{i}'
        for kind, rows in (('q', hidden), ('k', keys), ('v', keys)):
            shapes |= _linear(f'{layer}.self_attn.{kind}_proj', rows, hidden)
        shapes[f'{layer}.self_attn.o_proj.weight'] = (hidden, hidden)
        for kind in ('gate', 'up'):
            shapes[f'{layer}.mlp.{kind}_proj.weight'] = (text.mlp_hidden, hidden)
        shapes[f'{layer}.mlp.down_proj.weight'] = (hidden, text.mlp_hidden)
        for kind in ('input', 'post_attention'):
            shapes[f'{layer}.{kind}_layernorm.weight'] = (hidden,)
    shapes['language_model.lm_head.weight'] = (text.vocab_size, hidden)
    return shapes | {f'{model}.norm.weight': (hidden,)}


def _tower_shapes(name: str, tower: VisionTowerConfig) -> dict[str, tuple[int, ...]]:
    width = tower.width
    shapes = {f'{name}.pos_embed': (1, tower.grid**2, width)}
    shapes |= {f'{name}.cls_token': (1, 1, width)} if tower.class_token else {}
    shapes |= {f'{name}.reg_token': (1, tower.registers, width)} if tower.registers else {}
    shapes[f'{name}.{CONVOLUTION}'] = (width, 3, tower.patch, tower.patch)
    shapes[f'{name}.patch_embed.proj.bias'] = (width,)
    for i in range(tower.depth):
        block = f'{name}.blocks.{i}'
        shapes |= _norm(f'{block}.norm1', width) | _norm(f'{block}.norm2', width)
        shapes |= _linear(f'{block}.attn.qkv', 3 * width, width)
        shapes |= _linear(f'{block}.attn.proj', width, width)
        shapes |= _linear(f'{block}.mlp.fc1', tower.mlp_hidden, width)
        shapes |= _linear(f'{block}.mlp.fc2', width, tower.mlp_hidden)
        if tower.layer_scale:
            shapes |= {f'{block}.ls{n}.scale_factor': (width,) for n in (1, 2)}
    shapes |= _norm(f'{name}.norm', width)
    if not tower.class_token:  # SigLIP's pooling, which nothing reads
        shapes |= {f'{name}.attn_pool.latent': (1, 1, width)}
        shapes |= _linear(f'{name}.attn_pool.kv', 2 * width, width)
    return shapes


def _head_shapes(d: Draw) -> dict[str, tuple[int, ...]]:
    hidden, head = d.language.hidden, 'action_head.model'
    shapes = _norm(f'{head}.layer_norm1', d.action * hidden)
    shapes |= _linear(f'{head}.fc1', hidden, d.action * hidden)
    groups = ('self', 'adapter', 'task') if d.pro else ('proj',)
    pairs = [f'{kind}_{group}' for kind in 'kv' for group in groups]
    for i in range(d.blocks):
        block = f'{head}.mlp_resnet_blocks.{i}'
        shapes[f'{block}.gating_factor'] = (1,)
        for kind in ('q_proj', 'o_proj', 'ffn.1', *pairs):
            shapes |= _linear(f'{block}.{kind}', hidden, hidden)
        shapes |= _norm(f'{block}.ffn.0', hidden)
        shapes |= _linear(f'{block}.film_gen.0', 2 * hidden, hidden) if d.pro else {}
    return shapes | _norm(f'{head}.layer_norm2', hidden) | _linear(f'{head}.fc2', d.action, hidden)


def encode(
    weights: Weights, tower: VisionTowerConfig, pixels: torch.Tensor, spoken: torch.Tensor
) -> torch.Tensor:
    """Features (B, patches, width) of an official tower: the output of its last but one block."""
    x = F.conv2d(pixels, weights[CONVOLUTION], weights['patch_embed.proj.bias'], tower.patch)
    x = x.flatten(2).transpose(1, 2) + weights['pos_embed']
    known = [name for name in ('cls_token', 'reg_token') if name in weights]
    prefix = [weights[name].expand(len(x), -1, -1) for name in known]
    count = x.shape[1]
    x = torch.cat((*prefix, x), dim=1)
    for i in range(tower.depth - 1):
        x = _block(weights, f'blocks.{i}', x, tower.heads, spoken)
    return x[:, -count:]


def _block(
    weights: Weights, name: str, x: torch.Tensor, heads: int, spoken: torch.Tensor
) -> torch.Tensor:
    def linear(part: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, weights[f'{name}.{part}.weight'], weights[f'{name}.{part}.bias'])

    def norm(part: str, x: torch.Tensor) -> torch.Tensor:
        w, b = (weights[f'{name}.{part}.{kind}'] for kind in ('weight', 'bias'))
        return F.layer_norm(x, x.shape[-1:], w, b, 1e-6)

    ones = torch.ones(x.shape[-1])
    q, k, v = (
        part.unflatten(-1, (heads, -1)).transpose(1, 2)
        for part in linear('attn.qkv', norm('norm1', x)).chunk(3, dim=-1)
    )
    scores = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
    mixed = linear('attn.proj', (scores @ v).transpose(1, 2).flatten(2))
    x = x + weights.get(f'{name}.ls1.scale_factor', ones) * mixed
    if f'{name}.scale.weight' in weights:
        x = x * (1 + linear('scale', spoken)[:, None]) + linear('shift', spoken)[:, None]
    hidden = linear('mlp.fc2', F.gelu(linear('mlp.fc1', norm('norm2', x))))
    return x + weights.get(f'{name}.ls2.scale_factor', ones) * hidden

