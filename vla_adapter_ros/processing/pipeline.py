# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From an observation to the network's inputs: one path for training, evaluation and robot."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_adapter_ros.errors import CheckpointError, ObservationError
from vla_adapter_ros.processing.images import ImageConfig, crop_and_normalise, resize_for_model
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.processing.prompt import PROMPT_FORMATS, build_prompt, clean_instruction
from vla_adapter_ros.processing.statistics import MODES, Normaliser, Statistics
from vla_adapter_ros.processing.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

CACHED_PROMPTS = 64


@dataclass(frozen=True)
class ProcessingConfig:
    """Everything around the network that a checkpoint must be run with; its `preprocessing` entry.

    Attributes:
        images: how camera images become pixels.
        cameras: names of the images in the order the network sees them.
        rotations: camera → rotation [degrees clockwise]; others get `images.rotate`.
        prompt_format: a key of `PROMPT_FORMATS`.
        normalisation: `bounds_q99`, `bounds` or `normal`, of actions and proprioception.
        zero_constant: proprioception that never changed in the data is given as 0. The official
            evaluation gives -1 (its training 0), and clips what a mask leaves unnormalised (its
            training does not); our own checkpoints get 0 and no clipping in both.
    """

    images: ImageConfig = field(default_factory=ImageConfig)
    cameras: tuple[str, ...] = ()
    rotations: Mapping[str, int] = field(default_factory=dict)
    prompt_format: str = 'qwen_chat'
    normalisation: str = 'bounds_q99'
    zero_constant: bool = False

    def __post_init__(self) -> None:
        for key, value, allowed in (
            ('prompt_format', self.prompt_format, sorted(PROMPT_FORMATS)),
            ('normalisation', self.normalisation, list(MODES)),
        ):
            if value not in allowed:
                raise CheckpointError(f'preprocessing.{key}: got {value!r}, expected {allowed}')

    def resized_views(self, images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return (S, S, 3) uint8 images in the network's order, as a cache stores them.

        Raises:
            ObservationError: an image is missing or malformed.
        """
        return [self.resized_view(name, images[name]) for name in self._present(images)]

    def resized_view(self, camera: str, image: np.ndarray) -> np.ndarray:
        """Return one camera's (S, S, 3) uint8 image: rotated and resized."""
        rotate = self.rotations.get(camera)
        try:
            return resize_for_model(image, self.images, rotate=rotate)
        except ObservationError as error:
            raise ObservationError(f'{camera} {error}') from None

    def views(self, observation: Observation) -> list[np.ndarray]:
        """Return the resized views of an observation, which may have them already."""
        if not observation.resized:
            return self.resized_views(observation.images)
        size = self.images.size
        views = [observation.images[name] for name in self._present(observation.images)]
        for name, view in zip(self.cameras, views, strict=True):
            if view.shape != (size, size, 3) or view.dtype != np.uint8:
                raise ObservationError(
                    f'{name} image: got {view.dtype} {view.shape}, expected uint8 '
                    f'({size}, {size}, 3): a view that is already resized'
                )
        return views

    def _present(self, images: Mapping[str, np.ndarray]) -> tuple[str, ...]:
        if missing := [name for name in self.cameras if name not in images]:
            raise ObservationError(
                f'images: no {missing}; the policy needs {list(self.cameras)}, '
                f'got {sorted(images)}'
            )
        return self.cameras

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; `from_dict` reads it back."""
        return {
            'images': self.images.to_dict(),
            'cameras': list(self.cameras),
            'rotations': dict(self.rotations),
            'prompt_format': self.prompt_format,
            'normalisation': self.normalisation,
            'zero_constant': self.zero_constant,
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> ProcessingConfig:
        """Read plain data. Raises CheckpointError for an unknown key or a bad value."""
        known = [f.name for f in fields(ProcessingConfig)]
        if unknown := sorted(set(data) - set(known)):
            raise CheckpointError(f'preprocessing: unknown key {unknown[0]!r}; known: {known}')
        values = dict(data)
        if 'images' in values:
            values['images'] = ImageConfig.from_dict(values['images'])
        if 'cameras' in values:
            values['cameras'] = tuple(values['cameras'])
        return ProcessingConfig(**values)


@dataclass(frozen=True)
class ModelInputs:
    """The network's inputs for one observation.

    Attributes:
        pixel_values: (3·T·n, S, S) float32; cameras one after the other, T towers each. Or
            resized views (n, S, S, 3) uint8, for an engine that crops and normalises them.
        input_ids: (L,) int64, the prompt alone.
        proprio: (P,) float32, normalised.
    """

    pixel_values: np.ndarray
    input_ids: np.ndarray
    proprio: np.ndarray


class InputPipeline:
    """Turns observations into network inputs as `config` says.

    Args:
        config: the checkpoint's preprocessing.
        tokenizer: the checkpoint's tokenizer.
        statistics: of the dataset the checkpoint was trained on.

    Attributes:
        views_only: give resized views, and leave crop and normalisation to the engine.
    """

    def __init__(
        self, config: ProcessingConfig, tokenizer: Tokenizer, statistics: Statistics
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.proprio = Normaliser(statistics.proprio, config.normalisation, config.zero_constant)
        self.views_only = False
        self._prompts: OrderedDict[str, np.ndarray] = OrderedDict()

    def __call__(self, observation: Observation) -> ModelInputs:
        """Return the inputs of one observation.

        Raises:
            ObservationError: an image is missing or malformed, proprioception has another length
                or is not finite, or the instruction cannot be used.
        """
        views = self.config.views(observation)
        return ModelInputs(
            np.stack(views) if self.views_only else self.model_pixels(views),
            self.prompt_ids(observation.instruction),
            self.normalised_proprio(observation.proprioception),
        )

    def model_pixels(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return (3·T·n, S, S) float32 pixels of resized views in the network's order."""
        return np.concatenate([crop_and_normalise(image, self.config.images) for image in images])

    def prompt_ids(self, instruction: str) -> np.ndarray:
        """Return the (L,) int64 prompt ids of an instruction; remembers the last ones."""
        ids = self._prompts.get(instruction)
        if ids is None:
            form = self.config.prompt_format
            ids = np.array(prompt_ids(instruction, self.tokenizer, form), np.int64)
            ids.setflags(write=False)
            self._prompts[instruction] = ids
            if len(self._prompts) > CACHED_PROMPTS:
                self._prompts.popitem(last=False)
        return ids

    def normalised_proprio(self, proprioception: np.ndarray) -> np.ndarray:
        """Return the (P,) float32 normalised proprioception."""
        values = np.asarray(proprioception, np.float64)
        if values.shape != (self.proprio.size,):
            raise ObservationError(
                f'proprioception: got shape {values.shape}, expected ({self.proprio.size},)'
            )
        if not np.isfinite(values).all():
            raise ObservationError(f'proprioception: got {values.tolist()}, must be finite')
        return self.proprio.normalise(values).astype(np.float32)


def prompt_ids(instruction: str, tokenizer: Tokenizer, prompt_format: str) -> list[int]:
    """Return the ids of an instruction's prompt; see `Tokenizer.as_known` for unknown words."""
    text = tokenizer.as_known(clean_instruction(instruction, tokenizer))
    return tokenizer.encode(build_prompt(text, prompt_format))


def padded_prompts(
    rows: Sequence[np.ndarray | list[int]], pad_id: int, least: int = 0
) -> tuple[Tensor, Tensor]:
    """Return ids and mask (B, L) of prompts of different lengths, padded on the right.

    L is that of the longest one, but at least `least`.
    """
    import torch

    length = max(least, *(len(row) for row in rows))
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.from_numpy(np.array(row))
        mask[i, : len(row)] = 1
    return ids, mask
