# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Open-loop error of a checkpoint on a dataset: predicted chunks against recorded ones.

    python -m vla_adapter_ros.evaluation.open_loop CHECKPOINT DATASET --output report

The observations go through the policy that the robot runs; nothing moves. `episodes.html` of the
report has the predictions beside the pictures. A small open-loop error
is necessary for success, not sufficient: errors add up in the closed loop. Of a dataset that the
checkpoint was trained on, only the episodes that training held out count, unless `--all` is given.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_adapter_ros.data.lerobot.columns import (
    DEFAULT,
    Columns,
    add_column_options,
    columns_of,
)
from vla_adapter_ros.data.sources import dataset_names
from vla_adapter_ros.errors import DatasetError, VLAAdapterError
from vla_adapter_ros.inference.chunk import PRECISIONS
from vla_adapter_ros.processing.images import as_camera
from vla_adapter_ros.processing.observation import Observation

if TYPE_CHECKING:
    from vla_adapter_ros.data.training.dataset import Dataset
    from vla_adapter_ros.inference.chunk import PipelinePolicy
    from vla_adapter_ros.robot.contract import RobotContract


@dataclass(frozen=True)
class EpisodeChunks:
    """One episode: recorded and predicted chunks at every `stride`-th frame.

    Attributes:
        episode: its number in the dataset.
        instruction: of the episode.
        frames: (T,) frames of the observations.
        recorded: (T, K, A) in the policy's action space and physical units.
        predicted: (T, K, A).
        is_pad: (T, K) True after the end of the episode.
    """

    episode: int
    instruction: str
    frames: np.ndarray
    recorded: np.ndarray
    predicted: np.ndarray
    is_pad: np.ndarray


@dataclass(frozen=True)
class TrainingSplit:
    """Which episodes of a dataset a training run held out (see `Dataset.split`).

    Attributes:
        fraction: of the episodes that was held out.
        seed: of the choice.
        only_successes: training left out episodes that are not marked as successful.
    """

    fraction: float
    seed: int
    only_successes: bool


def training_split(recipe: Mapping[str, Any], dataset: Path) -> TrainingSplit | None:
    """Return how a run split a dataset, None if it was not trained on it.

    Args:
        recipe: `training.config` of a checkpoint's metadata; {} where no recipe is known.
        dataset: known again by its name (see `dataset_names`), so that it may have moved.
    """
    data = recipe.get('data')
    data = data if isinstance(data, Mapping) else {}
    trained = dataset_names([path for path in data.get('datasets', ()) if isinstance(path, str)])
    # A dataset's own folder is the last part of its name in a mixture.
    if dataset_names([dataset])[0] not in {name.rsplit('/', 1)[-1] for name in trained}:
        return None
    return TrainingSplit(
        float(data.get('validation_fraction', 0)),
        int(recipe.get('seed', 0)),
        bool(data.get('only_successes', False)),
    )


def choose_episodes(dataset: Dataset, split: TrainingSplit | None) -> tuple[Dataset, str]:
    """Return the episodes to judge on, and a sentence that says which they are."""
    count = len(dataset.selected)
    if split is None:
        return dataset, f'all {count} episodes; the recipe does not name this dataset'
    if split.fraction == 0:
        return dataset, f'all {count} episodes, all of them trained on: none were held out'
    held = dataset.split(split.fraction, split.seed)[1]
    assert held is not None
    return held, f'the {len(held.selected)} of {count} episodes that training held out'


def open_for_policy(
    path: Path,
    policy: PipelinePolicy,
    cache: Path | None = None,
    columns: Columns = DEFAULT,
    only_successes: bool = False,
) -> Dataset:
    """Open a dataset in a policy's action space and image size.

    Raises:
        DatasetError: its contract differs from the policy's; the message names the difference.
    """
    from vla_adapter_ros.data.training.dataset import open_dataset

    dataset = open_dataset(
        path,
        images=policy.pipeline.config.images,
        contract=policy.contract,
        action_space=policy.action_space,
        chunk_size=policy.chunk_size,
        columns=columns,
        complete_chunks=False,
        only_successes=only_successes,
        cache=cache,
        progress=True,
    )
    if dataset.action_dim != policy.statistics.action.size:
        raise DatasetError(
            f'{path}: actions have {dataset.action_dim} dimensions, '
            f'the checkpoint has {policy.statistics.action.size}'
        )
    return dataset


