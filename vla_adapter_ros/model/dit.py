# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The diffusion (DiT) policy that the paper compares with regression in its Appendix B.

The released code has no such policy. This one keeps the paper's frame (one block per layer of the
language model, features through Bridge Attention) and fills it with the standard parts: adaptive
layer norms driven by the time step (DiT, arXiv 2212.09748), prediction of the noise under a
squared-cosine schedule of 50 steps (the released command line's default number), and the
deterministic DDIM sampler (arXiv 2010.02502).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.model.bridge import Pair, ProBlock, Tables, group_tables
from vla_adapter_ros.model.policy import ActionPolicy, Features, mean_of_valid

Prepared = tuple[list[Pair], Tables]


def noise_levels(steps: int) -> Tensor:
    """Signal variance left after each step (steps,), squared-cosine (arXiv 2102.09672)."""
    time = torch.arange(steps + 1, dtype=torch.float64, device='cpu') / steps
    signal = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - signal[1:] / signal[:-1]).clamp(max=0.999)
    return torch.cumprod(1 - betas, dim=0).float()


def step_features(steps: Tensor, width: int) -> Tensor:
    """Sine and cosine features (B, width) of time steps (B,)."""
    half = width // 2
    frequency = torch.exp(-math.log(10000) * torch.arange(half, device=steps.device) / half)
    angle = steps.float()[:, None] * frequency
    return F.pad(torch.cat((angle.cos(), angle.sin()), dim=-1), (0, width - 2 * half))


