# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Images of the table, each with several instructions and the positions of the named objects.

    python -m vla_adapter_ros.training.experiments.grounding.render_scenes OUT --images 16000

Training data of `pretrain.py`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from collections.abc import Sequence as Several
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.data.files import read_json
from vla_adapter_ros.errors import DatasetError, VLAAdapterError
from vla_adapter_ros.processing.images import OWN_IMAGES, ImageConfig, resize_for_model
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.attention_points import (
    POINTS,
    attention_points,
    project,
)
from vla_adapter_ros.simulation.collect import DEFAULT_ROBOT
from vla_adapter_ros.simulation.expert.expert import ExpertPolicy
from vla_adapter_ros.simulation.goals import (
    DIRECTIONS,
    Goal,
    Move,
    Place,
    PutIn,
    Reach,
    SceneState,
    Sequence,
    Stack,
    is_bowl,
    movable_names,
    scene_state,
)
from vla_adapter_ros.simulation.layout import PLATE_NAME
from vla_adapter_ros.simulation.levels.ranges import BENCH, LEVELS, NOMINAL
from vla_adapter_ros.simulation.session import TaskSession
from vla_adapter_ros.simulation.tasks import (
    EVALUATED_TASKS,
    INSTRUCTED_TASKS,
    STACKED_SHAPES,
    TaskOptions,
    make_task,
)
from vla_adapter_ros.simulation.wordings import TRAINED, VARIED, WORDS, describe
from vla_adapter_ros.simulation.workers import run_in_workers
from vla_adapter_ros.training.experiments.grounding.scenes import (
    GroundingScenes,
    save_shard,
    shard_path,
)
from vla_adapter_ros.weights.files import make_folder, write_json

# Apart from the seeds of evaluation (from 0) and of demonstrations (from 1,000,000).
FIRST_SEED = 5_000_000
# Images per episode of the expert, at random times, so that they include the arm at work and
# objects held or half placed.
SAMPLES_PER_EPISODE = 4
# Instructions per image: the episode's own and others.
INSTRUCTIONS = 4
SEQUENCES = 0.6  # share of the others that are of two objects, in scenes of such a task
# Share of the scenes whose objects differ in shape more than in colour: once the words were read
# well, all mistakes left were another shape of the right colour.
ALIKE = 0.6
SAMPLES_PER_SHARD = 400
DESCRIPTION = 'scenes.json'


@dataclass(frozen=True)
class SceneJob:
    """Settings of every worker."""

    output: str
    robot: str
    image_size: int
    first_seed: int
    tasks: tuple[str, ...] = EVALUATED_TASKS
    level: str = BENCH
    words: str = VARIED


def any_goal(state: SceneState, rng: np.random.Generator, sequences: float = 0.0) -> Goal:
    """Return a random goal for a scene with objects of any shape.

    Args:
        state: the scene.
        rng: draws it.
        sequences: share of the goals that are certainly of two objects, if there is a plate. Where
            an object lies on it, half of these have that object as the first: only they say that
            the second one has its turn.
    """
    movable = movable_names(state)
    target, other = (movable[int(i)] for i in rng.permutation(len(movable))[:2])
    if PLATE_NAME in state.objects and rng.random() < sequences:
        there = [name for name in movable if Place(name).there(state)]
        left = [name for name in movable if name not in there]
        if there and left and rng.random() < 0.5:
            target, other = there[0], left[int(rng.integers(len(left)))]
        return Sequence((Place(target), Place(other)))
    choices: list[Goal] = [Reach(target)]
    if target.endswith('block'):
        choices.append(Move(target, list(DIRECTIONS)[int(rng.integers(2))]))
    if other.endswith('block') and target.split()[-1] in STACKED_SHAPES:
        choices.append(Stack(target, other))
    if PLATE_NAME in state.objects:
        choices += [Place(target), Sequence((Place(target), Place(other)))]
    choices += [PutIn(target, name) for name in state.objects if is_bowl(name)]
    return choices[int(rng.integers(len(choices)))]


