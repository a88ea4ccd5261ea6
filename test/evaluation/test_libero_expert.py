# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The scripted expert for LIBERO-Object: its grasps, its motion, its demonstrations."""

from __future__ import annotations

import os
import shutil

import h5py
import numpy as np
import pytest

from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.evaluation.libero import demonstrations
from vla_adapter_ros.evaluation.libero.__main__ import main
from vla_adapter_ros.evaluation.libero.episode import AGENT_VIEW
from vla_adapter_ros.evaluation.libero.expert import (
    CONTAINER,
    CORNERS,
    OBSTACLES,
    TARGET,
    BasketExpert,
    ExpertPolicy,
    grasp_of,
    touched,
)
from vla_adapter_ros.evaluation.libero.state import CUBE, POINTS
from vla_adapter_ros.evaluation.libero.worker import NEEDED
from vla_adapter_ros.evaluation.suites.worker_process import WorkerLost, WorkerProcess
from vla_adapter_ros.training.experiments.grounding.libero_scenes import file_scenes

NOTHING = np.zeros((0, 8, 3))
BASKET = np.array([0.0, 0.26, 0.0])


def box(centre, size) -> np.ndarray:
    """Corners (1, 8, 3) of a box with full sides `size`."""
    return (np.array(centre) + CUBE * np.array(size) / 2)[None]


FLAT_BOX = box((0.05, -0.1, 0.009), (0.08, 0.043, 0.018))
# A body and a neck that is thinner than it.
BOTTLE = np.concatenate([box((0, 0, 0.04), (0.05, 0.06, 0.08)), box((0, 0, 0.1), (0.03,) * 3)])


def test_a_grasp_is_in_the_middle_unless_hand_or_floor_is_in_the_way():
    block = box((0.1, 0.2, 0.025), (0.05, 0.04, 0.05))
    np.testing.assert_allclose(grasp_of(block, NOTHING).position, [0.1, 0.2, 0.025])
    # The fingertips stay above the floor.
    assert 0.0115 < grasp_of(FLAT_BOX, NOTHING).position[2] < 0.015
    # The palm stays above the object: the fingers close around the neck.
    assert grasp_of(BOTTLE, NOTHING).position[2] == pytest.approx(0.115 - 0.032)


def test_a_neighbour_under_the_palm_moves_the_grasp_along_a_flat_box():
    can = box((0.1, -0.2, 0.04), (0.066, 0.066, 0.08))
    middle = grasp_of(FLAT_BOX, NOTHING).position
    assert touched(middle, can)
    moved = grasp_of(FLAT_BOX, can).position
    assert not touched(moved, can)
    assert moved[0] < middle[0]
    assert moved[0] > 0.05 - 0.04 + 0.008  # still on the box
    np.testing.assert_allclose(moved[1:], middle[1:])


def test_a_round_object_is_not_grasped_at_its_edge():
    angles = np.linspace(0, np.pi, 7)
    width, depth = 0.03 * np.abs(np.sin(angles)), 0.03 * np.abs(np.cos(angles))
    can = np.concatenate([
        box((0, 0, 0.04), (2 * d + 1e-3, 2 * w + 1e-3, 0.08))
        for w, d in zip(width, depth, strict=True)
    ])  # fmt: skip
    wall = box((0.05, 0.0, 0.1), (0.04, 0.3, 0.2))
    assert abs(grasp_of(can, wall).position[0]) <= 0.015


class World:
    """A tool that follows its commands with a lag, and one object that can be held."""

    def __init__(self, corners: np.ndarray, slips: bool = False):
        self.tool, self.speed = np.array([-0.15, -0.01, 0.25]), np.zeros(3)
        self.corners, self.opening, self.held, self.slips = corners, 0.08, False, slips
        self.log: list[tuple[np.ndarray, float]] = []

    def seen(self) -> dict[str, np.ndarray]:
        return {
            NEEDED[0]: self.tool.copy(), CORNERS: self.corners.copy(), OBSTACLES: NOTHING,
            NEEDED[1]: np.array([1.0, 0, 0, 0]), NEEDED[2]: np.array([1, -1]) * self.opening / 2,
            TARGET: self.corners.mean((0, 1)), CONTAINER: BASKET,
        }  # fmt: skip

    def step(self, command: np.ndarray) -> None:
        self.log.append((self.tool.copy(), float(command[6])))
        goal = 0.05 * command[:3]
        self.speed += 0.05 * (150 * goal - 2 * np.sqrt(150) * self.speed)
        self.tool += 0.05 * self.speed
        self.tool[2] = max(self.tool[2], 0.0105)
        self.opening = np.clip(self.opening - 0.012 * command[6], 0.03, 0.08)
        near = np.linalg.norm(grasp_of(self.corners, NOTHING).position - self.tool) < 0.012
        if command[6] < 0 or (self.slips and self.tool[2] > 0.1):
            self.slips &= command[6] < 0 or self.tool[2] <= 0.1
            self.held = False
        elif self.opening <= 0.035 and near:
            self.held = True
        if self.held:
            self.corners += 0.05 * self.speed
        else:
            self.corners[..., 2] -= self.corners[..., 2].min()

    def solved(self) -> bool:
        middle = self.corners.mean((0, 1))
        return np.hypot(*(middle - BASKET)[:2]) < 0.03 and not self.held


