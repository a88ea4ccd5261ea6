# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Demonstrations of the scripted expert on LIBERO-Object, with images.

    python -m vla_adapter_ros.evaluation.libero.demonstrations --count 50 \
        --libero-python ~/libero/bin/python --out datasets/libero_object

Their scenes are drawn from the regions of the tasks' descriptions, not taken from the initial
states on which policies are judged. One HDF5 file per scene, in LIBERO's own layout; the same
command goes on where it ended. Rendering is what costs: there is an image at every
`--image-every`-th step, and only these are observations to train on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.errors import DatasetError, readable
from vla_adapter_ros.evaluation.libero.episode import (
    AGENT_VIEW,
    GRIPPER,
    POSITION,
    QUATERNION,
    WRIST_VIEW,
    axis_angle,
)
from vla_adapter_ros.evaluation.libero.expert import EXPERT_SUITE as SUITE
from vla_adapter_ros.evaluation.libero.expert import OPEN, BasketExpert
from vla_adapter_ros.evaluation.libero.state import POINTS
from vla_adapter_ros.evaluation.libero.suites import SUITES
from vla_adapter_ros.evaluation.suites.command import guarded
from vla_adapter_ros.evaluation.suites.worker_process import WorkerLost, WorkerProcess
from vla_adapter_ros.weights.files import replacement

WORKER = 'vla_adapter_ros.evaluation.libero.worker'
JOINT_NOISE = 0.02  # [rad], as robosuite draws it by default
FIRST_SEED = 1000
TURN = 5  # scenes of a task before the next one's: loading a task takes as long as one or two
COMMAND_NOISE = 0.1  # standard deviation, of 1; executed, not recorded
KICKS = 2  # at most in a scene: motions that are executed and not recorded
KICK_STEPS = (4, 20)
LATEST_KICK = 72  # step
TAIL_STEPS = 12  # recorded after success, so that complete chunks contain the release
MOST_STEPS = 200
TIMEOUT_S = 900.0  # of an answer: these runs are long and may be the least urgent of a machine


@dataclass
class Segment:
    """Consecutive observations and the expert's commands in them.

    Attributes:
        state: of each step: (8,) tool position, axis-angle, fingers.
        actions: of each step: (7,).
        views: name → images of each `image_every`-th step.
        points: with each image, (C, N, 3).
    """

    state: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    views: dict[str, list[np.ndarray]] = field(
        default_factory=lambda: {AGENT_VIEW: [], WRIST_VIEW: []}
    )
    points: list[np.ndarray] = field(default_factory=list)


