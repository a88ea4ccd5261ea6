# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From samples in physical units to what the network is trained on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vla_adapter_ros.data.training.dataset import Batch as Samples
from vla_adapter_ros.data.training.dataset import Dataset
from vla_adapter_ros.data.training.loader import load_batches, validation_batches
from vla_adapter_ros.data.training.mixture import BatchOrder, Mixture
from vla_adapter_ros.data.training.paraphrases import Paraphrases
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.augment import AugmentConfig, augment, normalise_pixels
from vla_adapter_ros.processing.pipeline import InputPipeline, padded_prompts
from vla_adapter_ros.processing.pixels import Pixels, to_device
from vla_adapter_ros.processing.statistics import Normaliser, Statistics
from vla_adapter_ros.processing.tokenizer import UNKNOWN
from vla_adapter_ros.training.config import TrainConfig
from vla_adapter_ros.training.trainer import Batch

if TYPE_CHECKING:
    from vla_adapter_ros.training.experiments.grounding.batches import SceneBatches

LONGEST_MADE_UP = 8  # letters


class Collator:
    """Turns samples into network inputs and normalised targets, through the robot's own pipeline.

    Args:
        pipeline: the checkpoint's input pipeline.
        statistics: by dataset.
        augmentation: random changes of training images; None: none.
        names: of the datasets of a mixture, in its order.
        latent: (K, D·A) initial latent given to the policy; None: its own (noise in training).
        scenes: images with points that come with training batches; None: none.
        scene_count: how many of them.
        unknown_words: chance that a training instruction gets an unknown word.
        spelled_words: chance that a word of a training instruction is read in pieces.
        paraphrases: what may take the place of a training instruction; None: nothing.
        moving: datasets whose actions go on moving if the last one is held: what lies past the end
            of an episode is then left out of the loss.
        prompt_length: prompts are padded to so many tokens; 0: to the longest of each batch.
    """

    def __init__(
        self, pipeline: InputPipeline, statistics: Mapping[str, Statistics],
        augmentation: AugmentConfig | None, names: list[str], latent: torch.Tensor | None = None,
        scenes: SceneBatches | None = None, scene_count: int = 0, prompt_length: int = 0,
        moving: Collection[str] = (), unknown_words: float = 0.0, spelled_words: float = 0.0,
        paraphrases: Paraphrases | None = None,
    ) -> None:
        self._paraphrases = paraphrases
        self._moving, self._unknown_words = moving, unknown_words
        self._spelled_words, self._spellings = spelled_words, pipeline.tokenizer.spellings
        self._prompt_length = prompt_length
        self._latent, self._scenes, self._scene_count = latent, scenes, scene_count
        self.pipeline, self._augmentation, self._names = pipeline, augmentation, names
        config = pipeline.config
        self._pixels = Pixels(config.images)
        mode = config.normalisation
        self.actions = {
            name: Normaliser(s.action, mode, zero_constant=True) for name, s in statistics.items()
        }
        self._proprio = {
            name: Normaliser(s.proprio, mode, config.zero_constant)
            for name, s in statistics.items()
        }

    def __call__(
        self, samples: Samples, device: torch.device, training: bool, name: str | None = None
    ) -> Batch:
        """Return the tensors of `VLAAdapter.compute_loss`; the images are (B, 3·T·n, S, S).

        Images from a feature cache are visual tokens already, (B, V, D). Training batches have
        `scenes` too if there are images with points (`SceneBatches.draw`). `name` is the dataset
        of samples that do not come from the mixture.
        """
        self._check(samples)
        texts = samples.instructions
        if training and self._paraphrases is not None:
            places = torch.rand(len(texts), dtype=torch.float64).tolist()
            texts = [self._paraphrases.another(t, p) for t, p in zip(texts, places, strict=True)]
        if training and self._unknown_words:
            chosen = (torch.rand(len(texts)) < self._unknown_words).tolist()
            word = made_up_word if self._spellings else lambda: UNKNOWN
            texts = [with_word(t, word()) if c else t for t, c in zip(texts, chosen, strict=True)]
        ids, mask = self._prompts(texts, self._spelled_words if training else 0.0)
        used = [self._names[n] if name is None else name for n in samples.datasets]
        proprio = _normalised(self._proprio, used, samples.proprioception)
        actions = _normalised(self.actions, used, samples.actions)
        if samples.images.ndim == 3:
            visual = {'visual_tokens': _visual_tokens(samples.images, device)}
        else:
            visual = {'pixel_values': self.pixels(samples.images, device, training)}
        batch = {
            **visual,
            'input_ids': to_device(ids, device),
            'attention_mask': to_device(mask, device),
            'proprio': to_device(torch.from_numpy(proprio).float(), device),
            'actions': to_device(torch.from_numpy(actions).float(), device),
        }
        invented = samples.is_pad & np.array([n in self._moving for n in used])[:, None]
        if invented.any():
            batch['valid'] = torch.from_numpy(~invented).to(device)
        if self._latent is not None:
            batch['initial_latent'] = to_device(self._latent, device)
        if training and self._scenes is not None:
            batch['scenes'] = self._scenes.draw(self._scene_count, device)
        return batch

    def _check(self, samples: Samples) -> None:
        """Refuse numbers that are not finite, by dataset and frame."""
        for what in ('proprioception', 'actions'):
            values = getattr(samples, what)
            good = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
            if not good.all():
                bad = int(np.argmin(good))
                name = self._names[int(samples.datasets[bad])]
                raise DatasetError(
                    f'dataset {name!r}, frame {int(samples.rows[bad])} '
                    f'({samples.instructions[bad]!r}): {what} is not finite; remove the episode'
                )

    def _prompts(
        self, instructions: list[str], spelled: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows: list[Any] = [self.pipeline.prompt_ids(text) for text in instructions]
        if spelled:
            rows = [self._spell(ids.tolist(), torch.rand(len(ids)) < spelled) for ids in rows]
        return padded_prompts(rows, self.pipeline.tokenizer.pad_id, self._prompt_length)

    def _spell(self, ids: list[int], chosen: Iterable[Any]) -> list[int]:
        """Put the pieces of the chosen words in their place."""
        spelled = [self._spellings.get(i, [i]) if c else [i] for i, c in zip(ids, chosen)]
        return [i for pieces in spelled for i in pieces]

    def pixels(
        self, images: np.ndarray, device: torch.device, training: bool = False
    ) -> torch.Tensor:
        """Return normalised pixels (B, 3·T·n, S, S) of images (B, n, S, S, 3)."""
        config = self.pipeline.config.images
        batch, cameras = images.shape[:2]
        moved = to_device(torch.from_numpy(images), device)
        if not (training and self._augmentation):
            return self._pixels.to(device)(moved)  # with the evaluation's centre crop
        flat = augment(moved.flatten(0, 1).permute(0, 3, 1, 2), self._augmentation)
        pixels = normalise_pixels(flat, config)
        return pixels.reshape(batch, cameras * pixels.shape[1], *pixels.shape[2:])


def with_word(text: str, word: str) -> str:
    """Return a text with a word more, at a random place."""
    words = text.split(' ')
    words.insert(int(torch.randint(len(words) + 1, ())), word)
    return ' '.join(words)


def made_up_word() -> str:
    """Return a word of random letters, for tokenizers that spell what they do not know."""
    length = int(torch.randint(3, LONGEST_MADE_UP + 1, ()))
    return ''.join(chr(97 + letter) for letter in torch.randint(26, (length,)).tolist())


def _normalised(
    normalisers: Mapping[str, Normaliser], used: Sequence[str], values: np.ndarray
) -> np.ndarray:
    """Return each row normalised by the statistics of its dataset."""
    result = np.empty(values.shape, np.float64)
    for name in set(used):
        rows = np.array([other == name for other in used])
        result[rows] = normalisers[name].normalise(values[rows])
    return result


def _visual_tokens(stored: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return tokens of a feature cache as a tensor; int16 holds the bits of bfloat16."""
    tensor = to_device(torch.from_numpy(stored), device)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.int16 else tensor


class TrainingBatches:
    """The endless, resumable stream of one process (see `data/training/mixture.py`)."""

    def __init__(
        self, config: TrainConfig, mixture: Mixture, collate: Collator, rank: int, world: int
    ) -> None:
        self._config, self._mixture, self._collate = config, mixture, collate
        self.order = BatchOrder(
            mixture, config.batch_size, rank=rank, world=world, seed=config.seed,
            end_weight=config.data.episode_end_weight,
        )  # fmt: skip

    def training(self, first_step: int) -> Iterator[Samples]:
        """Yield the samples of each micro-step from optimiser step `first_step` on."""
        data = self._config.data
        return load_batches(
            self._mixture, self.order, start=first_step * self._config.accumulate,
            stop=self._config.steps * self._config.accumulate,
            workers=data.workers, ahead=data.prefetch,
        )  # fmt: skip

    def prepare(self, samples: Samples, device: torch.device) -> Batch:
        """Augment and normalise on the device."""
        return self._collate(samples, device, training=True)


def validation_inputs(
    collate: Collator, datasets: list[Dataset], config: TrainConfig, device: torch.device,
    rank: int = 0, world: int = 1,
) -> Iterator[tuple[str, Samples, Batch]]:
    """Yield the same held-out samples every time, with their dataset's name and their inputs.

    Of `world` processes each gets its part of the batches.
    """
    most = max(1, config.save.validation_batches // len(datasets))
    for number, dataset in enumerate(datasets):
        first = (rank - number) % world
        for samples in validation_batches(dataset, config.batch_size, most, first, world):
            yield dataset.name, samples, collate(samples, device, False, dataset.name)
