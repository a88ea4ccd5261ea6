# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Every shortcut of the inference session is exact, and no work is left that changes nothing."""

from __future__ import annotations

import pytest
import torch

from support.float32_rounding import IN_FLOAT64, StaysWide, doubled, in_float64
from support.model_cases import (
    relative_error,
    small_batch,
    small_config,
    tiny_inputs,
    tiny_model,
)
from vla_adapter_ros.architecture.config import PolicyConfig
from vla_adapter_ros.inference.joined import join_language_layers
from vla_adapter_ros.inference.reference import ReferenceForward
from vla_adapter_ros.inference.session import InferenceSession
from vla_adapter_ros.model.vla import VLAAdapter


@pytest.fixture(autouse=True)
def wide():
    with StaysWide():
        yield


def tiny_case(kind):
    return in_float64(tiny_model(kind)), doubled(tiny_inputs())


def awake(config) -> VLAAdapter:
    """A network whose gates are open and whose biases are not zero, so that nothing hides."""
    torch.manual_seed(3)
    model = VLAAdapter.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return in_float64(model)


def wide_batch(config, **sizes):
    return doubled(small_batch(config, **sizes))


@pytest.mark.parametrize('kind', ['pro', 'original'])
def test_session_gives_the_plain_paths_actions(kind):
    model, inputs = tiny_case(kind)
    session = InferenceSession(model)
    actions = session(
        inputs['pixel_values'], session.prompt(inputs['input_ids']), inputs['proprio']
    )
    assert relative_error(actions, model.predict(**inputs)) < IN_FLOAT64


@pytest.mark.parametrize('kind', ['pro', 'original'])
def test_released_form_with_its_dead_work_gives_the_same_actions(kind):
    model, inputs = tiny_case(kind)
    assert relative_error(ReferenceForward(model)(**inputs), model.predict(**inputs)) < IN_FLOAT64


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'aligned_slices': True},
        {'use_film': True},
        {'use_proprio': False},
        {'num_images': 1},
        {'num_images': 3},
        {'policy': PolicyConfig(kind='original', heads=4)},
        {'policy': PolicyConfig(heads=4, features='raw')},
        {'policy': PolicyConfig(heads=4, features='query')},
        {'policy': PolicyConfig(kind='original', heads=4, features='query')},
        {'policy': PolicyConfig(heads=4, feature_layers='middle')},
        {'policy': PolicyConfig(heads=4, feature_layers=(3, 1, 2, 0))},
        {'policy': PolicyConfig(heads=4, raw_gate='none', query_gate='tanh')},
        {'policy': PolicyConfig(heads=4, num_task_tokens=30)},
        {'policy': PolicyConfig(heads=4, num_task_tokens=36), 'num_images': 2},
    ],
    ids=str,
)
def test_session_equals_the_plain_path_for_every_variant(changes):
    config = small_config(**changes)
    model = awake(config)
    batch = wide_batch(config, batch=1)
    plain = model.predict(batch['pixel_values'], batch['input_ids'], batch['proprio'])
    session = InferenceSession(model)
    prompt = session.prompt(batch['input_ids'])
    actions = session(batch['pixel_values'], prompt, batch['proprio'])
    assert relative_error(actions, plain) < IN_FLOAT64
    session = InferenceSession(model, absorb=False)
    actions = session(batch['pixel_values'], prompt, batch['proprio'])
    assert relative_error(actions, plain) < IN_FLOAT64
    released = ReferenceForward(model)(batch['pixel_values'], batch['input_ids'], batch['proprio'])
    assert relative_error(plain, released) < IN_FLOAT64
    assert float(plain.abs().max()) > 0.01


@pytest.mark.parametrize('absorb', [False, True])
@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'aligned_slices': True},
        {'use_film': True, 'aligned_slices': True},
        {'use_film': True, 'film_segment_tokens': 2},
        {'use_film': True, 'film_slots': 3},
        {'policy': PolicyConfig(heads=4, features='raw')},
        {'policy': PolicyConfig(heads=4, num_task_tokens=36), 'num_images': 2},
        {'policy': PolicyConfig(kind='oft')},
    ],
    ids=str,
)
def test_prompts_of_different_lengths_in_one_batch_change_nothing(changes, absorb):
    config = small_config(**changes)
    session = InferenceSession(awake(config), absorb=absorb)
    batch = wide_batch(config, batch=3, length=9)
    lengths = (4, 9, 6)
    mask = torch.stack([torch.arange(9) < length for length in lengths]).long()
    prompts = session.prompt(batch['input_ids'], mask)
    together = session(batch['pixel_values'], prompts, batch['proprio'])
    for i, length in enumerate(lengths):
        row = slice(i, i + 1)
        prompt = session.prompt(batch['input_ids'][row, :length])
        alone = session(batch['pixel_values'][row], prompt, batch['proprio'][row])
        assert relative_error(together[row], alone) < IN_FLOAT64


