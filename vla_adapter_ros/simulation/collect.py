# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Collect demonstrations of the expert as a dataset.

python -m vla_adapter_ros.simulation.collect --task reach --episodes 500 --workers 2 OUT
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.simulation.demonstration import (
    Demonstration,
    Disturbance,
    demonstrate,
    demonstrate_in_turn,
)
from vla_adapter_ros.simulation.expert.expert import ExpertPolicy
from vla_adapter_ros.simulation.levels.ranges import BENCH, LEVELS
from vla_adapter_ros.simulation.tasks import EVALUATED_TASKS, TASKS, TaskOptions, make_task
from vla_adapter_ros.simulation.wordings import VARIED, WORDS
from vla_adapter_ros.simulation.workers import run_in_workers

if TYPE_CHECKING:
    from vla_adapter_ros.data.lerobot.writer import DatasetWriter

DEFAULT_ROBOT = 'alicia_d_sim'
# Evaluation uses seeds from 0 on; demonstrations must not share them.
FIRST_SEED = 1_000_000
# Instructions given one after another on a table that has no task of its own.
INSTRUCTIONS_IN_TURN = 3


@dataclass(frozen=True)
class CollectionJob:
    """Settings of every worker; plain data, so that it can be sent to a process."""

    output: str
    robot: str
    image_size: int
    storage: str
    append: bool
    options: TaskOptions
    disturbance: Disturbance
    tail: int
    takeover: str = ''

    def open_writer(self) -> DatasetWriter:
        """Open the dataset. Raises VLAAdapterError if it cannot be written."""
        from vla_adapter_ros.data.lerobot.writer import DatasetWriter

        return DatasetWriter(
            self.output, resolve_contract(self.robot), image_size=self.image_size,
            storage=self.storage, append=self.append,
        )  # fmt: skip


def episode_key(task: str, seed: int) -> str:
    """Return the dataset key of an episode."""
    return f'{task}-{seed:08d}'


class Collector:
    """Makes demonstrations in one process and adds them to the dataset."""

    def __init__(self, job: CollectionJob) -> None:
        from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
        from vla_adapter_ros.simulation.takeover import TakeoverPolicy

        self._job = job
        contract = resolve_contract(job.robot)
        self.writer = job.open_writer()
        self._cameras = contract.cameras
        self._simulation = ArmSimulation()
        self._expert = ExpertPolicy.of(self._simulation)
        self._takeover = TakeoverPolicy.load(job.takeover, contract) if job.takeover else None

    def collect(self, task: str, seed: int) -> tuple[str, Counter[str]]:
        """Add the episode, or series of episodes, of a seed; return task and counts."""
        from vla_adapter_ros.simulation.session import TaskSession

        job = self._job
        session = TaskSession(self._simulation, make_task(task, job.options), self._cameras)
        arguments = (job.disturbance, job.tail)
        if session.task.spec.draw_goal is not None:
            records = [demonstrate(session, self._expert, seed, *arguments, self._takeover)]
        else:
            records = demonstrate_in_turn(
                session, self._expert, seed, INSTRUCTIONS_IN_TURN, *arguments
            )
        counts: Counter[str] = Counter()
        # The key that marks the seed as done comes last: an interrupted series is repeated.
        for turn, record in reversed(list(enumerate(records))):
            outcome = 'kept' if record.success else 'solved' if record.solved_before else 'failed'
            counts += Counter({outcome: 1, 'frames': len(record.actions) * record.success})
            if record.success:
                self._add(record, task, seed, turn)
        return task, counts

    def _add(self, record: Demonstration, task: str, seed: int, turn: int) -> None:
        key = episode_key(task, seed) + (f'-{turn}' if turn else '')
        # First keys were looked up once, by `collect`; keys() reads the index of the dataset.
        there = self.writer.keys() if turn else set()
        if key in there:
            return
        metadata = {
            'task': task,
            'seed': seed,
            'success': True,
            'disturbed_steps': record.disturbed,
            'options': asdict(self._job.options),
            'takeover': self._job.takeover,
        }
        self.writer.add_episode(
            record.observations,
            record.actions,
            record.observations[0].instruction,
            metadata,
            key=key,
        )

    def close(self) -> None:
        """Free the renderer."""
        self._simulation.close()


def _collect(collector: Collector, item: tuple[str, int]) -> tuple[str, Counter[str]]:
    return collector.collect(*item)


