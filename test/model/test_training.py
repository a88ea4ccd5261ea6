# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A padded training batch computes and learns what its samples do alone; noise is for training."""

from __future__ import annotations

import pytest
import torch

from support.model_cases import (
    formula_input,
    relative_error,
    small_batch,
    small_config,
    tiny_model,
)
from vla_adapter_ros.architecture.config import PolicyConfig
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.model.vla import VLAAdapter

LENGTHS = (9, 14, 6)
PAD = 151643  # the released padding id, far outside the tiny vocabulary


def padded_batch(pad: int = PAD) -> dict:
    """Three prompts of different lengths for the tiny network, padded on the right."""
    batch, longest = len(LENGTHS), max(LENGTHS)
    ids = (torch.arange(batch * longest).view(batch, longest) * 37) % 512
    mask = torch.arange(longest)[None] < torch.tensor(LENGTHS)[:, None]
    return {
        'pixel_values': formula_input('batch pixels', (batch, 12, 224, 224)),
        'input_ids': ids.masked_fill(~mask, pad),
        'attention_mask': mask.long(),
        'proprio': formula_input('batch proprio', (batch, 8), 0.5).clamp(-1, 1),
        'actions': formula_input('batch actions', (batch, 8, 7), 0.5).clamp(-1, 1),
        'initial_latent': formula_input('latent', (8, 7 * 64), 0.02),
    }


def one_sample(batch: dict, row: int) -> dict:
    """One row of a batch, without its padding or a mask."""
    alone = {key: value[row : row + 1] for key, value in batch.items()}
    alone['input_ids'] = alone['input_ids'][:, : LENGTHS[row]]
    alone['initial_latent'] = batch['initial_latent']
    del alone['attention_mask']
    return alone


@pytest.fixture(scope='module', params=[
    'pro',
    pytest.param('original', marks=pytest.mark.slow(reason='of two, one is always tried')),
])
def gradients(request):
    """Loss and gradients of the padded batch, and the mean of those of its samples alone."""
    model, batch = tiny_model(request.param).train(), padded_batch()
    loss = model.compute_loss(batch)[0]
    loss.backward()
    together = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    losses = []
    for row in range(len(LENGTHS)):
        alone = model.compute_loss(one_sample(batch, row))[0]
        (alone / len(LENGTHS)).backward()
        losses.append(alone.detach())
    apart = {name: p.grad.clone() for name, p in model.named_parameters()}
    return loss.detach(), torch.stack(losses), together, apart


def test_padded_batch_has_the_mean_loss_of_its_samples(gradients):
    loss, losses, _, _ = gradients
    assert relative_error(loss, losses.mean()) < 1e-5
    assert float(losses.std()) > 1e-3


def test_padded_batch_has_the_mean_gradients_of_its_samples(gradients):
    _, _, together, apart = gradients
    # The deep tiny network amplifies rounding on its way down; the scale is each tensor's own.
    for name, wanted in apart.items():
        assert relative_error(together[name], wanted) < 2e-3, name


def test_every_released_parameter_gets_a_gradient_but_the_unread_query(gradients):
    _, _, together, _ = gradients
    for name, gradient in together.items():
        assert float(gradient.abs().max()) > 0, name
    queries = together['action_queries.weight']
    assert float(queries[-1].abs().max()) == 0.0
    assert bool((queries[:-1].abs().amax(dim=1) > 0).all())


def test_the_padding_id_changes_nothing():
    model = tiny_model('pro')
    keys = ('pixel_values', 'input_ids', 'proprio', 'attention_mask')
    first, second = padded_batch(pad=PAD), padded_batch(pad=3)
    with torch.no_grad():
        actions = [model(**{key: b[key] for key in keys}) for b in (first, second)]
    assert torch.equal(*actions)


def test_noise_is_fresh_in_training_shared_by_the_batch_and_absent_at_inference():
    config = small_config()
    model = VLAAdapter.from_config(config)
    policy = model.policy.train()
    first, second = (policy.initial_latent(3, model.device) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first[0], first[2])
    assert 0.018 < float(first.std()) < 0.022
    assert float(policy.eval().initial_latent(3, model.device).abs().max()) == 0.0


