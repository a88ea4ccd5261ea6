# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""OpenVLA-OFT's bridging, held against its forward written a second time."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional as F

from support.float32_rounding import IN_FLOAT64, StaysWide, doubled, in_float64
from support.model_cases import fill_by_formula, relative_error, small_batch, small_config
from vla_adapter_ros.architecture.config import PolicyConfig, VLAAdapterConfig
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.inference.session import InferenceSession
from vla_adapter_ros.model import VLAAdapter


@pytest.fixture(autouse=True)
def wide():
    with StaysWide():
        yield


def make(**changes) -> VLAAdapter:
    model = VLAAdapter.from_config(small_config(policy=PolicyConfig(kind='oft'), **changes))
    fill_by_formula(model)
    return in_float64(model)


def row(batch: dict, index: int, length: int) -> dict:
    """One sample of a batch, with so many prompt tokens and no mask."""
    parts = {k: batch[k][index : index + 1] for k in ('pixel_values', 'input_ids', 'proprio')}
    return parts | {'input_ids': parts['input_ids'][:, :length]}


def from_description(model: VLAAdapter, pixel_values, input_ids, proprio) -> torch.Tensor:
    """What OpenVLA-OFT's `predict_action` and `L1RegressionActionHead` compute for a sample."""
    config, weights = model.config, dict(model.policy.named_parameters())

    def layer(name, x):
        return F.linear(x, weights[f'{name}.weight'], weights[f'{name}.bias'])

    def norm(name, x):
        return F.layer_norm(
            x, x.shape[-1:], weights[f'{name}.weight'], weights[f'{name}.bias'], 1e-5
        )

    patches = model.projector(model.vision_backbone(pixel_values, None))
    if config.use_proprio:
        hidden = F.gelu(layer('proprio_projector.fc1', proprio))
        patches = torch.cat((patches, layer('proprio_projector.fc2', hidden)[:, None]), dim=1)
    slots = config.chunk_size * config.action_dim
    ids = torch.cat((input_ids, torch.ones(1, slots, dtype=torch.long), torch.tensor([[2]])), 1)
    is_slot = torch.zeros_like(ids, dtype=torch.bool)
    is_slot[:, input_ids.shape[1] : -1] = True
    embedded = model.decoder.embed_tokens(ids) * ~is_slot[..., None]
    states = model.decoder(torch.cat((embedded[:, :1], patches, embedded[:, 1:]), dim=1))
    # NUM_PATCHES + NUM_PROMPT_TOKENS, where the latter leaves the first token out.
    start = patches.shape[1] + input_ids.shape[1] - 1 + config.aligned_slices
    x = states[-1][:, start : start + slots].reshape(config.chunk_size, -1)
    head = 'action_head.model'
    x = F.relu(layer(f'{head}.fc1', norm(f'{head}.layer_norm1', x)))
    for i in range(config.policy.blocks or 2):
        block = f'{head}.mlp_resnet_blocks.{i}.ffn'
        x = x + F.relu(layer(f'{block}.1', norm(f'{block}.0', x)))
    return layer(f'{head}.fc2', norm(f'{head}.layer_norm2', x))[None]


@pytest.mark.parametrize(
    'changes',
    [{}, {'aligned_slices': True}, {'use_proprio': False}, {'num_images': 1, 'chunk_size': 3}],
    ids=str,
)
@torch.no_grad()
def test_plain_and_fast_path_equal_the_description(changes):
    model = make(**changes)
    inputs = doubled(row(small_batch(model.config), 1, 5))
    wanted = from_description(model, **inputs)
    assert relative_error(model.predict(**inputs), wanted) < IN_FLOAT64
    session = InferenceSession(model)
    fast = session(inputs['pixel_values'], session.prompt(inputs['input_ids']), inputs['proprio'])
    assert relative_error(fast, wanted) < IN_FLOAT64
    assert float((wanted[:, 0] - wanted[:, 1]).abs().max()) > 1e-3  # positions tell slots apart


def test_samples_of_a_padded_batch_are_those_of_each_alone():
    model = make()
    batch = doubled(small_batch(model.config))
    both = model.predict(
        batch['pixel_values'], batch['input_ids'], batch['proprio'], batch['attention_mask']
    )
    for index, length in enumerate(batch['attention_mask'].sum(dim=1).tolist()):
        alone = model.predict(**row(batch, index, length))
        assert relative_error(both[index : index + 1], alone) < IN_FLOAT64


def test_the_state_reaches_the_actions_through_the_language_model_alone():
    model = make()
    inputs = doubled(row(small_batch(model.config), 1, 5))
    changed = inputs | {'proprio': inputs['proprio'] + 1}
    assert relative_error(model.predict(**changed), model.predict(**inputs)) > 1e-4
    with pytest.raises(ObservationError, match='proprio: got shape None'):
        model.predict(inputs['pixel_values'], inputs['input_ids'])


def test_slots_are_not_learned_and_the_configuration_survives_its_file():
    config = VLAAdapterConfig(policy=PolicyConfig(kind='oft'))
    assert VLAAdapterConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert (config.queries_in_sequence, config.layer_of_block) == (56, (24,))
    assert make().action_queries is None