class DiTBlock(ProBlock):
    """Bridge Attention and an MLP, each behind an adaptive layer norm and an adaptive gate."""

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__(config)
        width = config.policy_width
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.ffn = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate='tanh'), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        # Gates start closed: at first every block is the identity.
        nn.init.zeros_(self.modulation[1].weight)
        nn.init.zeros_(self.modulation[1].bias)

    def forward(self, x: Tensor, time: Tensor, features: Pair, tables: Tables) -> Tensor:
        """Chunk tokens (B, K, D), time embedding (B, D), the features' keys and values."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(time)[:, None].chunk(6, -1)
        inner = self.norm1(x) * (1 + scale1) + shift1
        x = x + gate1 * self.attend(inner, features, tables)
        return x + gate2 * self.ffn(self.norm2(x) * (1 + scale2) + shift2)


class DiTNetwork(nn.Module):
    """Noisy chunk, time step and features -> the noise."""

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__()
        width = config.policy_width
        self.config = config
        self.action_in = nn.Linear(config.action_dim, width)
        self.positions = nn.Parameter(0.02 * torch.randn(1, config.chunk_size, width))
        self.time_in = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(DiTBlock(config) for _ in range(config.policy_blocks))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.action_out = nn.Linear(width, config.action_dim)
        for layer in (self.modulation[1], self.action_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def prepare(self, features: Features) -> Prepared:
        """Features' keys and values for every block, and the chunk's tables: once a chunk."""
        rope, (query, raw) = self.config.policy.rope_precision, features[0]
        own, tables = group_tables(self.config, query.shape[1], raw.shape[1], query, rope)
        pairs = [
            block.features(query, raw, tables)
            for block, (query, raw) in zip(self.blocks, features)
        ]
        return pairs, own

    def forward(self, noisy: Tensor, steps: Tensor, prepared: Prepared) -> Tensor:
        """Predict the noise in chunks (B, K, A) at time steps (B,)."""
        features, tables = prepared
        dtype = self.action_in.weight.dtype
        time = self.time_in(step_features(steps, self.positions.shape[-1]).to(dtype))
        x = self.action_in(noisy.to(dtype)) + self.positions
        for block, known in zip(self.blocks, features):
            x = block(x, time, known, tables)
        shift, scale = self.modulation(time)[:, None].chunk(2, dim=-1)
        return self.action_out(self.norm(x) * (1 + scale) + shift)


class DiffusionPolicy(ActionPolicy):
    """Policy that draws a chunk by removing noise step by step."""

    def __init__(self, config: VLAAdapterConfig) -> None:
        super().__init__(config, DiTNetwork(config))
        self._signals = noise_levels(config.policy.diffusion_steps).tolist()

    def forward(
        self,
        features: Features,
        proprio: Tensor | None = None,
        initial_latent: Tensor | None = None,
        return_stages: bool = False,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Sample one chunk per row.

        Args:
            features: of each block: query features (B, Q, D) and raw features (B, T, D).
            proprio: normalised proprioception (B, P).
            initial_latent: the noise to start from, (K, A) or (B, K, A); default: drawn.
            return_stages: also return the chunk after every step, as `sample_NN`.

        Returns:
            Normalised actions (B, K, A) within ±`action_limit`, and the stages if requested.
        """
        prepared = self._prepare(features, proprio)
        batch, device = features[0][0].shape[0], features[0][0].device
        x = self._noise(batch, device) if initial_latent is None else initial_latent
        if x.shape[-2:] != (self.config.chunk_size, self.config.action_dim):
            raise ObservationError(
                f'initial_latent: got {tuple(x.shape)}, the diffusion policy starts from '
                f'({self.config.chunk_size}, {self.config.action_dim})'
            )
        x = x.to(device, torch.float32).expand(batch, -1, -1)
        stages: dict[str, Tensor] = {}
        signals, schedule = self._signals, self.schedule()
        for index, step in enumerate(schedule):
            steps = torch.full((batch,), step, device=device)
            noise = self.network(x, steps, prepared).float()
            later = signals[schedule[index + 1]] if index + 1 < len(schedule) else 1.0
            x = ddim_step(x, noise, signals[step], later, self.config.policy.action_limit)
            stages[f'sample_{index:02d}'] = x
        return (x, stages | {'actions': x}) if return_stages else x

    def loss(
        self,
        features: Features,
        proprio: Tensor | None,
        actions: Tensor,
        initial_latent: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of the predicted noise at one random time step per row."""
        batch, device = features[0][0].shape[0], features[0][0].device
        actions = actions.to(device, torch.float32)
        steps = torch.randint(self.config.policy.diffusion_steps, (batch,), device=device)
        noise = self._noise(batch, device) if initial_latent is None else initial_latent
        signal = noise_levels(self.config.policy.diffusion_steps).to(device)[steps][:, None, None]
        noisy = signal.sqrt() * actions + (1 - signal).sqrt() * noise
        predicted = self.network(noisy, steps, self._prepare(features, proprio)).float()
        return mean_of_valid((predicted - noise.float()) ** 2, valid), {}

    def schedule(self) -> list[int]:
        """Time steps of the sampler, from noise to actions."""
        policy = self.config.policy
        count = min(policy.sampling_steps, policy.diffusion_steps)
        return [round(step) for step in np.linspace(policy.diffusion_steps - 1, 0, count)]

    def _prepare(self, features: Features, proprio: Tensor | None) -> Prepared:
        return self.network.prepare(self.inputs(features, proprio)[0])

    def _noise(self, batch: int, device: torch.device) -> Tensor:
        shape = (batch, self.config.chunk_size, self.config.action_dim)
        return torch.randn(shape, device=device)


def ddim_step(
    x: Tensor, noise: Tensor, signal: float, later: float, limit: float = 1.0
) -> Tensor:
    """Move a chunk from signal level `signal` to `later`, without new noise.

    The actions implied by the predicted noise are clamped to ±limit, the bound of the data.
    """
    clean = ((x - math.sqrt(1 - signal) * noise) / math.sqrt(signal)).clamp(-limit, limit)
    noise = (x - math.sqrt(signal) * clean) / math.sqrt(1 - signal)
    return math.sqrt(later) * clean + math.sqrt(1 - later) * noise