def kicks(rng: np.random.Generator, image_every: int) -> dict[int, np.ndarray]:
    """Return step → motion (3,) that is executed there instead of the expert's.

    They begin and end at steps with images, so that each segment begins with one. The first may
    be at the start; none goes down far.
    """
    found: dict[int, np.ndarray] = {}
    for _ in range(rng.integers(0, KICKS + 1)):
        begin = int(rng.integers(0, LATEST_KICK)) // image_every * image_every
        begin *= int(rng.random() < 0.6)
        length = -(-int(rng.integers(*KICK_STEPS)) // image_every) * image_every
        motion = rng.uniform((-1, -1, -0.2), (1, 1, 0.5))
        found |= dict.fromkeys(range(begin, begin + length), motion)
    return found


def demonstrate(
    worker: WorkerProcess, task: int, seed: int, image_every: int
) -> tuple[list[Segment], dict[str, Any]]:
    """Return the segments of a scene, and a header of the worker; none if it was not solved.

    Raises:
        WorkerLost: the simulator failed.
    """
    rng = np.random.default_rng((task, seed))
    disturbed = kicks(rng, image_every)
    header, seen = worker.ask({
        'do': 'demonstration', 'suite': SUITE, 'task': task, 'seed': seed, 'steps': MOST_STEPS,
        'joint_noise': JOINT_NOISE, 'image_every': image_every,
    })  # fmt: skip
    about, expert, segments, gripper = header, BasketExpert(), [Segment()], OPEN
    step = tail = 0
    while 'over' not in header:
        if step in disturbed:
            if segments[-1].actions:
                segments.append(Segment())
            command = np.array([*disturbed[step], 0.0, 0.0, 0.0, gripper])
        else:
            clean = expert(seen)
            _record(segments[-1], clean, seen, step % image_every == 0)
            noise = np.zeros(7)
            noise[:3] = rng.normal(0.0, COMMAND_NOISE, 3)
            command, gripper = np.clip(clean + noise, -1.0, 1.0), clean[6]
        tail += bool(header['done'])
        last = np.zeros((0, 7)) if tail > TAIL_STEPS else command[None]
        header, seen = worker.ask({'do': 'act'}, {'actions': last})
        step += 1
    solved = tail > TAIL_STEPS
    return [s for s in segments if s.actions] if solved else [], about


def _record(
    segment: Segment, command: np.ndarray, seen: dict[str, np.ndarray], image: bool
) -> None:
    turned = axis_angle(seen[QUATERNION])
    segment.state.append(np.concatenate((seen[POSITION], turned, seen[GRIPPER])))
    segment.actions.append(command)
    if image:
        for view, images in segment.views.items():
            images.append(seen[view])
        segment.points.append(seen[POINTS])


def write(
    path: Path, segments: Sequence[Segment], image_every: int, about: dict[str, Any]
) -> None:
    """Write the segments of a scene in LIBERO's layout.

    `image_every` of a demonstration: it has images of steps 0, n, 2n, … only. `points`: see
    `SimulatorState.points`, of the objects `names`.
    """
    import h5py

    with replacement(path) as place, h5py.File(place, 'w') as file:
        data = file.create_group('data')
        data.attrs['problem_info'] = json.dumps({'language_instruction': about['instruction']})
        data.attrs['names'] = json.dumps(about['names'])
        for number, segment in enumerate(segments):
            demo = data.create_group(f'demo_{number}')
            demo.attrs.update(num_samples=len(segment.actions), image_every=image_every)
            state = np.array(segment.state)
            demo['actions'] = np.array(segment.actions)
            demo['obs/ee_states'], demo['obs/gripper_states'] = state[:, :6], state[:, 6:]
            for view, images in segment.views.items():
                name = view.removeprefix('robot0_').replace('_image', '_rgb')
                demo.create_dataset(
                    f'obs/{name}', data=np.array(images), chunks=(1, *images[0].shape),
                    compression='gzip', compression_opts=1, shuffle=True,
                )  # fmt: skip
            demo['points'] = np.array(segment.points, np.float32)


def scenes(tasks: Sequence[int], count: int) -> Iterator[tuple[int, int]]:
    """Yield task and seed of every scene, in turns, so that no task is far ahead."""
    for begin in range(0, count, TURN):
        for task in tasks:
            for number in range(begin, min(count, begin + TURN)):
                yield task, FIRST_SEED + number


def collect(python: str, out: Path, tasks: Sequence[int], count: int, image_every: int) -> None:
    """Show and write the scenes that are missing."""
    from tqdm import tqdm

    out.mkdir(parents=True, exist_ok=True)
    unsolved = out / 'unsolved.jsonl'
    with readable(unsolved, DatasetError, 'remove it to try its scenes again'):
        known = unsolved.read_text(encoding='utf-8').splitlines() if unsolved.exists() else []
        failed = {tuple(json.loads(line)) for line in known}
    worker, built = None, None
    try:
        for task, seed in tqdm(list(scenes(tasks, count)), desc=SUITE):
            path = out / f'{SUITE}_{task:02d}_{seed}.hdf5'
            if path.exists() or (task, seed) in failed:
                continue
            if worker is not None and task != built:
                worker.close()  # a task that was closed leaves 250 MB behind
                worker = None
            worker = worker or WorkerProcess(python, WORKER, out / 'worker.log', TIMEOUT_S)
            built = task
            try:
                segments, about = demonstrate(worker, task, seed, image_every)
            except WorkerLost as lost:  # this scene is tried again by the next run
                print(f'{path.name}: {lost}', file=sys.stderr)
                worker.close()
                worker = None
                continue
            if segments:
                write(path, segments, image_every, about)
            else:
                with unsolved.open('a', encoding='utf-8') as file:
                    file.write(json.dumps([task, seed]) + '\n')
    finally:
        if worker is not None:
            worker.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.evaluation.libero.demonstrations',
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('--libero-python', dest='python', default=sys.executable, help='interpreter with LIBERO')
    add('--out', type=Path, default=Path('datasets', SUITE), help='folder of the HDF5 files')
    add('--count', type=int, default=50, help='scenes of each task')
    add('--task', type=int, action='append', choices=range(SUITES[SUITE].tasks), metavar='N',
        help='repeatable (default: all)')  # fmt: skip
    add('--image-every', type=int, default=4, help='steps between two images')
    options = parser.parse_args(arguments)
    if min(options.count, options.image_every) < 1:
        parser.error('--count and --image-every must be at least 1')
    tasks = sorted(set(options.task or range(SUITES[SUITE].tasks)))

    def run() -> int:
        collect(options.python, options.out, tasks, options.count, options.image_every)
        return 0

    return guarded('demonstrations', options.out, run)


if __name__ == '__main__':
    sys.exit(main())
