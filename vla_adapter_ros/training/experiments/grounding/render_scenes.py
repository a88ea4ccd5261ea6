# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Pictures of the table, each with several instructions and where in it their things are.

    python -m vla_adapter_ros.training.experiments.grounding.render_scenes OUT --pictures 16000

What a small network learns to look with before it learns to act: see `pretrain.py`.
"""

from __future__ import annotations

import argparse
import multiprocessing
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
from vla_adapter_ros.simulation.expert.expert import ExpertPolicy
from vla_adapter_ros.simulation.goals import (
    DIRECTIONS,
    Goal,
    Move,
    Place,
    Reach,
    SceneState,
    Sequence,
    Stack,
    scene_state,
)
from vla_adapter_ros.simulation.instructions import describe
from vla_adapter_ros.simulation.layout import PLATE_NAME
from vla_adapter_ros.simulation.session import TaskSession
from vla_adapter_ros.simulation.tasks import EVALUATED_TASKS, TaskOptions, make_task
from vla_adapter_ros.training.experiments.grounding.scenes import (
    GroundScenes,
    save_shard,
    shard_path,
)
from vla_adapter_ros.weights.files import write_json

DEFAULT_ROBOT = 'alicia_d_sim'
# Apart from the seeds of evaluation (from 0) and of demonstrations (from 1,000,000).
FIRST_SEED = 5_000_000
# Of each episode of the expert this many pictures, at random times, so that the arm is where it
# is at work and things are held and half done as well.
PICTURES_OF_EPISODE = 4
# Each picture comes with its episode's instruction and with others.
INSTRUCTIONS = 4
PICTURES_OF_SHARD = 400
OPTIONS = TaskOptions(start_spread=0.06, closed_start=0.1)
DESCRIPTION = 'scenes.json'


@dataclass(frozen=True)
class SceneJob:
    """What every worker needs to know."""

    output: str
    robot: str
    image_size: int
    first_seed: int
    tasks: tuple[str, ...] = EVALUATED_TASKS


def any_goal(state: SceneState, rng: np.random.Generator) -> Goal:
    """Return something that can be asked of a scene with objects of any shape."""
    movable = [name for name in state.objects if name != PLATE_NAME]
    target, other = (movable[int(i)] for i in rng.permutation(len(movable))[:2])
    choices: list[Goal] = [Reach(target)]
    if target.endswith('block'):
        choices.append(Move(target, list(DIRECTIONS)[int(rng.integers(2))]))
        if other.endswith('block'):
            choices.append(Stack(target, other))
    if PLATE_NAME in state.objects:
        choices += [Place(target), Sequence((Place(target), Place(other)))]
    return choices[int(rng.integers(len(choices)))]


class Photographer:
    """Makes pictures in one process."""

    def __init__(self, job: SceneJob) -> None:
        self._job = job
        self.contract = resolve_contract(job.robot)
        self._config = _images(job.image_size)
        self._simulation = ArmSimulation()
        self._expert = ExpertPolicy(self._simulation.object_poses)

    def shard(self, number: int) -> int:
        """Make one shard and return its number of pictures; it appears at once, complete."""
        episodes = PICTURES_OF_SHARD // PICTURES_OF_EPISODE
        first = self._job.first_seed + number * episodes
        made = [part for i in range(episodes) for part in self.episode(first + i)]
        images, points, texts = zip(*made, strict=True)
        scenes = GroundScenes(np.stack(images), np.stack(points), texts)
        save_shard(Path(self._job.output), number, scenes)
        return len(made)

    def episode(self, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, list[str]]]:
        """Yield images (C, S, S, 3), points (G, C, 2, 3) and G instructions of one episode."""
        rng = np.random.default_rng((seed, 2))
        tasks = self._job.tasks
        task = make_task(tasks[int(rng.integers(len(tasks)))], OPTIONS)
        session = TaskSession(self._simulation, task, self.contract.cameras)
        session.reset(seed)
        self._expert.reset()
        # The expert needs about half of the time limit.
        moments = {0, *rng.integers(1, task.horizon // 2, PICTURES_OF_EPISODE - 1).tolist()}
        for step in range(max(moments) + 1):
            if step in moments:
                yield self._picture(session, rng)
            session.step(self._expert.act(session.observe(images=False)))

    def _picture(
        self, session: TaskSession, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, list[str]]:
        assert session.task.goal is not None
        seen = session.observe().images
        images = np.stack([resize_for_model(seen[c], self._config, rotate=0) for c in seen])
        state = scene_state(self._simulation)
        goals = [any_goal(state, rng) for _ in range(INSTRUCTIONS - 1)]
        texts = [session.task.instruction, *(describe(goal, rng) for goal in goals)]
        points = [self._points(session.task.goal, state, session.task.start)]
        points += [self._points(goal, state, state) for goal in goals]
        return images, np.stack(points), texts

    def _points(self, goal: Goal, state: SceneState, start: SceneState) -> np.ndarray:
        points = np.zeros((len(self.contract.cameras), POINTS, 3), np.float32)
        for row, (name, camera) in enumerate(self.contract.cameras.items()):
            for column, where in enumerate(attention_points(goal, state, start)):
                aspect = camera.width / camera.height
                points[row, column] = project(self._simulation, name, where, aspect)
        return points


def check_cameras(contract: RobotContract) -> None:
    """Refuse cameras whose pictures are cut or turned: points are not."""
    for name, camera in contract.cameras.items():
        if camera.crop is not None or camera.rotate:
            raise VLAAdapterError(
                f'{contract.name}: camera {name}: got crop {camera.crop} and rotate '
                f'{camera.rotate}, pictures with points need whole, upright ones'
            )


def _images(size: int) -> ImageConfig:
    return ImageConfig(size=size, resize=OWN_IMAGES.resize, jpeg_round_trip=False)


_photographer: Photographer | None = None


def _start_worker(job: SceneJob) -> None:
    global _photographer
    _photographer = Photographer(job)


def _work(shard: int) -> int:
    assert _photographer is not None
    return _photographer.shard(shard)


def make_scenes(job: SceneJob, pictures: int, workers: int) -> int:
    """Make about `pictures` pictures; those that are there already are kept.

    Returns:
        The number of pictures made now.

    Raises:
        VLAAdapterError: the contract does not fit, or the folder holds pictures of other settings.
    """
    from tqdm import tqdm

    output = Path(job.output)
    check_cameras(resolve_contract(job.robot))
    settings = {'robot': job.robot, 'image_size': job.image_size, 'first_seed': job.first_seed}
    if job.tasks != EVALUATED_TASKS:  # folders made before tasks could be chosen name none
        settings['tasks'] = list(job.tasks)
    if (output / DESCRIPTION).is_file() and read_json(output / DESCRIPTION) != settings:
        raise DatasetError(f'{output}: holds pictures of other settings; choose another folder')
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / DESCRIPTION, settings)
    # Two moments of an episode may be the same one: some give fewer pictures, none gives more.
    shards = range(-(-pictures // PICTURES_OF_SHARD))
    missing = [shard for shard in shards if not shard_path(output, shard).is_dir()]
    if not missing:
        return 0
    context = multiprocessing.get_context('spawn')
    with context.Pool(min(workers, len(missing)), _start_worker, (job,)) as pool:
        made = pool.imap_unordered(_work, missing)
        return sum(tqdm(made, total=len(missing), unit='shard', desc='pictures'))


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.training.experiments.grounding.render_scenes',
        description='Pictures of the simulated table, each with instructions and where in it the '
        'things are that they are about. Run the same command again to carry on.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('output', type=Path, help='folder of the pictures')
    add('--task', action='append', choices=EVALUATED_TASKS, default=argparse.SUPPRESS,
        help='task whose expert is photographed; may be given several times (default: all)')
    add('--pictures', type=int, default=16_000, help='about how many pictures of both cameras')
    add('--workers', type=int, default=os.cpu_count() or 1, help='processes')
    add('--seed', type=int, default=FIRST_SEED, help='seed of the first episode')
    add('--robot', default=DEFAULT_ROBOT, help='robot contract: a name that ships, or a path')
    add('--image-size', type=int, default=96, help='side of the square images [px]')
    return parser


def main(arguments: Several[str] | None = None) -> int:
    """Run the command line."""
    parser = make_parser()
    options: Any = parser.parse_args(arguments)
    if options.pictures < 1 or options.workers < 1:
        parser.error('--pictures and --workers must be at least 1')
    tasks = tuple(getattr(options, 'task', EVALUATED_TASKS))
    job = SceneJob(str(options.output), options.robot, options.image_size, options.seed, tasks)
    try:
        made = make_scenes(job, options.pictures, options.workers)
    except VLAAdapterError as error:
        print(f'ground_scenes: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('ground_scenes: interrupted; run the same command to carry on', file=sys.stderr)
        return 130
    print(f'{made} pictures made in {options.output}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
