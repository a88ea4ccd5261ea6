# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The diffusion policy: its schedule, its sampler, and that it learns a distribution."""

from __future__ import annotations

import pytest
import torch

from support.model_cases import (
    block_features,
    formula_input,
    relative_error,
    small_batch,
    small_config,
)
from vla_adapter_ros.architecture.config import PolicyConfig
from vla_adapter_ros.inference.session import InferenceSession
from vla_adapter_ros.model.dit import DiffusionPolicy, ddim_step, noise_levels
from vla_adapter_ros.model.vla import VLAAdapter


def dit_config(**changes):
    return small_config(policy=PolicyConfig(kind='dit', heads=4, blocks=2, **changes))


def test_signal_falls_from_almost_all_to_almost_nothing():
    levels = noise_levels(50)
    assert bool((levels[1:] < levels[:-1]).all())
    assert float(levels[0]) > 0.99
    assert 0 < float(levels[-1]) < 1e-3


def test_a_perfect_noise_prediction_brings_the_clean_chunk_back_in_one_step():
    clean = formula_input('clean', (2, 8, 7), 0.3).clamp(-1, 1)
    noise = formula_input('noise', (2, 8, 7))
    signal = float(noise_levels(50)[30])
    noisy = signal**0.5 * clean + (1 - signal) ** 0.5 * noise
    torch.testing.assert_close(ddim_step(noisy, noise, signal, 1.0), clean, rtol=1e-4, atol=1e-5)
    partly = ddim_step(noisy, noise, signal, 0.9)
    torch.testing.assert_close(partly, 0.9**0.5 * clean + 0.1**0.5 * noise, rtol=1e-3, atol=1e-4)


def test_schedule_runs_from_noise_to_actions():
    policy = DiffusionPolicy(dit_config(diffusion_steps=50, sampling_steps=10))
    schedule = policy.schedule()
    assert (schedule[0], schedule[-1], len(schedule)) == (49, 0, 10)
    assert schedule == sorted(schedule, reverse=True)


def test_samples_depend_on_the_start_noise_alone_and_stay_in_range():
    torch.manual_seed(0)
    model = VLAAdapter.from_config(dit_config())
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    batch = small_batch(model.config)
    keys = ('pixel_values', 'input_ids', 'proprio', 'attention_mask')
    inputs = {key: batch[key] for key in keys}
    noise = formula_input('start', (8, 7))
    with torch.no_grad():
        first, second = (model(**inputs, initial_latent=noise) for _ in range(2))
        other = model(**inputs, initial_latent=-noise)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert float(first.abs().max()) <= 1.0


def test_conditions_reach_the_noise_prediction():
    torch.manual_seed(0)
    policy = DiffusionPolicy(dit_config()).eval()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    config = policy.config
    tokens = config.num_task_tokens + config.num_queries
    hidden = formula_input('hidden', (1, 5, tokens, 32))
    proprio, start = torch.zeros(1, 7), formula_input('start', (8, 7))
    with torch.no_grad():
        base = policy(block_features(config, hidden), proprio, start)
        for states, other in (
            (hidden * (1 + torch.eye(5)[1])[None, :, None, None], proprio),
            (hidden, proprio + 1),
        ):
            changed = policy(block_features(config, states), other, start)
            assert float((changed - base).abs().max()) > 1e-4


@pytest.mark.slow(reason='250 steps of training')
def test_it_learns_two_modes_where_a_regression_gives_their_mean():
    torch.manual_seed(0)
    policy = DiffusionPolicy(dit_config())
    config = policy.config
    tokens = config.num_task_tokens + config.num_queries
    hidden = formula_input('hidden', (1, 5, tokens, 32)).expand(32, -1, -1, -1)
    features = block_features(config, hidden)
    proprio = torch.zeros(32, 7)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=2e-3)
    for _ in range(250):
        sign = torch.randint(2, (32, 1, 1)) * 2.0 - 1.0
        loss, _ = policy.loss(features, proprio, 0.6 * sign.expand(32, 8, 7))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        samples = policy.eval()(features, proprio)
    means = samples.mean(dim=(1, 2))
    # A regression would give chunks near zero, the mean of the two modes.
    assert 0.4 < float(means.abs().median()) < 0.8
    assert 4 <= int((means > 0).sum()) <= 28


@pytest.mark.parametrize('aligned', [False, True])
def test_a_session_samples_what_the_plain_path_samples(aligned):
    torch.manual_seed(0)
    policy = PolicyConfig(kind='dit', heads=4, blocks=2)
    model = VLAAdapter.from_config(small_config(policy=policy, aligned_slices=aligned))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    batch = small_batch(model.config, batch=1)
    session = InferenceSession(model)
    prompt = session.prompt(batch['input_ids'])
    torch.manual_seed(1)
    actions = session(batch['pixel_values'], prompt, batch['proprio'])
    torch.manual_seed(1)
    plain = model.predict(batch['pixel_values'], batch['input_ids'], batch['proprio'])
    assert relative_error(actions, plain) < 1e-4


def test_sampled_actions_keep_within_the_limit_of_the_data():
    for limit in (0.5, 3.0):
        policy = PolicyConfig(kind='dit', heads=4, action_limit=limit)
        model = VLAAdapter.from_config(small_config(policy=policy))
        batch = small_batch(model.config)
        torch.manual_seed(0)
        with torch.no_grad():
            model.policy.network.action_out.weight.normal_(std=10.0)
            found = model.predict(batch['pixel_values'], batch['input_ids'], batch['proprio'])
        assert 0.99 * limit < float(found.abs().max()) <= limit * 1.001