@pytest.mark.parametrize(('shape', 'slips'), [(FLAT_BOX, True), (BOTTLE, False)])
def test_the_expert_brings_an_object_into_the_basket_also_after_losing_it(shape, slips):
    world, expert = World(shape.copy(), slips), BasketExpert()
    for _ in range(250):
        world.step(expert(world.seen()))
    assert world.solved()
    # Sideways over the basket's rim only with the object above it.
    over = [place for place, grip in world.log if grip > 0 and place[1] > BASKET[1] - 0.08]
    height = grasp_of(shape, NOTHING).position[2]
    assert min(place[2] - height for place in over) > 0.13


def test_episodes_that_run_at_once_have_experts_of_their_own():
    policy, worlds = ExpertPolicy(), [World(FLAT_BOX.copy()), World(BOTTLE.copy())]
    about = [{'suite': 's', 'task': 0, 'episode': e, 'attempt': 1} for e in (0, 1)]
    alone = [(World(world.corners.copy()), BasketExpert()) for world in worlds]
    for _ in range(60):
        questions = [(a, world.seen()) for a, world in zip(about, worlds, strict=True)]
        for (other, expert), world, command in zip(alone, worlds, policy(questions), strict=True):
            np.testing.assert_array_equal(command[0], expert(other.seen()))
            world.step(command[0])
            other.step(command[0])


class Simulator:
    """Stands in for a worker: `World` with images that show the number of the step."""

    def __init__(self, solvable: bool = True):
        self.world, self.count, self.solvable = World(FLAT_BOX.copy()), 0, solvable
        self.image = np.zeros((4, 4, 3), np.uint8)

    def ask(self, header, arrays=None):
        if header['do'] == 'demonstration':
            self.every, self.steps = header['image_every'], header['steps']
        elif not len(arrays['actions']) or self.count == self.steps - 1:
            return {'over': {}}, {}
        else:
            self.count += 1
            self.world.step(arrays['actions'][0])
        if self.count % self.every == 0:
            self.image = np.full((4, 4, 3), self.count, np.uint8)
            self.points = np.full((2, 5, 3), self.count, float)
        about = {'instruction': 'pick up the milk and place it in the basket',
                 'names': ['milk', 'butter', 'ketchup', 'bbq sauce', 'basket']}  # fmt: skip
        images = dict.fromkeys(NEEDED[3:], self.image)
        done = self.solvable and self.world.solved()
        return {**about, 'done': done}, {**self.world.seen(), **images, POINTS: self.points}


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    seed = next(s for s in range(99) if len(demonstrations.kicks(rng_of(s), 4)) > 20)
    segments, about = demonstrations.demonstrate(Simulator(), 3, seed, 4)
    path = tmp_path_factory.mktemp('demonstrations') / 'scene.hdf5'
    demonstrations.write(path, segments, 4, about)
    return path, segments


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng((3, seed))


def test_demonstrations_are_read_with_the_images_of_their_own_steps_only(written):
    path, segments = written
    assert len(segments) == 2
    source = open_source(path)
    assert [episode.length for episode in source.episodes] == [len(s.actions) for s in segments]
    dataset = open_dataset(path, cache=False)
    batch = dataset.batch(range(len(dataset)))
    steps = [dataset.episode_of(i)[1] for i in range(len(dataset))]
    assert all(step % 4 == 0 for step in steps)
    # The picture was made at the state that goes with it.
    state = np.concatenate([np.array(s.state)[::4][: len(s.views[NEEDED[3]])] for s in segments])
    shown = np.concatenate([[view[0, 0, 0] for view in s.views[NEEDED[3]]] for s in segments])
    for n in range(len(batch.rows)):
        found = np.flatnonzero(shown == batch.images[n, 0, 0, 0, 0])
        np.testing.assert_allclose(batch.proprioception[n], state[found[0]], atol=1e-6)
    # Motions of the expert, never those of a kick; the gripper opens at the end.
    assert batch.actions[-1, -1, 6] == 1.0


def test_cached_demonstrations_are_the_same_samples(written, tmp_path):
    live = open_dataset(written[0], cache=False)
    cached = open_dataset(written[0], cache=tmp_path / 'cache')
    assert len(live) == len(cached)
    for one, other in zip(live.batch([0, 5, 9]).__dict__.values(),
                          cached.batch([0, 5, 9]).__dict__.values(), strict=True):  # fmt: skip
        np.testing.assert_array_equal(one, other)


