# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Train the encoders of a small network to find what an instruction names.

python -m vla_adapter_ros.training.experiments.grounding.render_scenes datasets/scenes
python -m vla_adapter_ros.training.experiments.grounding.pretrain --config tiny_sim \
        --scenes datasets/scenes --out runs/g
python -m vla_adapter_ros.training.train --config tiny_sim start.grounded=runs/g …

This replaces the pre-trained vision-language model for a network trained from scratch; `loss.py`
explains why it is needed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vla_adapter_ros.errors import CheckpointError, ConfigError, VLAAdapterError, readable
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.simulation.wordings import HELD_OUT, VARIED
from vla_adapter_ros.training.assembly import new_tokenizer, processing_config
from vla_adapter_ros.training.checkpoints.resume_state import (
    check_tensors,
    load_adam,
    read_state,
)
from vla_adapter_ros.training.checkpoints.run_folder import RunFolder
from vla_adapter_ros.training.config import ScheduleConfig, TrainConfig, load_config
from vla_adapter_ros.training.experiments.grounding.batches import SceneBatches
from vla_adapter_ros.training.experiments.grounding.loss import (
    check_keypoints,
    grounding_loss,
    point_accuracy,
    save_grounded,
    scene_scores,
)
from vla_adapter_ros.training.experiments.grounding.reading import UNKNOWN_WORDS, ReadingLesson
from vla_adapter_ros.training.experiments.grounding.scenes import GroundingScenes, load_scenes
from vla_adapter_ros.training.model_setup import network_config
from vla_adapter_ros.training.optimizer import rate_factor
from vla_adapter_ros.training.progress import ProgressBar
from vla_adapter_ros.weights.files import write_text

EVALUATION_BATCH = 100  # images at a time
READING_BATCH, READING_RATE = 128, 2e-3
FOUND = ('object_found', 'goal_found', 'first_found', 'second_found')  # of the points, in order
METRICS, STATE = 'grounding.jsonl', 'grounding_state.pt'


@dataclass(frozen=True)
class GroundingSettings:
    """Settings of the pre-training; network, seed and threads come from the recipe.

    Attributes:
        steps: optimiser steps.
        batch_size: images in a step, one instruction each.
        lr: peak learning rate.
        every: steps between two evaluations, at which the state is saved.
        reading_steps: optimiser steps in which a sentence reader learns to read before.
    """

    steps: int = 3000
    batch_size: int = 32
    lr: float = 2e-3
    every: int = 250
    reading_steps: int = 800


