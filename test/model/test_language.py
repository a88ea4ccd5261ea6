# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The language model's layers compute what transformers' layers compute, joined or not."""

from __future__ import annotations

import pytest
import torch

from support.float32_rounding import IN_FLOAT64, StaysWide
from support.model_cases import formula_input, relative_error
from vla_adapter_ros.architecture.config import LanguageConfig
from vla_adapter_ros.inference.joined import join_language_layers
from vla_adapter_ros.inference.reference import library_decoder
from vla_adapter_ros.model.language import Decoder


def decoder(family: str) -> Decoder:
    torch.manual_seed(0)
    config = LanguageConfig(
        vocab_size=16, hidden=32, layers=2, heads=4, kv_heads=2, mlp_hidden=48, family=family
    )
    model = Decoder(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.requires_grad_(False)


@pytest.mark.parametrize('joined', [False, True])
@pytest.mark.parametrize('family', ['qwen2', 'llama'])
def test_layers_are_those_of_transformers(family, joined):
    model = decoder(family)
    names = {name: value.clone() for name, value in model.state_dict().items()}
    library = library_decoder(model)
    if joined:
        join_language_layers(model)
    x = formula_input('embeddings', (2, 7, 32)).double()
    states = model(x, last_layer=1)
    cos, sin = model.tables(7, x)
    sin = torch.cat((-sin[:, :4], sin[:, 4:]), dim=-1)
    with StaysWide():
        wanted = library[0](x, attention_mask=None, position_embeddings=(cos[None], sin[None]))
    assert relative_error(states[1], wanted) < IN_FLOAT64
    for name, value in model.state_dict().items():  # the checkpoint's names and values stay
        assert torch.equal(value, names.pop(name)), name
    assert not names


def test_only_the_topmost_state_is_normalised():
    model = decoder('qwen2')
    x = formula_input('embeddings', (1, 3, 32)).double()
    whole, part = model(x), model(x, last_layer=1)
    assert (len(whole), len(part)) == (3, 2)
    assert torch.equal(whole[1], part[1])
    raw = model.layers[1](whole[1], model.tables(3, x))
    assert torch.equal(whole[2], model.norm(raw))
