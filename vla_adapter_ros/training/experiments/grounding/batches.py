# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Images with instructions and points (`scenes.py`) as inputs of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vla_adapter_ros.processing.augment import normalise_pixels
from vla_adapter_ros.processing.pipeline import ProcessingConfig, padded_prompts, prompt_ids
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.training.experiments.grounding.scenes import GroundingScenes
from vla_adapter_ros.training.trainer import Batch

HELD_OUT = 0.04  # fraction of the images: the last ones, complete episodes


class SceneBatches:
    """Makes batches of images, one instruction each.

    Args:
        scenes: the images.
        tokenizer: of the network.
        processing: its image and prompt settings.

    Attributes:
        training: number of training images; the rest is held out.
    """

    def __init__(
        self, scenes: GroundingScenes, tokenizer: Tokenizer, processing: ProcessingConfig
    ) -> None:
        self.scenes, self.tokenizer, self._processing = scenes, tokenizer, processing
        self.training = len(scenes.images) - max(1, round(HELD_OUT * len(scenes.images)))

    def make(
        self, rows: np.ndarray, which: Sequence[int] | np.ndarray, device: torch.device
    ) -> Batch:
        """Return the inputs of `loss.scene_scores`, and `points` (B, n, P, 3).

        Args:
            rows: (B,) indices of images.
            which: (B,) index of the instruction of each image.
            device: of the tensors.
        """
        scenes = self.scenes
        texts = [scenes.instructions[p][w] for p, w in zip(rows, which, strict=True)]
        form = self._processing.prompt_format
        prompts = [prompt_ids(text, self.tokenizer, form) for text in texts]
        ids, mask = padded_prompts(prompts, self.tokenizer.pad_id)
        images = torch.from_numpy(scenes.images[rows]).to(device)
        flat = images.flatten(0, 1).permute(0, 3, 1, 2)
        pixels = normalise_pixels(flat, self._processing.images)
        return {
            'pixel_values': pixels.reshape(len(rows), -1, *pixels.shape[2:]),
            'input_ids': ids.to(device),
            'attention_mask': mask.to(device),
            'points': torch.from_numpy(scenes.points[rows, which]).to(device),
        }

    def draw(self, count: int, device: torch.device) -> Batch:
        """Return a batch of training images, drawn with torch's generator."""
        rows = torch.randint(self.training, (count,)).numpy()
        which = torch.randint(self.scenes.points.shape[1], (count,)).numpy()
        return self.make(rows, which, device)
