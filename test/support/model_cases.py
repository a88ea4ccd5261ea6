# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Recorded cases of the released classes: weights and inputs by formula, outputs from files.

Every weight is a function of its released name and shape, so that only outputs are stored.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from vla_adapter_ros.architecture.config import (
    LanguageConfig,
    PolicyConfig,
    VisionTowerConfig,
    VLAAdapterConfig,
)
from vla_adapter_ros.model.policy import Features
from vla_adapter_ros.model.vla import VLAAdapter
from vla_adapter_ros.processing.pipeline import ModelInputs

# Drawing numbers that the formula replaces takes most of the time of building a network.
RANDOM = ('kaiming_uniform_', 'normal_', 'trunc_normal_', 'uniform_')
GOLDEN = Path(__file__).parents[1] / 'golden'
SEQUENCE_STEP = 8  # the stored sequences keep every eighth position
NORMS = ('norm.weight', 'norm1.weight', 'norm2.weight', 'scale_factor')
EMBEDDINGS = ('embed_tokens', 'action_queries', 'pos_embed', 'token', 'latent')

TINY_DINO = VisionTowerConfig(
    width=48, depth=4, heads=3, mlp_hidden=192, class_token=True, registers=4, layer_scale=True
)
TINY_SIGLIP = VisionTowerConfig(width=64, depth=3, heads=4, mlp_hidden=239)


def normal_numbers(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """`torch.randn` as on the machine that made the recordings, to 2 units in the last place.

    Its own numbers differ between CPUs by up to 2e-6 (with and without AVX2, x86 and ARM): the
    angle of its Box-Muller step is rounded in two ways, and its logarithms and cosines differ.
    Here only operations with one possible result are done in float32.
    """
    count = int(np.prod(shape))
    if count < 16:  # drawn one by one in float64, the same everywhere
        return torch.randn(shape, generator=generator)

    def pairs(draws: np.ndarray) -> np.ndarray:
        first, second = draws.reshape(-1, 2, 8).swapaxes(0, 1)
        radius = np.sqrt(-2 * np.log((np.float32(1) - first).astype(np.float64)))
        angle = (np.float32(2 * np.pi) * second).astype(np.float64)
        return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1).ravel()

    draws = torch.rand(count, generator=generator).numpy()
    numbers = np.empty(count, np.float32)
    whole = count // 16 * 16
    numbers[:whole] = pairs(draws[:whole])
    if whole < count:  # torch fills the end by drawing the last sixteen anew
        numbers[-16:] = pairs(torch.rand(16, generator=generator).numpy())
    return torch.from_numpy(numbers).view(shape)


