# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One training of an ablation: a network, a training seed, its folder, its evaluation."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import ConfigError, readable
from vla_adapter_ros.simulation.levels.ranges import NOMINAL
from vla_adapter_ros.simulation.wordings import TRAINED
from vla_adapter_ros.training.config import TrainConfig
from vla_adapter_ros.training.config_loader import to_dict
from vla_adapter_ros.training.experiments.ablation_variants import Variant

RESULT = 'result.json'
# Results of earlier releases do not name these.
EARLIER = {'levels': [NOMINAL], 'words': TRAINED}


@dataclass(frozen=True)
class Evaluation:
    """How a trained network is evaluated.

    Attributes:
        tasks: names of simulated tasks.
        episodes: of each task.
        execute_steps: actions executed of each chunk.
        levels: at each of which all episodes are run (`simulation.levels.ranges`).
        words: from which the instructions are drawn (`simulation.wordings`).
        workers: processes; they do not change the result.
    """

    tasks: tuple[str, ...]
    episodes: int
    execute_steps: int = 8
    levels: tuple[str, ...] = (NOMINAL,)
    words: str = TRAINED
    workers: int = 1

    def settings(self) -> dict[str, Any]:
        """Return what decides the result, as JSON data."""
        decisive = {key: value for key, value in asdict(self).items() if key != 'workers'}
        return json.loads(json.dumps(decisive))


@dataclass(frozen=True)
class Trial:
    """One variant trained from one seed.

    Attributes:
        variant: what is trained.
        config: its run; the folder names variant and seed.
    """

    variant: Variant
    config: TrainConfig

    @property
    def folder(self) -> Path:
        """Folder of the run and its result."""
        return Path(self.config.output_dir)


def make_trials(
    base: TrainConfig, variants: Sequence[Variant], seeds: int, folder: Path
) -> list[Trial]:
    """Return every variant with the recipe's seed, then every one with the next, and so on.

    The first seed's folders bear the variant's name alone: an ablation of one seed can be
    continued with more.
    """
    trials = []
    for seed in range(base.seed, base.seed + seeds):
        for variant in variants:
            name = variant.run if seed == base.seed else f'{variant.run}-seed{seed}'
            trials.append(Trial(variant, trial_config(variant.config, seed, folder / name)))
    return trials


def trial_config(config: TrainConfig, seed: int, folder: Path) -> TrainConfig:
    """Return the run of one trial: a variant's recipe with a seed, in its own folder."""
    save = replace(
        config.save, every=min(config.save.every, config.steps), keep_last=1, plots=0, resume=True,
        validate_every=config.steps,
    )  # fmt: skip
    return replace(
        config, output_dir=str(folder), seed=seed, save=save,
        simulation=replace(config.simulation, every=0),
    )  # fmt: skip


def run_trial(config: TrainConfig, evaluation: Evaluation) -> dict[str, Any]:
    """Train and evaluate one network; return its figures as JSON data.

    Raises:
        VLAAdapterError: it cannot be trained, e.g. it diverged.
    """
    from vla_adapter_ros.training.train import run

    checkpoint = run(config)
    episodes = evaluate_checkpoint(checkpoint, evaluation, config.compute.device)
    return {
        'checkpoint': checkpoint.name,
        'parameters': count_parameters(checkpoint),
        **training_figures(Path(config.output_dir)),
        'episodes': episodes,
    }


def evaluate_checkpoint(
    checkpoint: Path, evaluation: Evaluation, device: str
) -> list[dict[str, Any]]:
    """Return the episodes of a checkpoint, labelled with their level; the same for all networks.

    Raises:
        VLAAdapterError: the checkpoint cannot be loaded, or a worker process was lost.
    """
    from vla_adapter_ros.evaluation.simulate import evaluate
    from vla_adapter_ros.simulation.tasks import TaskOptions
    from vla_adapter_ros.training.simulation_check import evaluation_jobs

    found = []
    for level in evaluation.levels:
        settings, jobs = evaluation_jobs(
            checkpoint, evaluation.tasks, evaluation.episodes, evaluation.execute_steps, device,
            TaskOptions(level=level, words=evaluation.words),
        )  # fmt: skip
        label = f'evaluating {checkpoint.parent.parent.name} at {level}'
        results = evaluate(settings, jobs, evaluation.workers, 0, None, label)
        found += [{'level': level, **result.to_dict()} for result in results]
    return found


def count_parameters(checkpoint: Path) -> int:
    """Return the number of parameters of a checkpoint's network."""
    from vla_adapter_ros.model import VLAAdapter
    from vla_adapter_ros.weights.directory import read_checkpoint_metadata

    network = VLAAdapter.from_config(read_checkpoint_metadata(checkpoint).config, device='meta')
    return sum(parameter.numel() for parameter in network.parameters())


def training_figures(folder: Path) -> dict[str, Any]:
    """Return seconds per step (median of the log lines), last loss and last held-out error."""
    log = folder / 'metrics.jsonl'
    with readable(log, ConfigError, f'remove {folder} to train this variant again'):
        lines = [json.loads(line) for line in log.read_text(encoding='utf-8').splitlines()]
        held = [line['validation/l1'] for line in lines if 'validation/l1' in line]
        return {
            'seconds_per_step': statistics.median(
                line['train/step_s'] for line in lines if 'train/step_s' in line
            ),
            'loss': [line['train/loss'] for line in lines if 'train/loss' in line][-1],
            'validation_l1': held[-1] if held else None,
        }


def result_settings(config: TrainConfig, evaluation: Evaluation) -> dict[str, Any]:
    """Return the settings that a finished result must share to be kept."""
    from vla_adapter_ros.training.train import settings_that_affect_learning

    training = settings_that_affect_learning(to_dict(config))
    return {'training': json.loads(json.dumps(training)), 'evaluation': evaluation.settings()}


def read_result(path: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a finished result made with the same settings, or None.

    Raises:
        ConfigError: the folder holds a variant trained with other settings; names the first.
    """
    from vla_adapter_ros.training.train import differences

    if not path.is_file():
        return None
    with readable(path, ConfigError, 'remove it to evaluate this variant again'):
        found = json.loads(path.read_text(encoding='utf-8'))
        before, result = found['settings'], dict(found['result'])
        other = differences(before['training'], settings['training'])
        same = {**EARLIER, **before['evaluation']} == settings['evaluation']
    if other:
        raise ConfigError(f'{path.parent}: {other[0]}; use another --out')
    # Other episodes: the training is kept, the evaluation is not.
    return result if same else None
