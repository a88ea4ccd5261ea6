# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Grounding loss: small towers learn to locate the objects that an instruction names.

The paper's towers and language model come pre-trained on images and words. A network
trained from scratch would have to infer from demonstrations alone which object a sentence refers
to, and wrong arm movements carry little information about that: our tiny networks needed thousands
of steps, or failed. With the positions as targets they learn it in minutes. The loss reads the
scores of the keypoint maps (`model/small/stem.py`): the first map of each tower should peak at the
object to act on, the second at its destination.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vla_adapter_ros.errors import CheckpointError, ConfigError
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.model.checks import check_pixels
from vla_adapter_ros.weights.files import make_folder
from vla_adapter_ros.weights.tensors import check_names, open_safetensors, save_safetensors

WEIGHTS = 'grounded.safetensors'
EMBEDDING = 'language_model.model.embed_tokens.weight'
TOWERS, READER = 'vision_backbone.', 'sentence_reader.'


def check_keypoints(model: VLAAdapter, points: int) -> None:
    """Raise ConfigError unless the encoders see the instruction and have maps for the points."""
    least = min(tower.config.keypoints for tower in model.vision_backbone.towers)
    if least < points or not model.config.use_film:
        raise ConfigError(
            f'model: use_film is {model.config.use_film} and a tower has {least} keypoints; '
            f'grounding needs use_film: true and at least {points} keypoints in each tower'
        )


def point_mass(points: Tensor, height: int, width: int) -> Tensor:
    """Return maps (…, height, width) of sum one whose centre of mass is the point (…, 2).

    Points are fractions of width and height. The mass lies on the four cells around the point, so
    that the position of a map is finer than its cells.
    """

    def along(fraction: Tensor, cells: int) -> Tensor:
        place = (fraction * cells - 0.5).clamp(0, cells - 1)
        centres = torch.arange(cells, device=place.device)
        return (1 - (place[..., None] - centres).abs()).clamp(0)

    return along(points[..., 1], height)[..., :, None] * along(points[..., 0], width)[..., None, :]


def grounding_loss(scores: list[Tensor], points: Tensor) -> Tensor:
    """Return the mean cross-entropy of the first maps with the visible points.

    Args:
        scores: of each tower (B·n, keypoints, h, w).
        points: (B, n, P, 3) fraction of width, fraction of height, 1 if visible.
    """
    places, seen = points[..., :2].flatten(0, 1), points[..., 2].flatten(0, 1)
    losses = []
    for tower in scores:
        height, width = tower.shape[-2:]
        logarithms = tower[:, : places.shape[1]].flatten(2).log_softmax(-1)
        entropy = -(point_mass(places, height, width).flatten(2) * logarithms).sum(-1)
        losses.append((entropy * seen).sum() / seen.sum().clamp(min=1))
    return torch.stack(losses).mean()


def scene_scores(model: VLAAdapter, batch: dict[str, Any]) -> list[Tensor]:
    """Return each tower's scores for a batch of `batches.py`; no more of the network runs."""
    check_pixels(model.config, batch['pixel_values'])
    ids = batch['input_ids']
    language = model.film_vector(ids, model.decoder.embed_tokens(ids), batch['attention_mask'])
    return model.vision_backbone.keypoint_scores(batch['pixel_values'].to(model.dtype), language)


def point_accuracy(scores: list[Tensor], points: Tensor, distance: float = 0.06) -> Tensor:
    """Return (B, n, P): 1 where the peak of the towers' mean is at the point, NaN if hidden."""
    mean = torch.stack(scores).mean(0)
    height, width = mean.shape[-2:]
    peak = mean[:, : points.shape[2]].flatten(2).argmax(-1).unflatten(0, points.shape[:2])
    across, down = (peak % width + 0.5) / width, (peak // width + 0.5) / height
    off = torch.hypot(across - points[..., 0], down - points[..., 1])
    return torch.where(points[..., 2] > 0, (off < distance).float(), torch.nan)


def grounded_tensors(model: VLAAdapter) -> dict[str, Tensor]:
    """Return towers, reader and word embeddings by name; they share memory with the network."""
    return {
        name: value
        for name, value in model.state_dict().items()
        if name.startswith((TOWERS, READER)) or name == EMBEDDING
    }


def save_grounded(model: VLAAdapter, folder: Path) -> None:
    """Write towers, reader and word embeddings; `start.grounded` of training reads them."""
    make_folder(folder)
    save_safetensors(folder / WEIGHTS, grounded_tensors(model), {})


@torch.no_grad()
def load_grounded(model: VLAAdapter, folder: str | Path) -> None:
    """Put grounded towers, reader and word embeddings into a network.

    Raises:
        CheckpointError: no such file, or the tensors do not fit the network.
    """
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f'start.grounded: {path}: no such file; make it with '
                              'experiments.grounding.pretrain')
    stored, mine = open_safetensors(path), grounded_tensors(model)
    check_names(
        {name: tuple(value.shape) for name, value in mine.items()},
        {name: lazy.shape for name, lazy in stored.items()},
        f'start.grounded: {path}',
    )
    for name, value in mine.items():
        value.copy_(stored[name].read_finite(None))