def test_scenes_for_grounding_name_every_object_with_its_own_points(written):
    scenes = file_scenes(written[0], 16)
    count = sum(len(s.points) for s in written[1])
    assert scenes.images.shape == (count, 2, 16, 16, 3)
    assert scenes.points.shape == (count, 4, 2, 2, 3)
    for texts in scenes.instructions:
        assert texts[0] == 'pick up the milk and place it in the basket'
        assert len(set(texts)) == 4
    # Each picture with the points of its instant.
    np.testing.assert_array_equal(scenes.points[:, 0, 0, 0, 0], scenes.images[:, 0, 0, 0, 0])


def test_files_without_points_and_nonsense_between_images_are_refused(written, tmp_path):
    path = shutil.copy(written[0], tmp_path / 'scene.hdf5')
    with h5py.File(path, 'r+') as file:
        del file['data'].attrs['names']
    with pytest.raises(DatasetError, match='no points'):
        file_scenes(path, 16)
    with h5py.File(path, 'r+') as file:
        file['data/demo_0'].attrs['image_every'] = 0
    with pytest.raises(DatasetError, match='image_every 0, expected at least 1'):
        open_source(path)


def test_what_was_not_solved_is_no_demonstration():
    segments, _ = demonstrations.demonstrate(Simulator(solvable=False), 3, 0, 4)
    assert segments == []


def test_collecting_goes_on_where_it_ended(tmp_path, monkeypatch, capsys):
    started = []

    def start(*_):
        worker = Simulator(solvable=len(started) != 2)
        started.append(worker)
        worker.close = lambda: None
        if len(started) == 1:

            def lost(*_):
                raise WorkerLost('worker: killed')

            worker.ask = lost
        return worker

    def collect() -> list[str]:
        started_before = len(started)
        demonstrations.collect('python', tmp_path, [3, 4], 1, 4)
        return [path.name for path in sorted(tmp_path.glob('*.hdf5'))] + [
            str(len(started) - started_before)
        ]

    monkeypatch.setattr(demonstrations, 'WorkerProcess', start)
    # The first scene's worker dies; the next run shows that scene, which is not solved.
    assert collect() == ['libero_object_04_1000.hdf5', '2']
    assert 'libero_object_03_1000.hdf5: worker: killed' in capsys.readouterr().err
    assert collect() == ['libero_object_04_1000.hdf5', '1']
    assert collect() == ['libero_object_04_1000.hdf5', '0']


def test_segments_begin_with_an_image_and_kicks_do_not_go_down():
    for seed in range(50):
        found = demonstrations.kicks(rng_of(seed), 4)
        edges = [s for s in found if s - 1 not in found] + [
            s + 1 for s in found if s + 1 not in found
        ]
        assert all(edge % 4 == 0 for edge in edges)
        assert all(motion[2] >= -0.2 for motion in found.values())


REASON = 'LIBERO loads and simulates for 30 s; only where LIBERO_PYTHON names it'


@pytest.fixture
def libero_python() -> str:
    if 'LIBERO_PYTHON' not in os.environ:
        pytest.skip('LIBERO_PYTHON is not set')
    return os.environ['LIBERO_PYTHON']


@pytest.mark.slow(reason=REASON)
def test_the_expert_solves_scenes_of_the_official_benchmark(libero_python, tmp_path, capsys):
    arguments = ['--tasks', '1,9', '--episodes', '1', '--out', str(tmp_path)]
    arguments += ['--libero-python', libero_python]
    assert main(['expert', '--suite', 'libero_object', *arguments]) == 0
    assert '(2/2)' in capsys.readouterr().out


@pytest.mark.slow(reason=REASON)
def test_a_demonstration_of_the_simulator_shows_what_its_points_say(libero_python):
    worker = WorkerProcess(libero_python, demonstrations.WORKER, None)
    try:
        segments, about = demonstrations.demonstrate(worker, 4, 1001, 4)
    finally:
        worker.close()
    segment = segments[-1]
    images, points = segment.views[AGENT_VIEW], np.array(segment.points)
    assert len(images) == len(points) == -(-len(segment.actions) // 4)
    # At first all objects are in sight of the agent's camera; the basket stands on the left.
    assert (points[0, 0, :, 2] == 1).all()
    assert points[0, 0, about['names'].index('basket'), 0] < 0.3
    # Around its point is the red ketchup on a grey floor, and at last it is in the basket.
    u, v, _ = points[0, 0, 0]
    x, y = int(u * 256), int(v * 256)
    window = images[0][::-1, ::-1][y - 12 : y + 12, x - 5 : x + 6]
    red, _, blue = window.mean((0, 1))
    assert red > 1.3 * blue
    assert np.hypot(*(points[-1, 0, 0] - points[-1, 0, -1])[:2]) < 0.1