def formula_tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Weight of a released parameter name: `vla.…`, `action_head.…` or `proprio_projector.…`."""
    return _formula_tensor(name, tuple(shape)).clone()


@cache
def _formula_tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    x = normal_numbers(shape, generator)
    if name.endswith('gating_factor'):
        return 0.5 * x
    if len(shape) <= 1 or name.endswith(NORMS):
        return (1.0 if name.endswith(('weight', 'scale_factor')) else 0.0) + 0.1 * x
    if any(part in name for part in EMBEDDINGS):
        return 0.5 * x
    return x / np.sqrt(int(np.prod(shape[1:])))


def formula_input(name: str, shape: tuple[int, ...], scale: float = 1.0) -> torch.Tensor:
    """Input of that name."""
    generator = torch.Generator().manual_seed(zlib.crc32(('input:' + name).encode()))
    return scale * normal_numbers(tuple(shape), generator)


def released_name(name: str) -> str:
    """Name of one of our parameters in the formula."""
    return name.removeprefix('policy.') if name.startswith('policy.') else 'vla.' + name


@torch.no_grad()
def fill_by_formula(model: torch.nn.Module, prefix: str = '') -> None:
    """Give every parameter its formula value."""
    for name, parameter in model.named_parameters():
        value = formula_tensor(released_name(prefix + name), tuple(parameter.shape))
        parameter.copy_(value)


def tiny_config(kind: str = 'pro', **changes) -> VLAAdapterConfig:
    """The small VLM of the recorded cases."""
    language = LanguageConfig(
        vocab_size=512, hidden=64, layers=24, heads=4, kv_heads=2, mlp_hidden=128
    )
    base = {
        'vision': (TINY_DINO, TINY_SIGLIP),
        'language': language,
        'policy': PolicyConfig(kind=kind),
    }
    return VLAAdapterConfig(**(base | changes))


def _as_it_is(tensor: torch.Tensor, *_, **__) -> torch.Tensor:
    return tensor


def tiny_model(kind: str = 'pro', **changes) -> VLAAdapter:
    """Build the small VLM with its formula weights."""
    with patch.multiple(torch.nn.init, **dict.fromkeys(RANDOM, _as_it_is)):
        model = VLAAdapter.from_config(tiny_config(kind, **changes))
    fill_by_formula(model)
    return model


def small_config(**changes) -> VLAAdapterConfig:
    """A network small enough to train a step in a fraction of a second."""
    tower = {'width': 32, 'depth': 3, 'heads': 2, 'mlp_hidden': 64, 'patch': 8, 'image_size': 32}
    base = {
        'vision': (
            VisionTowerConfig(class_token=True, registers=2, layer_scale=True, **tower),
            VisionTowerConfig(**tower),
        ),
        'language': LanguageConfig(
            vocab_size=64, hidden=32, layers=4, heads=4, kv_heads=2, mlp_hidden=64
        ),
        'policy': PolicyConfig(kind='pro', heads=4, rope_precision='float32'),
        'num_queries': 6,
        'proprio_dim': 7,
    }
    return VLAAdapterConfig(**(base | changes))


def small_batch(config: VLAAdapterConfig, batch: int = 2, length: int = 5) -> dict:
    """A training batch for a configuration, with one shorter prompt where the batch allows it."""
    channels, size = config.channels_per_image * config.num_images, config.image_size
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[0, length - 2 :] = 0 if batch > 1 else 1
    ids = torch.arange(batch * length).view(batch, length) % config.language.vocab_size
    return {
        'pixel_values': formula_input('pixels', (batch, channels, size, size)),
        'input_ids': ids,
        'attention_mask': mask,
        'proprio': formula_input('proprio', (batch, config.proprio_dim), 0.3),
        'actions': formula_input(
            'actions', (batch, config.chunk_size, config.action_dim), 0.3
        ).clamp(-1, 1),
    }


def tiny_inputs() -> dict[str, torch.Tensor]:
    """Recorded inputs of the small VLM."""
    recorded = np.load(GOLDEN / 'tiny_pro_f32.npz')
    return {
        'pixel_values': formula_input('pixel_values', (1, 12, 224, 224)),
        'input_ids': torch.from_numpy(recorded['input_ids']),
        'proprio': torch.from_numpy(recorded['proprio_normalized'])[None].float(),
    }


def engine_inputs() -> ModelInputs:
    """The recorded case as one observation of an engine."""
    tensors = {name: tensor[0].numpy() for name, tensor in tiny_inputs().items()}
    return ModelInputs(tensors['pixel_values'], tensors['input_ids'], tensors['proprio'])


def block_features(config: VLAAdapterConfig, states: torch.Tensor) -> Features:
    """Recorded states (B, layers + 1, T + Q, D), raw features first, as the policy takes them."""
    count = config.num_task_tokens
    chosen = [states[:, layer] for layer in config.layer_of_block]
    return [(state[:, count:], state[:, :count]) for state in chosen]


def relative_error(got: torch.Tensor | np.ndarray, wanted: torch.Tensor | np.ndarray) -> float:
    """Largest absolute difference over the largest absolute wanted value."""
    got, wanted = (np.asarray(torch.as_tensor(x).detach().double()) for x in (got, wanted))
    assert got.shape == wanted.shape, f'shape {got.shape} differs from {wanted.shape}'
    return float(np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-30))
