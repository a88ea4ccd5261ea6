# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the paper compares is configuration: each variant builds, trains and round-trips."""

from __future__ import annotations

import pytest
import torch

from support.model_cases import relative_error, small_batch, small_config
from support.variants import CONV, VARIANTS, policy
from vla_adapter_ros.architecture.config import (
    LanguageConfig,
    PolicyConfig,
    VisionTowerConfig,
    VLAAdapterConfig,
)
from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.model.vla import VLAAdapter
from vla_adapter_ros.training.model_setup import network_config
from vla_adapter_ros.weights.official import LANGUAGE_MODELS


@pytest.mark.parametrize('name', VARIANTS)
def test_variant_builds_trains_a_step_and_round_trips(tmp_path, name):
    torch.manual_seed(0)
    config = small_config(**VARIANTS[name])
    model = VLAAdapter.from_config(config).train()
    batch = small_batch(config)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss, metrics = model.compute_loss(batch)
    loss.backward()
    untouched = [key for key, value in model.named_parameters() if value.grad is None]
    assert untouched == unread(config, model)
    optimizer.step()
    assert metrics['loss'] > 0
    changed = [
        key for key, value in model.state_dict().items() if not torch.equal(value, before[key])
    ]
    assert {key.split('.')[0] for key in changed} >= {
        'policy',
        'language_model',
        'vision_backbone',
    }
    model.eval().save_pretrained(tmp_path)
    again = VLAAdapter.from_pretrained(tmp_path)
    assert again.config == config
    inputs = (batch['pixel_values'], batch['input_ids'], batch['proprio'], batch['attention_mask'])
    torch.manual_seed(1)
    first = model.predict(*inputs)
    torch.manual_seed(1)
    assert relative_error(again.predict(*inputs), first) < 1e-5
    assert first.shape == (2, config.chunk_size, config.action_dim)


def unread(config: VLAAdapterConfig, model: VLAAdapter) -> list[str]:
    """Parameters that no action depends on: layers above the highest one the policy reads."""
    top = max(config.layer_of_block)
    above = tuple(f'language_model.model.layers.{i}.' for i in range(top, config.language.layers))
    if top < config.language.layers:
        above += ('language_model.model.norm.',)
    names = [name for name, _ in model.named_parameters()]
    return [name for name in names if above and name.startswith(above)]


def test_policy_on_raw_features_has_no_queries_and_on_queries_no_raw_layers():
    raw = VLAAdapter.from_config(small_config(**policy(features='raw')))
    assert raw.action_queries is None
    queries = VLAAdapter.from_config(small_config(**policy(features='query')))
    names = [name for name, _ in queries.policy.named_parameters()]
    assert not any('k_task' in name or name.endswith('.gating_factor') for name in names)


def test_raw_features_follow_the_number_of_cameras_not_512():
    sizes = [VLAAdapterConfig(num_images=n).num_task_tokens for n in (1, 2, 3)]
    assert sizes == [256, 512, 768]
    pinned = VLAAdapterConfig(num_images=1, policy=PolicyConfig(num_task_tokens=512))
    assert pinned.num_task_tokens == 512


def test_layers_of_blocks():
    config = VLAAdapterConfig()
    assert config.layer_of_block == tuple(range(1, 25))

    def layers(value):
        return set(config.replace(policy=PolicyConfig(feature_layers=value)).layer_of_block)

    assert [layers(v) for v in ('first', 'middle', 'last', 7)] == [{1}, {12}, {24}, {7}]


def test_the_released_size_and_llama_7b_build_without_weights():
    model = VLAAdapter.from_config(VLAAdapterConfig.full(), device='meta')
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert count == pytest.approx(1389.6, abs=0.1)
    assert network_config({'preset': 'openvla-7b'}).language == LANGUAGE_MODELS['llama']
    model = VLAAdapter.from_config(network_config({'preset': 'llama2-7b'}), device='meta')
    count = sum(parameter.numel() for parameter in model.decoder.parameters()) / 1e9
    assert count == pytest.approx(6.74 - 0.131, abs=0.01)  # without its LM head
    inputs = {
        'pixel_values': torch.empty(1, 12, 224, 224, device='meta'),
        'input_ids': torch.empty(1, 20, dtype=torch.long, device='meta'),
        'proprio': torch.empty(1, 8, device='meta'),
    }
    assert model(**inputs).shape == (1, 8, 7)


