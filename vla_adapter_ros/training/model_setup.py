# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From the recipe's `model` entry to a network, and words that one did not know before."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from vla_adapter_ros.architecture.config import LLAMA2_7B, OPENVLA_7B, VLAAdapterConfig
from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.training.config_loader import merged

PRESETS = {
    'pro': VLAAdapterConfig.full('pro'),
    'original': VLAAdapterConfig.full('original'),
    'dit': VLAAdapterConfig.full('dit'),
    'llama2-7b': VLAAdapterConfig(language=LLAMA2_7B),  # Prismatic VLM on LLaMA-2
    'openvla-7b': VLAAdapterConfig(language=OPENVLA_7B),
    'tiny': VLAAdapterConfig.tiny(),
}


def network_config(entry: Mapping[str, Any], **forced: Any) -> VLAAdapterConfig:
    """Return the network of a recipe.

    Args:
        entry: `preset` and nested changes, e.g. {preset: tiny, policy: {kind: dit}}. `vision` is
            a list of towers, or a mapping applied to every tower of the preset.
        forced: fields that the data decide (`proprio_dim`, `action_dim`, `vocab_size`).

    Raises:
        ConfigError: unknown preset or key, or a value no network can be built from.
    """
    changes = copy.deepcopy(dict(entry))
    preset = changes.pop('preset', 'pro')
    if preset not in PRESETS:
        raise ConfigError(f'model.preset: got {preset!r}, expected one of {list(PRESETS)}')
    data = PRESETS[preset].to_dict()
    towers = changes.get('vision')
    if isinstance(towers, Mapping):
        changes['vision'] = [{**tower, **towers} for tower in data['vision']]
    vocabulary = forced.pop('vocab_size', None)
    data = merged(data, changes)
    if vocabulary is not None:
        data['language']['vocab_size'] = vocabulary
    return VLAAdapterConfig.from_dict({**data, **forced})


def learn_words(model: VLAAdapter, tokenizer: Tokenizer, texts: Iterable[str]) -> Tokenizer:
    """Give new words of `texts` an id and an embedding of their own, with random values.

    A word list would read them all as one unknown word, pieces would spell them. Byte-level
    tokenizers make no difference: with them nothing changes.

    Args:
        model: its embeddings grow in place; those of known words stay as they are.
        tokenizer: of the model.
        texts: the instructions of training.

    Returns:
        The tokenizer that knows them.
    """
    grown = tokenizer.with_words(texts)
    decoder = model.decoder
    known = decoder.embed_tokens.weight
    size = grown.vocab_size
    if size <= known.shape[0]:
        return grown
    table = nn.Embedding(size, known.shape[1], dtype=known.dtype, device=known.device)
    with torch.no_grad():
        # Values like those of a word that a network starts with (`initialise`).
        table.weight.normal_(0.0, decoder.config.embedding_scale)
        table.weight[: known.shape[0]] = known
    decoder.embed_tokens = table
    model.config = model.config.override(vocab_size=size)
    decoder.config = model.config.language
    return grown
