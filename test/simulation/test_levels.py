# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Levels of variation: nothing at nominal, the same for the same seed, and felt by a policy."""

import mujoco
import numpy as np
import pytest

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.robot.camera_spec import CameraSpec
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.demonstration import demonstrate
from vla_adapter_ros.simulation.expert.expert import ExpertPolicy
from vla_adapter_ros.simulation.levels.patterns import fill_patterns
from vla_adapter_ros.simulation.levels.ranges import LEVELS
from vla_adapter_ros.simulation.scene import CAMERA_NAMES, SCENE_FILE
from vla_adapter_ros.simulation.servo_arm import COUNT
from vla_adapter_ros.simulation.session import TaskSession, render_views
from vla_adapter_ros.simulation.tasks import TaskOptions, make_task

CAMERAS = dict.fromkeys(CAMERA_NAMES, CameraSpec(64, 48, 0, 'fixed'))
# Written per episode, whatever the level.
PLACED = {'body_pos', 'body_gravcomp', 'geom_contype', 'geom_conaffinity', 'geom_rgba'}
# Set by MuJoCo's own functions from the rest, and of no use to fixed cameras and lights.
DERIVED = {'cam_pos0', 'cam_mat0', 'cam_poscom0', 'light_dir0', 'light_poscom0'}


@pytest.fixture(scope='module')
def simulation():
    with ArmSimulation() as simulation:
        yield simulation


def begin(simulation, level, seed, task='pick_and_place'):
    made = make_task(task, TaskOptions(level=level))
    made.reset(simulation, seed)
    return made


def arrays(model):
    found = {name: getattr(model, name) for name in dir(model) if not name.startswith('_')}
    return {k: v.copy() for k, v in found.items() if isinstance(v, np.ndarray)}


def drawn(simulation):
    """What a seed gave: the model, the clutter, images and the servos' answer to a command."""
    model = arrays(simulation.model)
    model['ambient'] = simulation.model.vis.headlight.ambient.copy()
    views = render_views(simulation, CAMERAS)
    simulation.set_targets(simulation.targets + 0.02)
    simulation.step(0.1)
    return {**model, **views, 'measured': simulation.measured[0]}


def test_nothing_is_drawn_at_nominal(simulation):
    fresh = mujoco.MjModel.from_xml_path(str(SCENE_FILE))
    fill_patterns(fresh)
    begin(simulation, 'hard', 5)
    begin(simulation, 'nominal', 5)
    now, built = arrays(simulation.model), arrays(fresh)
    changed = {k for k in built if not np.array_equal(now[k], built[k], equal_nan=True)}
    assert changed <= PLACED | DERIVED
    assert np.array_equal(simulation.model.vis.headlight.ambient, fresh.vis.headlight.ambient)
    assert simulation.layout.clutter == {} and simulation.lag == 0.0


@pytest.mark.parametrize('level', ['bench', 'hard'])
def test_a_seed_gives_the_same_whatever_was_before(simulation, level):
    begin(simulation, level, 3)
    first = drawn(simulation)
    begin(simulation, level, 4)
    other = drawn(simulation)
    with ArmSimulation() as another:
        begin(another, level, 3)
        again = drawn(another)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name], err_msg=name)
    for name in ('light_dir', 'cam_pos', 'geom_rgba', 'actuator_gainprm', 'body_mass', 'wrist'):
        assert not np.array_equal(first[name], other[name]), name


def test_table_and_instruction_are_the_same_at_each_level(simulation):
    seen = []
    for level in LEVELS:
        task = begin(simulation, level, 8, 'long_horizon')
        seen.append((task.instruction, simulation.layout.objects, simulation.layout.plate))
    assert seen[0] == seen[1] == seen[2]


def test_joints_are_read_in_counts_at_the_rate_of_the_servos(simulation):
    begin(simulation, 'bench', 1)
    readings, true = [], []
    simulation.set_targets(simulation.targets + 0.2)
    for _ in range(100):
        simulation.step(simulation.timestep)
        readings.append(simulation.measured[0][:6])
        true.append(simulation.positions[:6])
    counts = (np.array(readings) + np.pi) / COUNT
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-6)
    changes = np.flatnonzero(np.any(np.diff(readings, axis=0) != 0.0, axis=1))
    assert np.diff(changes).min() * simulation.timestep == pytest.approx(0.05)
    assert np.abs(np.array(readings) - true).max() > 2 * COUNT  # old while the arm moves


@pytest.mark.parametrize('seed', range(4))
def test_commands_are_late_by_what_the_level_allows(simulation, seed):
    begin(simulation, 'hard', seed)
    before = simulation.positions
    simulation.set_targets(simulation.targets + np.array([0.1, 0, 0, 0, 0, 0, 0]))
    while abs(simulation.positions[0] - before[0]) < 2e-3:
        simulation.step(simulation.timestep)
    low, high = LEVELS['hard'].delay
    assert low < simulation.time < high + 0.05


def test_clutter_stays_clear_of_what_is_named(simulation):
    distances = []
    for seed in range(20):
        begin(simulation, 'hard', seed, 'reach')
        layout = simulation.layout
        named = [(p.x, p.y) for p in layout.objects.values()]
        distances += [np.hypot(x - a, y - b) for x, y, _ in layout.clutter.values()
                      for a, b in named]  # fmt: skip
        assert not set(layout.clutter) & set(simulation.object_names)
    assert len(distances) > 20 and min(distances) >= 0.075


def test_noise_depends_on_the_moment_not_on_how_often_one_looks(simulation):
    begin(simulation, 'hard', 2)
    image = np.full((48, 64, 3), 90, np.uint8)
    first = simulation.images.seen('wrist', image, 0.1)
    np.testing.assert_array_equal(first, simulation.images.seen('wrist', image, 0.1))
    assert not np.array_equal(first, simulation.images.seen('wrist', image, 0.2))
    assert np.all(image == 90)


@pytest.mark.parametrize('level', ['bench', 'hard'])
@pytest.mark.parametrize('task', ['move', 'stack'])
def test_the_expert_solves_every_level(simulation, level, task):
    expert = ExpertPolicy.of(simulation)
    session = TaskSession(simulation, make_task(task, TaskOptions(level=level)))
    assert demonstrate(session, expert, seed=0).success


def test_an_unknown_level_is_refused(simulation):
    with pytest.raises(VLAAdapterError, match="level 'easy' is unknown; expected nominal, bench"):
        begin(simulation, 'easy', 0)
