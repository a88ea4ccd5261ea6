# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A policy as one module of tensors in and tensors out, for torch.export.

Everything but resizing and tokenising is in it: the centre crop, normalisation of images and
proprioception, the network, and the actions' physical units. All shapes are fixed. Prompts are
padded on the right, and their length is an input: positions follow from it, so that one file
serves every instruction up to the padded length.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.processing.pipeline import InputPipeline
from vla_adapter_ros.processing.pixels import Pixels
from vla_adapter_ros.processing.statistics import Normaliser


class ExportablePolicy(nn.Module):
    """The network with its preprocessing and statistics.

    Args:
        model: the network, without packed layers; its dtype is that of the computation.
        pipeline: the preprocessing around it.
        actions: brings its actions to physical units.
    """

    def __init__(self, model: VLAAdapter, pipeline: InputPipeline, actions: Normaliser) -> None:
        super().__init__()
        self.model = model.eval()
        self.pixels = Pixels(pipeline.config.images)
        factor, offset = pipeline.proprio.affine()
        low, high = pipeline.proprio.limits()
        for name, values in (
            ('proprio_factor', factor),
            ('proprio_offset', offset),
            ('proprio_low', low),
            ('proprio_high', high),
            ('action_factor', actions.affine()[0]),
            ('action_offset', actions.affine()[1]),
        ):
            widest = np.finfo(np.float32).max
            self.register_buffer(name, _float32(np.clip(values, -widest, widest)))

    def forward(
        self, images: Tensor, input_ids: Tensor, prompt_length: Tensor, proprioception: Tensor,
        noise: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Compute one chunk.

        Args:
            images: (1, n, S, S, 3) uint8 RGB, as `ProcessingConfig.views` returns them.
            input_ids: (1, L) int64, the prompt and any ids behind it.
            prompt_length: (1,) int64, how many of them are the prompt.
            proprioception: (1, P) float32 in the units of the statistics.
            noise: (1, K, A) float32, normal; only for diffusion policies, which start from it.

        Returns:
            Actions (1, K, A) float32 in the units of the statistics.
        """
        places = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        mask = (places < prompt_length[:, None]).to(torch.long)
        proprio = (proprioception - self.proprio_offset) / self.proprio_factor
        proprio = torch.minimum(torch.maximum(proprio, self.proprio_low), self.proprio_high)
        pixels = self.pixels(images).to(self.model.dtype)
        actions = self.model(
            pixels, input_ids, proprio, attention_mask=mask, initial_latent=noise
        )
        return actions.float() * self.action_factor + self.action_offset


def _float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))