def predict_episode(
    policy: PipelinePolicy, dataset: Dataset, episode: int, stride: int = 1
) -> EpisodeChunks:
    """Run the policy on the observations of one episode."""
    indices = np.array(dataset.indices_of(episode))[::stride]
    samples = dataset.batch(indices)
    text = samples.instructions[0]
    config = policy.pipeline.config
    turns = [config.rotations.get(camera, config.images.rotate) for camera in dataset.cameras]
    predicted = [
        policy.predict(
            Observation(
                # The policy turns its images itself; those of the dataset are upright.
                {
                    camera: as_camera(image, turn)
                    for camera, image, turn in zip(dataset.cameras, images, turns, strict=True)
                },
                state.astype(float),
                text,
                0.0,
            )
        ).actions
        for images, state in zip(samples.images, samples.proprioception, strict=True)
    ]
    frames = np.array([dataset.episode_of(int(i))[1] for i in indices])
    return EpisodeChunks(
        episode, text, frames, samples.actions.astype(float), np.stack(predicted), samples.is_pad
    )


def mean_errors(episodes: Sequence[EpisodeChunks]) -> np.ndarray:
    """Return the mean absolute error (K, A) by chunk step and dimension, padding left out."""
    error = np.concatenate([np.abs(e.predicted - e.recorded) for e in episodes])
    good = ~np.concatenate([e.is_pad for e in episodes])
    count = np.maximum(good.sum(axis=0), 1)[:, None]
    return (error * good[:, :, None]).sum(axis=0) / count


def action_names(contract: RobotContract | None, size: int) -> list[str]:
    """Return a name for each action dimension; those of the contract's joints if they are it."""
    joints = contract is not None and contract.action_space != 'ee_delta'
    if contract is not None and joints and len(contract.names) == size:
        return list(contract.names)
    if size == 7:
        return ['x', 'y', 'z', 'rx', 'ry', 'rz', 'gripper']
    return [f'action_{i}' for i in range(size)]


def with_units(names: Sequence[str], contract: RobotContract | None) -> list[str]:
    """Return the names with their units, as far as the contract defines them."""
    if contract is None or len(names) != contract.action_dim:
        return list(names)
    first = 'm' if contract.action_space == 'ee_delta' else 'rad'
    units = [first if i < 3 else 'rad' for i in range(len(names) - 1)]
    return [f'{name} [{unit}]' for name, unit in zip(names, [*units, 'open'], strict=True)]


def error_table(errors: np.ndarray, names: Sequence[str]) -> str:
    """Return the errors as a table: a row a dimension, a column a chunk step, and the mean."""
    steps = [f'{k + 1:>8}' for k in range(len(errors))]
    lines = [f'{"mean absolute error":<20}' + ''.join(steps) + '    mean']
    for dim, name in enumerate(names):
        cells = ''.join(f'{value:8.4f}' for value in errors[:, dim])
        lines.append(f'{name:<20}{cells}{errors[:, dim].mean():8.4f}')
    return '\n'.join(lines)


