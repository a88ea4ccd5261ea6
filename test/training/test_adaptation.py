# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What trains in each mode; LoRA merged and unmerged give the same actions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vla_adapter_ros.model import VLAAdapter, VLAAdapterConfig
from vla_adapter_ros.training.adaptation import adapt, count_by_module, lora_targets
from vla_adapter_ros.training.config import AdaptationConfig, OptimizerConfig
from vla_adapter_ros.training.lora import merged_state_dict
from vla_adapter_ros.training.optimizer import (
    WeightAverage,
    make_optimizer,
    parameter_groups,
    trainable,
)
from vla_adapter_ros.weights.prismatic import film_layers


@pytest.fixture
def model():
    torch.manual_seed(0)
    return VLAAdapter.from_config(VLAAdapterConfig.tiny())


def batch(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    channels = config.channels_per_image * config.num_images
    size = config.image_size
    return {
        'pixel_values': torch.randn(2, channels, size, size, generator=generator),
        'input_ids': torch.randint(0, 500, (2, 6), generator=generator),
        'proprio': torch.randn(2, config.proprio_dim, generator=generator),
        'actions': torch.randn(2, 8, 7, generator=generator),
    }


def actions(model):
    made = batch(model)
    return model.predict(made['pixel_values'], made['input_ids'], made['proprio'])


def train_a_little(model, steps=3):
    named = trainable(model)
    config = OptimizerConfig(lr=5e-3)
    optimizer = make_optimizer(parameter_groups(named, config), config, fused=True)
    model.train()
    for step in range(steps):
        model.compute_loss(batch(model, step))[0].backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def moved(model, mode):
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    adapt(model, AdaptationConfig(mode=mode, rank=4), torch.float32)
    train_a_little(model)
    after = merged_state_dict(model)
    return {n.split('.')[0] for n, p in before.items() if not torch.equal(after[n], p)}


@pytest.mark.parametrize(('mode', 'parts'), [
    ('frozen', {'action_queries', 'policy'}),
    ('lora', {'action_queries', 'policy', 'vision_backbone', 'projector', 'language_model'}),
    ('full', {'action_queries', 'policy', 'vision_backbone', 'projector', 'language_model'}),
])
def test_each_mode_moves_its_parts_and_no_others(model, mode, parts):
    assert moved(model, mode) == parts


def test_lora_is_on_every_linear_layer_of_the_backbone_and_all_of_them_get_a_gradient(model):
    linears = {
        name for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not name.startswith('policy')
    }  # fmt: skip
    assert set(lora_targets(model)) == linears
    adapt(model, AdaptationConfig(mode='lora', rank=4), torch.float32)
    model.train().compute_loss(batch(model))[0].backward()
    adapters = [(n, p) for n, p in model.named_parameters() if 'lora_' in n]
    assert len(adapters) == len(linears)
    for name, parameter in adapters:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_film_layers_train_whole_with_lora():
    model = VLAAdapter.from_config(VLAAdapterConfig.tiny().replace(use_film=True))
    film = film_layers(model)
    adapt(model, AdaptationConfig(mode='lora', rank=4), torch.bfloat16)
    assert film
    for layer in map(model.get_submodule, film):
        assert type(layer) is torch.nn.Linear
        assert layer.weight.requires_grad and layer.weight.dtype == torch.float32


@pytest.mark.parametrize('mode', ['frozen', 'lora', 'full'])
@pytest.mark.parametrize('changes', [
    {'feature_layers': 'first'}, {'feature_layers': 'middle'}, {'features': 'raw'},
    {'features': 'query'}, {'kind': 'original'}, {'kind': 'dit'},
], ids=str)
def test_everything_that_trains_gets_a_gradient_in_every_variant(mode, changes):
    base = VLAAdapterConfig.tiny()
    model = VLAAdapter.from_config(base.replace(policy=replace(base.policy, **changes)))
    adapt(model, AdaptationConfig(mode=mode, rank=2), torch.float32)
    model.train().compute_loss(batch(model))[0].backward()
    assert [n for n, p in trainable(model) if p.grad is None] == []


def test_merged_and_unmerged_give_equal_actions_and_nothing_is_lost(model, tmp_path):
    fresh = actions(model)
    adapt(model, AdaptationConfig(mode='lora', rank=8), torch.float32)
    torch.testing.assert_close(actions(model), fresh)  # adapters start at zero
    queries = model.action_queries.weight.detach().clone()
    train_a_little(model)
    unmerged = actions(model)
    assert (unmerged - fresh).abs().max() > 1e-3
    model.save_pretrained(tmp_path, state_dict=merged_state_dict(model))
    torch.testing.assert_close(actions(model), unmerged, atol=0, rtol=0)  # still trainable
    merged = VLAAdapter.from_pretrained(tmp_path)
    torch.testing.assert_close(actions(merged), unmerged, atol=1e-5, rtol=1e-4)
    assert not torch.equal(merged.action_queries.weight, queries)
    torch.testing.assert_close(merged.action_queries.weight, model.action_queries.weight)


def test_frozen_weights_may_be_bf16_while_what_trains_stays_fp32(model):
    adapt(model, AdaptationConfig(mode='lora', rank=4), torch.bfloat16)
    kinds = {p.requires_grad: set() for p in model.parameters()}
    for parameter in model.parameters():
        kinds[parameter.requires_grad].add(parameter.dtype)
    assert kinds == {True: {torch.float32}, False: {torch.bfloat16}}
    with torch.autocast('cpu', torch.bfloat16):
        loss, _ = model.train().compute_loss(batch(model))
    loss.backward()
    assert torch.isfinite(loss)


def test_small_updates_survive_in_fp32_but_not_in_bf16_storage():
    # The reason for float32 master weights, see optimizer.py.
    step = 1e-4
    kept = torch.full((1,), 0.05)
    rounded = kept.bfloat16()
    for _ in range(100):
        kept -= step / 100
        rounded -= step / 100
    assert kept.item() == pytest.approx(0.05 - step, rel=1e-3)
    assert rounded.item() == torch.tensor(0.05).bfloat16().item()


def test_counts_say_what_trains(model):
    adapt(model, AdaptationConfig(mode='frozen'), torch.float32)
    counts = count_by_module(model)
    assert counts['language_model'][0] == 0
    assert counts['policy'][1] == 0
    assert counts['action_queries'] == (model.action_queries.weight.numel(), 0)
    assert sum(a + b for a, b in counts.values()) == sum(p.numel() for p in model.parameters())


def test_backbone_rate_and_decay_make_their_groups(model):
    names = adapt(model, AdaptationConfig(mode='full'), torch.float32)
    config = OptimizerConfig(lr=1e-3, backbone_lr=1e-5, weight_decay=0.1, decay_all=False)
    groups = parameter_groups(trainable(model), config, names)
    kinds = {(g['lr'], g['weight_decay']): g['params'] for g in groups}
    assert set(kinds) == {(1e-3, 0.1), (1e-3, 0.0), (1e-5, 0.1), (1e-5, 0.0)}
    assert all(p.ndim < 2 for p in kinds[1e-3, 0.0])
    assert sum(len(g) for g in kinds.values()) == len(list(model.parameters()))


def test_averaged_weights_take_the_place_of_the_trained_ones_without_a_copy(model):
    """A second copy on the device would be more than training needed before its first save."""
    named = trainable(model)
    average = WeightAverage(named, decay=0.5)
    trained, means = [p for _, p in named], list(average.model.module)
    mine, theirs = ([p.data_ptr() for p in group] for group in (trained, means))
    assert not set(mine) & set(theirs)
    with pytest.raises(KeyboardInterrupt), average.swapped():
        assert [p.data_ptr() for p in trained] == theirs
        assert [p.data_ptr() for p in means] == mine
        raise KeyboardInterrupt
    assert [p.data_ptr() for p in trained] == mine
    assert [p.data_ptr() for p in means] == theirs
    assert dict(model.named_parameters())[named[0][0]] is trained[0]  # as the optimiser has it


def test_averaged_weights_follow_and_are_swapped_in_and_out(model):
    named = trainable(model)
    average = WeightAverage(named, decay=0.5)
    first = {n: p.detach().clone() for n, p in named}
    with torch.no_grad():
        for _, parameter in named:
            parameter += 1.0
    average.update()  # the first update has decay 2/11
    name, parameter = named[0]
    expected = first[name] + 9 / 11
    torch.testing.assert_close(average.model.module[0].detach(), expected)
    with average.swapped():
        torch.testing.assert_close(parameter.detach(), expected)
    torch.testing.assert_close(parameter.detach(), first[name] + 1.0)
    other = WeightAverage(named, decay=0.5)
    other.model.load_state_dict(average.model.state_dict())
    torch.testing.assert_close(other.model.module[0].detach(), expected)
    # Not one update behind: the next one has decay 3/12.
    other.update()
    later = expected + (parameter.detach() - expected) * 9 / 12
    torch.testing.assert_close(other.model.module[0].detach(), later)