def collect(
    job: CollectionJob, tasks: Sequence[str], episodes: int, first_seed: int, workers: int
) -> dict[str, Counter[str]]:
    """Collect `episodes` seeds of each task and finalise the dataset.

    Existing episodes are kept, so the same call resumes an interrupted run. Failed episodes are
    counted and not kept.

    Returns:
        task → Counter of `kept`, `failed`, `solved` (by the policy that drove first), `there` and
        `frames`.

    Raises:
        VLAAdapterError: the dataset cannot be written, or the contract does not fit.
    """
    from tqdm import tqdm

    writer = job.open_writer()
    there = writer.keys()
    counts: dict[str, Counter[str]] = {task: Counter() for task in tasks}
    items = []
    # Tasks take turns, so that an interrupted run leaves a balanced mixture.
    for seed in range(first_seed, first_seed + episodes):
        for task in tasks:
            if episode_key(task, seed) in there:
                counts[task]['there'] += 1
            else:
                items.append((task, seed))
    workers = workers if len(items) > 1 else 1
    results = run_in_workers(Collector, job, _collect, items, workers)
    for task, made in tqdm(results, total=len(items), unit='episode', desc='collect'):
        counts[task] += made
    writer.finalize()
    return counts


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.simulation.collect',
        description='Collect demonstrations of the scripted expert as a LeRobot v3 dataset. '
        'Run the same command again to resume after an interruption.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('output', type=Path, help='folder of the dataset')
    add('--task', action='append', choices=list(TASKS), dest='tasks',
        help='task to demonstrate; repeatable (default: ' + ', '.join(EVALUATED_TASKS) + '); '
        f'tabletop is {INSTRUCTIONS_IN_TURN} random instructions in turn on the table of the demo')
    add('--episodes', type=int, default=100, help='episodes of each task')
    add('--workers', type=int, default=os.cpu_count() or 1, help='processes')
    add('--seed', type=int, default=FIRST_SEED, help='seed of the first episode of each task')
    add('--robot', default=DEFAULT_ROBOT, help='robot contract: a name that ships, or a path')
    add('--image-size', type=int, default=224, help='side of the stored square images [px]')
    add('--storage', default='video', choices=('video', 'image'), help='how images are stored')
    add('--append', action='store_true', help='add to a finished dataset')
    add('--disturb', type=float, default=Disturbance.chance,
        help='fraction of the episodes with bursts of noise that the expert recovers from')
    add('--noise', type=float, default=Disturbance.size, help='size of the noise [rad]')
    add('--distractors', type=int, default=TaskOptions.distractors,
        help='objects on the table that the instruction does not name')  # fmt: skip
    add('--start-spread', type=float,
        help="half width [m] of the box around the ready pose in which the tool starts; None: the "
        "level's")
    add('--closed-start', type=float,
        help="fraction of the episodes that start with the gripper closed; None: the level's")
    add('--takeover', default='', metavar='CHECKPOINT',
        help='let this policy drive first in every episode, for a random part of the time limit; '
        'the expert takes over, and only its part is recorded (not with tabletop). Nothing is '
        'recorded where the policy is done before. Gives demonstrations of states in which the '
        'policy fails; use other seeds than those of its training data')
    add('--tail', type=int, default=4, help='steps recorded after the task is done')
    add('--level', default=BENCH, choices=list(LEVELS),
        help='how much light, cameras, colours, images and servos vary')
    add('--words', default=VARIED, choices=WORDS, help='wordings of the instructions')
    return parser


def job_from(arguments: argparse.Namespace) -> CollectionJob:
    """Return the job of parsed arguments."""
    return CollectionJob(
        output=str(arguments.output),
        robot=arguments.robot,
        image_size=arguments.image_size,
        storage=arguments.storage,
        append=arguments.append,
        options=TaskOptions(
            distractors=arguments.distractors,
            start_spread=arguments.start_spread,
            closed_start=arguments.closed_start,
            level=arguments.level,
            words=arguments.words,
        ),
        disturbance=Disturbance(chance=arguments.disturb, size=arguments.noise),
        tail=arguments.tail,
        takeover=arguments.takeover,
    )


def summary(counts: dict[str, Counter[str]]) -> str:
    """Return one line per task."""
    width = max(len(task) for task in TASKS)
    return '\n'.join(
        f'{task:{width}}  {count["kept"]:6} kept  {count["failed"]:4} failed  '
        f'{count["there"]:6} there before  {count["frames"]:8} frames'
        + f'  {count["solved"]:4} solved without the expert' * ('solved' in count)
        for task, count in counts.items()
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = make_parser()
    options: Any = parser.parse_args(arguments)
    if options.episodes < 1 or options.workers < 1 or options.tail < 1:
        parser.error('--episodes, --workers and --tail must be at least 1')
    if options.takeover and 'tabletop' in (options.tasks or ()):
        parser.error('--takeover: not with --task tabletop')
    try:
        counts = collect(
            job_from(options), options.tasks or list(EVALUATED_TASKS), options.episodes,
            options.seed, options.workers,
        )  # fmt: skip
    except VLAAdapterError as error:
        print(f'collect: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('collect: interrupted; run the same command again to resume', file=sys.stderr)
        return 130
    print(summary(counts))
    return 0


if __name__ == '__main__':
    sys.exit(main())