class Grounder:
    """Trains the encoders and word embeddings of a network on images with points.

    Args:
        config: the recipe; its network and seed are used.
        scenes: the images.
        settings: how to train.

    Raises:
        ConfigError: the network has no keypoint maps for the points, or its encoders do not see
            the instruction.
    """

    def __init__(
        self, config: TrainConfig, scenes: GroundingScenes, settings: GroundingSettings
    ) -> None:
        self.settings, self._seed = settings, config.seed
        texts = {text for group in scenes.instructions for text in group}
        tokenizer = new_tokenizer(config, texts)
        torch.manual_seed(config.seed)
        network = network_config(
            config.model, vocab_size=tokenizer.vocab_size, film_pieces=tokenizer.pieces,
            num_images=scenes.images.shape[1],
        )  # fmt: skip
        self.model = VLAAdapter.from_config(network)
        check_keypoints(self.model, scenes.points.shape[3])
        processing = processing_config(config, None, network)
        self.batches = SceneBatches(scenes, tokenizer, processing)
        self._prompt_format = processing.prompt_format
        parameters = list(self.model.vision_backbone.parameters())
        if self.model.sentence_reader is None:
            # A reader has its words before: what it has learned to read stays as it is.
            parameters.append(self.model.decoder.embed_tokens.weight)
        self.optimizer = torch.optim.AdamW(parameters, lr=settings.lr, fused=True)

    def scores(self, rows: np.ndarray, which: np.ndarray) -> tuple[list[Tensor], Tensor]:
        """Return the towers' scores and the points (B, n, P, 3) of images, one text each."""
        batch = self.batches.make(rows, which, torch.device('cpu'))
        return scene_scores(self.model, batch), batch['points']

    def read(self) -> Iterator[float]:
        """Teach the sentence reader; yield the loss of each step."""
        settings, plan = self.settings, ScheduleConfig(warmup=0.1)
        lesson = ReadingLesson(self.model, self.batches.tokenizer, self._prompt_format)
        optimizer = torch.optim.AdamW(lesson.parameters(), weight_decay=0.02, fused=True)
        rng = np.random.default_rng(self._seed)
        for step in range(settings.reading_steps):
            loss = lesson.loss(*lesson.draw(READING_BATCH, rng, unknown=UNKNOWN_WORDS))
            rate = READING_RATE * rate_factor(step, settings.reading_steps, plan)
            yield _descend(optimizer, loss, rate)
        for words in (VARIED, HELD_OUT):
            right = lesson.read_right(*lesson.draw(1000, rng, words))
            print(f'read, {words}: {right:.3f}', file=sys.stderr)

    def train(self, first: int = 0) -> Iterator[tuple[int, float]]:
        """Train from step `first` on; yield the number of steps made and the loss."""
        settings, plan = self.settings, ScheduleConfig(warmup=0.03)
        count, texts = self.batches.training, self.batches.scenes.points.shape[1]
        self.model.train()
        for step in range(first, settings.steps):
            # The samples are a function of the step: a resumed run repeats them.
            rng = np.random.default_rng((self._seed, step))
            rows = rng.integers(0, count, settings.batch_size)
            loss = grounding_loss(*self.scores(rows, rng.integers(0, texts, len(rows))))
            rate = settings.lr * rate_factor(step, settings.steps, plan)
            yield step + 1, _descend(self.optimizer, loss, rate)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return loss and point accuracy on the held-out images."""
        self.model.eval()
        scenes = self.batches.scenes
        total, texts = len(scenes.images), scenes.points.shape[1]
        losses, right = [], []
        for first in range(self.batches.training, total, EVALUATION_BATCH):
            rows = np.arange(first, min(total, first + EVALUATION_BATCH))
            scores, points = self.scores(rows, rows % texts)
            losses.append(float(grounding_loss(scores, points)))
            right.append(point_accuracy(scores, points))
        self.model.train()
        accuracy = torch.nanmean(torch.cat(right), dim=(0, 1)).tolist()
        return {'held_out_loss': float(np.mean(losses)), **dict(zip(FOUND, accuracy))}


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> float:
    """Make one step of an optimiser with one group of parameters; return the loss."""
    (group,) = optimizer.param_groups
    group['lr'] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(group['params'], 1.0)
    optimizer.step()
    return float(loss.detach())


def ground(
    config: TrainConfig, scenes: GroundingScenes, out: Path, settings: GroundingSettings
) -> None:
    """Ground the encoders of a recipe and write them with tokenizer and log.

    The same call resumes an interrupted run.

    Raises:
        VLAAdapterError: the recipe does not fit, or `out` holds another grounding.
    """
    if config.compute.threads:
        torch.set_num_threads(config.compute.threads)
    if (out / METRICS).is_file():
        raise ConfigError(f'--out {out}: holds a finished grounding; choose another folder')
    grounder = Grounder(config, scenes, settings)
    folder = RunFolder(out, keep_last=1)
    fixed = {'model': config.model, 'seed': config.seed, 'images': len(scenes.images)}
    fixed |= {'tokenizer': config.tokenizer, **asdict(settings)}
    first, lines = _resume(grounder, folder.last(), fixed)
    if grounder.model.sentence_reader is not None and not first:
        with ProgressBar(settings.reading_steps, 0, True) as bar:
            for _ in grounder.read():
                bar.advance()
    losses: list[float] = []
    with ProgressBar(settings.steps, first, True) as bar:
        for step, loss in grounder.train(first):
            losses.append(loss)
            bar.advance()
            if step % settings.every == 0 or step == settings.steps:
                figures = {'step': step, 'loss': float(np.mean(losses)), **grounder.evaluate()}
                lines.append(figures)
                bar.show(figures['loss'], len(losses) * settings.batch_size / bar.lap())
                print('  '.join(f'{k} {v:.4g}' for k, v in figures.items()), file=sys.stderr)
                losses.clear()
                state = {
                    'fixed': fixed, 'step': step, 'lines': lines,
                    'model': grounder.model.state_dict(),
                    'optimizer': grounder.optimizer.state_dict(),
                }  # fmt: skip
                folder.save(step, lambda place, state=state: torch.save(state, place / STATE))
    save_grounded(grounder.model, out)
    grounder.batches.tokenizer.save(out)
    # Last: its presence marks a finished run.
    write_text(out / METRICS, ''.join(json.dumps(line) + '\n' for line in lines))
    shutil.rmtree(folder.checkpoints)


def _resume(
    grounder: Grounder, last: Path | None, fixed: dict[str, Any]
) -> tuple[int, list[dict[str, float]]]:
    """Load the state of an interrupted run; return the steps made and its log."""
    if last is None:
        return 0, []
    where = f'--out {last.parent.parent}'
    with readable(where, CheckpointError):
        state = read_state(last, STATE)
        for name, value in fixed.items():
            if (before := state['fixed'].get(name)) != value:
                raise ConfigError(
                    f'{where}: was begun with {name} {before!r}, '
                    f'now it is {value!r}; choose another folder'
                )
        check_tensors(state['model'], grounder.model.state_dict(), f'{where}: model')
        grounder.model.load_state_dict(state['model'])
        load_adam(grounder.optimizer, state['optimizer'], where)
        return state['step'], [dict(line) for line in json.loads(json.dumps(state['lines']))]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    defaults = GroundingSettings()
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.training.experiments.grounding.pretrain',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add('--config', default='tiny_sim', help='recipe whose network is grounded (tiny_sim)')
    add('--scenes', type=Path, nargs='+', required=True, help='folders of render_scenes')
    add('--out', type=Path, required=True, help='folder for encoders, tokenizer and log')
    add('--steps', type=int, default=defaults.steps, help=f'steps ({defaults.steps})')
    add('--batch-size', type=int, default=defaults.batch_size,
        help=f'images in a step ({defaults.batch_size})')  # fmt: skip
    add('--lr', type=float, default=defaults.lr, help=f'peak learning rate ({defaults.lr:g})')
    add('--reading-steps', type=int, default=defaults.reading_steps,
        help=f'steps of text alone, if there is a sentence reader ({defaults.reading_steps})')
    add('overrides', nargs='*', metavar='key=value', help='settings of the recipe')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options: Any = parse(arguments)
    settings = GroundingSettings(
        options.steps, options.batch_size, options.lr, reading_steps=options.reading_steps
    )
    try:
        config = load_config(options.config, options.overrides)
        ground(config, load_scenes(*options.scenes), options.out, settings)
    except VLAAdapterError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(options.out)
    return 0


if __name__ == '__main__':
    sys.exit(main())