def plot_chunks(
    recorded: np.ndarray, predicted: np.ndarray, names: Sequence[str], path: Path, title: str
) -> None:
    """Draw one episode: what was recorded, and every K-th predicted chunk, per action dimension.

    Args:
        recorded: (T, K, A) chunks of the dataset, one a frame.
        predicted: (T, K, A) chunks of the policy.
        names: A names.
        path: PNG to write.
        title: above the image.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    length, chunk, size = recorded.shape
    figure = Figure(figsize=(10, 1.6 * size), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(size, 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle(title)
    for dim, axis in enumerate(axes):
        for start in range(0, length, chunk):
            steps = np.arange(start, start + chunk) + 1
            for values, style, label in ((recorded, 'k-', 'recorded'),
                                         (predicted, 'r.-', 'predicted')):  # fmt: skip
                axis.plot(steps, values[start, :, dim], style, lw=1.2,
                          label=None if start else label)  # fmt: skip
        axis.set_ylabel(names[dim], fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8, loc='upper right')
    axes[-1].set_xlabel('step, one chunk after another')
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def plot_errors(errors: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Draw the errors (K, A) over the steps of the chunk, a panel a dimension."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.2 * len(names), 2.4), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for dim, axis in enumerate(axes):
        axis.bar(np.arange(len(errors)) + 1, errors[:, dim])
        axis.set_title(names[dim], fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel('mean absolute error', fontsize=8)
    axes[len(axes) // 2].set_xlabel('step of the chunk', fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def evaluate(
    policy: PipelinePolicy,
    dataset: Dataset,
    episodes: Sequence[int],
    stride: int,
    progress: bool = True,
) -> list[EpisodeChunks]:
    """Run the policy on several episodes, with a progress bar."""
    from tqdm import tqdm

    bar = tqdm(episodes, desc='open loop', unit='episode', disable=not progress)
    return [predict_episode(policy, dataset, episode, stride) for episode in bar]


def write_report(
    episodes: Sequence[EpisodeChunks],
    names: Sequence[str],
    folder: Path,
    plots: int,
    stride: int,
    made_with: Mapping[str, Any],
) -> None:
    """Write report.json, errors.png and a plot of each of the first `plots` episodes.

    `names` are those of `with_units`, `made_with` says of which checkpoint and episodes.
    """
    errors = mean_errors(episodes)
    folder.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {
        'episodes': [e.episode for e in episodes],
        'made_with': dict(made_with),
        'observations': int(sum(len(e.frames) for e in episodes)),
        'names': list(names),
        'mean_absolute_error': errors.mean(axis=0).tolist(),
        'mean_absolute_error_by_step': errors.tolist(),
    }
    (folder / 'report.json').write_text(json.dumps(data, indent=2) + '\n', encoding='utf-8')
    plot_errors(errors, names, folder / 'errors.png')
    for item in episodes[:plots] if stride == 1 else []:
        path = folder / f'episode-{item.episode:05d}.png'
        plot_chunks(item.recorded, item.predicted, names, path, item.instruction)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.evaluation.open_loop',
        description='Compare the chunks a checkpoint predicts with those of a dataset: table and '
        'plots of the error by joint and by step of the chunk, in physical units.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('checkpoint', help='folder of a checkpoint or an export; or org/name on the Hub')
    add('dataset', type=Path, help='dataset of the same robot contract, folder or hub:')
    add('--episodes', type=int, default=20, help='episodes, spread evenly; 0: all')
    add('--all', action='store_true',
        help='also judge on episodes that the checkpoint was trained on')  # fmt: skip
    add('--stride', type=int, default=1, help='use every n-th observation (no episode plots)')
    add('--output', type=Path, help='folder for report.json and plots')
    add('--plots', type=int, default=5, help='episodes to plot, and to show in episodes.html')
    add('--cache', type=Path, help="folder of the dataset's training cache")
    add('--device', default='auto', help='auto, cpu, cuda, …')
    add('--dtype', default='auto', help=', '.join(PRECISIONS))
    add_column_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = make_parser().parse_args(arguments)
    from vla_adapter_ros.data.show.page import write_page
    from vla_adapter_ros.evaluation.open_loop_page import predicted_episode
    from vla_adapter_ros.inference.exported import open_policy
    from vla_adapter_ros.weights.metadata import software_versions

    try:
        if options.stride < 1 or options.episodes < 0:
            raise VLAAdapterError('--stride must be at least 1, --episodes at least 0')
        policy = open_policy(options.checkpoint, device=options.device, dtype=options.dtype)
        split = None if options.all else training_split(policy.recipe, options.dataset)
        dataset = open_for_policy(
            options.dataset, policy, options.cache, columns_of(options),
            split is not None and split.only_successes,
        )  # fmt: skip
        if options.all:
            text = f'all {len(dataset.selected)} episodes, trained on or not (--all)'
        else:
            dataset, text = choose_episodes(dataset, split)
        count = len(dataset.selected)
        wanted = min(count, options.episodes or count)
        chosen = np.unique(np.linspace(0, count - 1, wanted).round().astype(int))
        episodes = evaluate(policy, dataset, [dataset.selected[i] for i in chosen], options.stride)
        contract = policy.contract
        names = with_units(action_names(contract, policy.statistics.action.size), contract)
        print(f'{len(episodes)} of {text}')
        print(error_table(mean_errors(episodes), names))
        if options.output:
            made_with = {
                'versions': software_versions('torch'),
                'dataset': str(options.dataset),
                'chosen_from': text,
                **policy.provenance,
            }
            write_report(episodes, names, options.output, options.plots, options.stride, made_with)
            shown = episodes[: options.plots] if options.stride == 1 else []
            if shown:
                pages = (predicted_episode(dataset, one, names) for one in shown)
                write_page(options.output / 'episodes.html', pages)
            print(f'report: {options.output}')
    except VLAAdapterError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