class SceneSampler:
    """Samples images in one process."""

    def __init__(self, job: SceneJob) -> None:
        self._job = job
        self.contract = resolve_contract(job.robot)
        self._config = _images(job.image_size)
        self._options = TaskOptions(level=job.level, words=job.words, alike=ALIKE)
        self._simulation = ArmSimulation()
        self._expert = ExpertPolicy.of(self._simulation)

    def close(self) -> None:
        """Free the renderer."""
        self._simulation.close()

    def shard(self, number: int) -> int:
        """Make one shard and return its number of images; it appears only once complete."""
        episodes = SAMPLES_PER_SHARD // SAMPLES_PER_EPISODE
        first = self._job.first_seed + number * episodes
        made = [part for i in range(episodes) for part in self.episode(first + i)]
        images, points, texts = zip(*made, strict=True)
        scenes = GroundingScenes(np.stack(images), np.stack(points), texts)
        save_shard(Path(self._job.output), number, scenes)
        return len(made)

    def episode(self, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, list[str]]]:
        """Yield images (C, S, S, 3), points (G, C, POINTS, 3) and G instructions."""
        rng = np.random.default_rng((seed, 2))
        tasks = self._job.tasks
        task = make_task(tasks[int(rng.integers(len(tasks)))], self._options)
        session = TaskSession(self._simulation, task, self.contract.cameras)
        session.reset(seed)
        self._expert.reset()
        # The expert needs about half of the time limit.
        moments = {0, *rng.integers(1, task.horizon // 2, SAMPLES_PER_EPISODE - 1).tolist()}
        for step in range(max(moments) + 1):
            if step in moments:
                yield self._sample(session, rng)
            session.step(self._expert.act(session.observe(images=False)))

    def _sample(
        self, session: TaskSession, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, list[str]]:
        assert session.task.goal is not None
        seen = session.observe().images
        images = np.stack([resize_for_model(seen[c], self._config, rotate=0) for c in seen])
        state = scene_state(self._simulation)
        # Scenes of two objects are where their order has to be learned.
        sequences = SEQUENCES if isinstance(session.task.goal, Sequence) else 0.0
        goals = [any_goal(state, rng, sequences) for _ in range(INSTRUCTIONS - 1)]
        words = self._options.words
        texts = [session.task.instruction, *(describe(goal, rng, words) for goal in goals)]
        points = [self._points(session.task.goal, state, session.task.start)]
        points += [self._points(goal, state, state) for goal in goals]
        return images, np.stack(points), texts

    def _points(self, goal: Goal, state: SceneState, start: SceneState) -> np.ndarray:
        points = np.zeros((len(self.contract.cameras), POINTS, 3), np.float32)
        for row, (name, camera) in enumerate(self.contract.cameras.items()):
            for column, where in enumerate(attention_points(goal, state, start)):
                if where is not None:
                    aspect = camera.width / camera.height
                    points[row, column] = project(self._simulation, name, where, aspect)
        return points


def check_cameras(contract: RobotContract) -> None:
    """Refuse cameras whose images are cropped or rotated: points are not."""
    for name, camera in contract.cameras.items():
        if camera.crop is not None or camera.rotate:
            raise VLAAdapterError(
                f'{contract.name}: camera {name}: got crop {camera.crop} and rotate '
                f'{camera.rotate}, images with points must be uncropped and upright'
            )


def _images(size: int) -> ImageConfig:
    return ImageConfig(size=size, resize=OWN_IMAGES.resize, jpeg_round_trip=False)


def make_scenes(job: SceneJob, count: int, workers: int) -> int:
    """Make about `count` images; existing shards are kept.

    Returns:
        The number of images made now.

    Raises:
        VLAAdapterError: the contract does not fit, or the folder holds images of other settings.
    """
    from tqdm import tqdm

    output = Path(job.output)
    check_cameras(resolve_contract(job.robot))
    settings = {'robot': job.robot, 'image_size': job.image_size, 'first_seed': job.first_seed}
    if job.tasks != EVALUATED_TASKS:
        settings['tasks'] = list(job.tasks)
    # Those of before there were levels have none in their description.
    if (job.level, job.words) != (NOMINAL, TRAINED):
        settings |= {'level': job.level, 'words': job.words}
    if (output / DESCRIPTION).is_file() and read_json(output / DESCRIPTION) != settings:
        raise DatasetError(f'{output}: holds images of other settings; choose another folder')
    make_folder(output)
    write_json(output / DESCRIPTION, settings)
    # Moments of an episode may coincide: an episode may give fewer images, never more.
    shards = range(-(-count // SAMPLES_PER_SHARD))
    missing = [shard for shard in shards if not shard_path(output, shard).is_dir()]
    if not missing:
        return 0
    workers = min(workers, len(missing))
    made = run_in_workers(SceneSampler, job, SceneSampler.shard, missing, workers)
    return sum(tqdm(made, total=len(missing), unit='shard', desc='images'))


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.training.experiments.grounding.render_scenes',
        description='Images of the simulated table, each with instructions and the positions '
        'of the named objects. Run the same command again to resume.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('output', type=Path, help='folder of the images')
    add('--task', action='append', choices=INSTRUCTED_TASKS, default=argparse.SUPPRESS,
        help='task whose expert is shown; repeatable (default: all)')
    add('--images', type=int, default=16_000, help='approximate number, of both cameras each')
    add('--workers', type=int, default=os.cpu_count() or 1, help='processes')
    add('--seed', type=int, default=FIRST_SEED, help='seed of the first episode')
    add('--robot', default=DEFAULT_ROBOT, help='robot contract: a name that ships, or a path')
    add('--image-size', type=int, default=96, help='side of the square images [px]')
    add('--level', default=BENCH, choices=list(LEVELS), help='how much the scenes vary')
    add('--words', default=VARIED, choices=WORDS, help='wordings of the instructions')
    return parser


def main(arguments: Several[str] | None = None) -> int:
    """Run the command line."""
    parser = make_parser()
    options: Any = parser.parse_args(arguments)
    if options.images < 1 or options.workers < 1:
        parser.error('--images and --workers must be at least 1')
    tasks = tuple(getattr(options, 'task', EVALUATED_TASKS))
    job = SceneJob(
        str(options.output), options.robot, options.image_size, options.seed, tasks,
        options.level, options.words,
    )  # fmt: skip
    try:
        made = make_scenes(job, options.images, options.workers)
    except VLAAdapterError as error:
        print(f'render_scenes: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('render_scenes: interrupted; run the same command again to resume', file=sys.stderr)
        return 130
    print(f'{made} images made in {options.output}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