@pytest.mark.parametrize('use_film', [False, True])
def test_a_prompt_padded_to_a_bucket_changes_nothing(use_film):
    config = small_config(use_film=use_film)
    model = awake(config)
    batch = wide_batch(config, batch=1, length=5)
    session = InferenceSession(model)
    exact = session(batch['pixel_values'], session.prompt(batch['input_ids']), batch['proprio'])
    padded = torch.full((1, 9), 10**6)  # padding ids need not be in the vocabulary
    padded[:, :5] = batch['input_ids']
    mask = torch.zeros_like(padded)
    mask[:, :5] = 1
    actions = session(batch['pixel_values'], session.prompt(padded, mask), batch['proprio'])
    assert relative_error(actions, exact) < IN_FLOAT64


def test_layers_above_the_highest_one_read_do_not_run():
    config = small_config(policy=PolicyConfig(heads=4, feature_layers='first'))
    model = awake(config)
    ran = []
    for index, layer in enumerate(model.decoder.layers):
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
    batch = wide_batch(config, batch=1)
    session = InferenceSession(model)
    session(batch['pixel_values'], session.prompt(batch['input_ids']), batch['proprio'])
    assert ran == [0]


def test_no_value_is_read_on_the_host_during_a_call():
    """On the meta device any such read raises: a CUDA graph could not capture it either."""
    config = small_config()
    model = VLAAdapter.from_config(config, device='meta')
    session = InferenceSession(model)
    ids = torch.zeros(1, 5, dtype=torch.long, device='meta')
    prompt = session.prompt(ids, torch.ones_like(ids))
    pixels = torch.zeros(1, 12, 32, 32, device='meta')
    actions = session(pixels, prompt, torch.zeros(1, 7, device='meta'))
    assert actions.shape == (1, 8, 7)


def test_a_session_runs_several_samples_with_one_prompt():
    config = small_config()
    model = awake(config)
    batch = wide_batch(config, batch=1)
    other = wide_batch(config, batch=3)
    session = InferenceSession(model)
    prompt = session.prompt(batch['input_ids'])
    together = session(other['pixel_values'], prompt, other['proprio'])
    for row in range(3):
        one = slice(row, row + 1)
        alone = session(other['pixel_values'][one], prompt, other['proprio'][one])
        assert relative_error(together[one], alone) < IN_FLOAT64


def test_bf16_session_stays_within_bf16_noise_of_the_plain_path():
    model, inputs = tiny_model('original').to(torch.bfloat16), tiny_inputs()
    session = InferenceSession(model)
    actions = session(
        inputs['pixel_values'], session.prompt(inputs['input_ids']), inputs['proprio']
    )
    plain = model.predict(**inputs)
    assert relative_error(actions.float(), plain) < 0.05


@pytest.mark.parametrize('kind', ['pro', 'original'])
def test_a_network_with_joined_layers_is_saved_as_any_other(kind, tmp_path):
    config = small_config(policy=PolicyConfig(kind=kind, heads=4))
    model = VLAAdapter.from_config(config)
    values = {name: value.clone() for name, value in model.state_dict().items()}
    InferenceSession(model, absorb=False)
    join_language_layers(model.decoder)
    model.save_pretrained(tmp_path)
    loaded = VLAAdapter.from_pretrained(tmp_path).state_dict()
    assert loaded.keys() == values.keys()
    assert all(torch.equal(loaded[name], value) for name, value in values.items())
    stored = sum(value.numel() * value.element_size() for value in values.values())
    assert (tmp_path / 'model.safetensors').stat().st_size < 1.2 * stored
    first = model.policy.network.blocks[0].own_layers()
    kept = {layer.weight.untyped_storage().data_ptr() for layer in first}
    assert len(kept) == 1  # views of one tensor: no memory is held twice