def test_training_noise_is_one_draw_from_the_default_generator():
    """So that a run of the released code with the same seed has the same noise."""
    model = VLAAdapter.from_config(small_config()).train()
    batch = small_batch(model.config)
    torch.manual_seed(5)
    drawn = model.compute_loss(batch)[0]
    torch.manual_seed(5)
    latent = torch.empty(8, 7 * 32)
    torch.nn.init.normal_(latent, mean=0.0, std=0.02)
    given = model.compute_loss(batch | {'initial_latent': latent})[0]
    assert torch.equal(drawn, given)


def test_loss_is_the_mean_absolute_error_with_the_gripper_in_it():
    model = VLAAdapter.from_config(small_config())
    batch = small_batch(model.config)
    keys = ('pixel_values', 'input_ids', 'proprio', 'attention_mask')
    predicted = model.predict(*(batch[key] for key in keys))
    wanted = torch.nn.functional.l1_loss(predicted, batch['actions'])
    loss, metrics = model.compute_loss(batch)
    assert relative_error(loss, wanted) < 1e-6
    later = (predicted - batch['actions'])[:, 1:].abs().mean()
    assert relative_error(metrics['l1_later'], later) < 1e-6


def test_gradient_checkpointing_changes_memory_not_gradients():
    config = small_config(use_film=True)
    model = VLAAdapter.from_config(config)
    batch = small_batch(config) | {'initial_latent': torch.zeros(8, 7 * 32)}
    found = []
    for enabled in (False, True):
        model.set_gradient_checkpointing(enabled)
        model.zero_grad()
        model.train().compute_loss(batch)[0].backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for name, wanted in found[0].items():
        torch.testing.assert_close(found[1][name], wanted, rtol=1e-5, atol=1e-8)


def test_autocast_trains_with_float32_weights():
    model = VLAAdapter.from_config(small_config()).train()
    batch = small_batch(model.config)
    with torch.autocast('cpu', torch.bfloat16):
        loss, _ = model.compute_loss(batch)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


def test_a_few_steps_fit_one_batch():
    torch.manual_seed(0)
    model = VLAAdapter.from_config(small_config(aligned_slices=True)).train()
    batch = small_batch(model.config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss, _ = model.compute_loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'pixel_values': torch.zeros(2, 6, 32, 32)}, r'pixel_values: got shape \(2, 6, 32, 32\)'),
        ({'pixel_values': torch.zeros(2, 12, 48, 48)}, r'expects \(batch, 12, 32, 32\)'),
        ({'input_ids': torch.zeros(3, 5, dtype=torch.long)}, 'input_ids: got shape'),
        ({'input_ids': torch.zeros(2, 0, dtype=torch.long)}, 'the prompt is empty'),
        (
            {'proprio': torch.zeros(2, 6)},
            r'proprio: got shape \(2, 6\), the policy expects \(2, 7\)',
        ),
        ({'proprio': None}, 'proprio: got shape None'),
        ({'attention_mask': torch.tensor([[0, 1, 1, 1, 1]] * 2)}, 'padding must be on the right'),
        ({'attention_mask': torch.zeros(2, 5)}, 'a prompt is empty'),
        ({'attention_mask': torch.ones(2, 4)}, 'attention_mask: shape'),
        ({'initial_latent': torch.zeros(8, 7)}, 'initial_latent: got'),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_the_reason(change, message):
    model = VLAAdapter.from_config(small_config())
    with pytest.raises(ObservationError, match=message):
        model.compute_loss(small_batch(model.config) | change)


def test_a_policy_without_proprioception_ignores_it():
    config = small_config(use_proprio=False, policy=PolicyConfig(kind='original', heads=4))
    model = VLAAdapter.from_config(config)
    batch = small_batch(config)
    inputs = (batch['pixel_values'], batch['input_ids'])
    assert torch.equal(model.predict(*inputs, None), model.predict(*inputs, batch['proprio']))
