# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How many kernels a training step launches, and that the adapters' gradients are autograd's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from support.kernels import KernelCount
from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.model import language
from vla_adapter_ros.model.precision import as_on_a_gpu, attention
from vla_adapter_ros.model.vla import VLAAdapter
from vla_adapter_ros.training.adaptation import adapt
from vla_adapter_ros.training.config import AdaptationConfig
from vla_adapter_ros.training.lora import LoraLinear


def narrow() -> VLAAdapterConfig:
    """As many layers as the released network, two numbers wide where that works."""
    full = VLAAdapterConfig.full()
    small = {'width': 16, 'heads': 2, 'mlp_hidden': 16, 'image_size': 28}
    words = {'vocab_size': 64, 'hidden': 16, 'heads': 2, 'kv_heads': 1, 'mlp_hidden': 16}
    return replace(
        full,
        vision=tuple(replace(tower, **small) for tower in full.vision),
        language=replace(full.language, **words),
        policy=replace(full.policy, heads=2, num_task_tokens=None),
    )


def one_norm_is_one_kernel(x, shape, weight, eps):
    """On CUDA an RMS norm is one kernel each way, as a layer norm is; on the CPU it is six."""
    return F.layer_norm(x, shape, weight, None, eps)


@pytest.mark.slow(reason='a network as deep as the released one, forwards and backwards: 4 s')
def test_a_lora_step_in_mixed_precision_launches_at_most_4000_and_5500_kernels(monkeypatch):
    model = VLAAdapter.from_config(narrow()).train()
    adapt(model, AdaptationConfig(mode='lora', rank=2), torch.bfloat16)
    monkeypatch.setattr(language.F, 'rms_norm', one_norm_is_one_kernel)
    batch = {
        'pixel_values': torch.zeros(2, 12, 28, 28),
        'input_ids': torch.ones(2, 9, dtype=torch.long),
        'attention_mask': torch.ones(2, 9, dtype=torch.long),
        'proprio': torch.zeros(2, 8),
        'actions': torch.zeros(2, 8, 7),
    }
    with as_on_a_gpu(), torch.autocast('cpu', torch.bfloat16), KernelCount() as forward:
        loss, _ = model.compute_loss(batch)
    with KernelCount() as backward:
        loss.backward()
    print(forward.total, backward.total)
    assert 2000 < forward.total <= 4000
    assert 3000 < backward.total <= 5500


@pytest.mark.parametrize('bias', [False, True])
def test_an_adapter_is_the_sum_of_two_products_with_autograds_gradients(bias):
    torch.manual_seed(0)
    layer = LoraLinear(nn.Linear(5, 7, bias=bias).double(), rank=3, scale=0.5)
    layer.lora_factors.data = torch.randn(3, 12, dtype=torch.float64)
    a, b = layer.lora_factors[:, :5], layer.lora_factors[:, 5:].t()
    x = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True)
    plain = layer.base_layer(x) + 0.5 * (x @ a.t() @ b.t())
    torch.testing.assert_close(layer(x), plain)
    weights = torch.randn_like(plain)
    inputs = (x, layer.lora_factors)
    wanted = torch.autograd.grad((plain * weights).sum(), inputs)
    got = torch.autograd.grad((layer(x) * weights).sum(), inputs)
    torch.testing.assert_close(got[0], wanted[0])
    torch.testing.assert_close(got[1], wanted[1], check_dtype=False, rtol=1e-6, atol=1e-6)
    merged = F.linear(x, layer.base_layer.weight + layer.delta(), layer.base_layer.bias)
    torch.testing.assert_close(merged, plain)


def test_an_adapters_dropout_is_on_its_own_path_and_in_training_alone():
    torch.manual_seed(0)
    layer = LoraLinear(nn.Linear(64, 2), rank=2, scale=1.0, dropout=0.5)
    layer.lora_factors.data = torch.randn(2, 66)
    x = torch.randn(3, 64)
    assert not torch.equal(layer.train()(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))
    layer.lora_factors.data[:, 64:] = 0
    torch.testing.assert_close(layer.train()(x), layer.base_layer(x))


def test_an_adapter_compiles_as_a_whole_with_the_same_gradients():
    torch.manual_seed(0)
    layer = LoraLinear(nn.Linear(4, 6).bfloat16(), rank=2, scale=2.0).train()
    layer.lora_factors.data = torch.randn(2, 10)
    x = torch.randn(3, 4, dtype=torch.bfloat16)
    wanted = layer(x)
    wanted.sum().backward()
    gradient, layer.lora_factors.grad = layer.lora_factors.grad, None
    layer.compile(fullgraph=True, backend='eager')
    got = layer(x)
    got.sum().backward()
    torch.testing.assert_close(got, wanted, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(layer.lora_factors.grad, gradient, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize('autocast', [False, True])
def test_attention_that_trains_in_16_bit_on_a_cpu_is_as_exact_as_in_float32(autocast):
    torch.manual_seed(0)
    narrow = [torch.randn(1, 2, 5, 4).bfloat16().requires_grad_() for _ in range(3)]
    wide = [x.detach().float().requires_grad_() for x in narrow]
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        got = attention(*narrow, is_causal=True)
    wanted = F.scaled_dot_product_attention(*wide, is_causal=True)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, wanted.bfloat16())
    got.sum().backward()
    wanted.sum().backward()
    for a, b in zip(narrow, wide):
        assert torch.equal(a.grad, b.grad.bfloat16())