def test_released_sizes_are_the_released_tensors():
    """Parameter counts of the reference, minus what no forward pass reads."""
    counts = {}
    for kind in ('pro', 'original'):
        model = VLAAdapter.from_config(VLAAdapterConfig.full(kind), device='meta')
        counts[kind] = sum(p.numel() for p in model.policy.action_head.parameters())
    assert counts == {'pro': 179_286_047, 'original': 102_129_695}
    proprio = sum(p.numel() for p in model.policy.proprio_projector.parameters())
    assert proprio == 811_776
    assert sum(p.numel() for p in model.decoder.parameters()) == 494_032_768
    assert sum(p.numel() for p in model.projector.parameters()) == 27_552_000


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: PolicyConfig(kind='mlp'), "PolicyConfig.kind: got 'mlp', allowed are"),
        (lambda: PolicyConfig(features='all'), 'PolicyConfig.features'),
        (lambda: PolicyConfig(num_task_tokens=-3), 'num_task_tokens: got -3, must be an integer'),
        (lambda: LanguageConfig(hidden=10**30), r'hidden: got 10{30}, must be an integer of 1 to'),
        (lambda: LanguageConfig(layers=2**40), 'layers: got 1099511627776, must be an integer'),
        (lambda: PolicyConfig(num_task_tokens=10**9), 'num_task_tokens: got 1000000000, must be'),
        (lambda: small_config(num_queries=0), 'num_queries: got 0'),
        (lambda: small_config(**policy(feature_layers=9)), 'got layer 9, allowed are 0 to 4'),
        (lambda: small_config(**policy(feature_layers=(1, 2))), '2 layers for 4 policy blocks'),
        (lambda: small_config(**policy(blocks=5)), '5 blocks read one layer each'),
        (lambda: small_config(**policy(heads=5)), '5 heads do not divide the width 32'),
        (lambda: VisionTowerConfig(**(CONV | {'patch': 7})), '7 does not divide the image size'),
        (
            lambda: VisionTowerConfig(**(CONV | {'patch': 2, 'stem': 'conv'})),
            'got 2, a conv stem needs a power of two of at least 4',
        ),
        (
            lambda: VisionTowerConfig(**(CONV | {'image_size': 96, 'patch': 12, 'stem': 'conv'})),
            'got 12, a conv stem needs a power of two',
        ),
        (lambda: VisionTowerConfig(pool=3, **CONV), '3 does not divide the grid of 4 patches'),
        (lambda: VisionTowerConfig(local_keypoints=1, **CONV), r'got 1, allowed are 0 to 0'),
        (lambda: small_config(vision=()), 'got 0 towers'),
        (
            lambda: VLAAdapterConfig.from_dict({'chunk': 8}),
            r"unknown keys \['chunk'\], allowed are .*'chunk_size'",
        ),
        (lambda: small_config(**policy(kind='original', width=16)), 'original'),
    ],
)
def test_impossible_configurations_are_refused_with_the_reason(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def test_configuration_survives_json():
    import json

    config = small_config(use_film=True, **policy(feature_layers=(1, 2, 3, 4)))
    assert VLAAdapterConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_fields_are_overridden_by_name_in_whichever_section_has_them():
    changed = small_config().override(num_images=1, rope_precision='run', layers=5, registers=3)
    assert changed.num_images == 1
    assert changed.policy == PolicyConfig(kind='pro', heads=4, rope_precision='run')
    assert changed.language.layers == 5
    assert [tower.registers for tower in changed.vision] == [3, 3]
    given = PolicyConfig(kind='original', heads=2)
    whole = small_config().override(policy=given, raw_gate='none')
    assert whole.policy == PolicyConfig(kind='original', heads=2, raw_gate='none')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'heads': 2}, r"heads: a field of \['vision', 'language', 'policy'\]"),
        ({'rope_tables': 'run'}, "unknown field 'rope_tables', allowed are .*'rope_precision'"),
        ({'rope_precision': 'dtype'}, "PolicyConfig.rope_precision: got 'dtype', allowed are"),
    ],
)
def test_overrides_that_fit_no_field_are_refused_with_the_reason(changes, message):
    with pytest.raises(ConfigError, match=message):
        small_config().override(**changes)
