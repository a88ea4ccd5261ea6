# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Images with instructions and where in them their things are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vla_adapter_ros.errors import DatasetError, VLAAdapterError
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation, Pose
from vla_adapter_ros.simulation.attention_points import (
    POINTS,
    attention_points,
    project,
)
from vla_adapter_ros.simulation.goals import (
    Move,
    Place,
    Reach,
    SceneState,
    Sequence,
    Stack,
    scene_state,
)
from vla_adapter_ros.simulation.instructions import parse_instruction
from vla_adapter_ros.simulation.layout import COLOURS, PLATE_NAME, SceneOptions
from vla_adapter_ros.training.experiments.grounding import render_scenes
from vla_adapter_ros.training.experiments.grounding.render_scenes import (
    SceneJob,
    SceneSampler,
    any_goal,
    check_cameras,
    main,
    make_scenes,
)
from vla_adapter_ros.training.experiments.grounding.scenes import load_scenes


@pytest.fixture(scope='module')
def simulation():
    simulation = ArmSimulation(SceneOptions(), seed=3)
    yield simulation
    simulation.close()


@pytest.fixture(scope='module')
def sampler(tmp_path_factory):
    job = SceneJob(str(tmp_path_factory.mktemp('scenes')), 'alicia_d_sim', 96, 5_000_000)
    sampler = SceneSampler(job)
    yield sampler
    sampler._simulation.close()


def hue(image: np.ndarray, u: float, v: float) -> np.ndarray:
    """Return the mean colour of 3 x 3 pixels at shares of width and height."""
    row, column = int(v * image.shape[0]), int(u * image.shape[1])
    return image[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3).mean(0)


@pytest.mark.parametrize('camera', ['third_person', 'wrist'])
def test_a_point_in_sight_is_where_the_image_has_its_object(simulation, camera):
    image = simulation.render(camera, 240, 320)
    seen = 0
    for name in ('red block', 'green block', 'blue block'):
        u, v, visible = project(simulation, camera, simulation.object_pose(name).position, 4 / 3)
        if visible:
            seen += 1
            colour = np.array(COLOURS[name.split()[0]])
            assert np.argmax(hue(image, u, v)) == np.argmax(colour)
    assert seen >= 1


def test_what_is_behind_the_camera_or_hidden_is_not_in_sight(simulation):
    behind = np.array([2.0, 0.0, 0.5])
    assert project(simulation, 'third_person', behind, 4 / 3)[2] is False
    inside_the_table = np.array([0.25, 0.0, -0.3])
    assert project(simulation, 'third_person', inside_the_table, 4 / 3)[2] is False


def test_points_are_the_object_and_where_it_is_to_go(simulation):
    state = scene_state(simulation)
    red, blue = state.position('red block'), state.position('blue block')
    only, nowhere, first, second = attention_points(Reach('red block'), state, state)
    np.testing.assert_array_equal((only, first), (red, red))
    assert nowhere is second is None
    held, base, *_ = attention_points(Stack('red block', 'blue block'), state, state)
    np.testing.assert_array_equal((held, base), (red, blue))
    _, plate, *_ = attention_points(Place('red block'), state, state)
    np.testing.assert_array_equal(plate, state.position(PLATE_NAME))
    _, left, *_ = attention_points(Move('red block', 'left'), state, state)
    assert left[1] < red[1] - 0.05


def test_of_a_sequence_the_points_are_those_of_the_first_part_not_done(simulation):
    state = scene_state(simulation)
    steps = Sequence((Place('red block'), Place('blue block')))
    np.testing.assert_array_equal(
        attention_points(steps, state, state)[0], state.position('red block')
    )
    on_plate = dict(state.objects)
    height = np.array([0.0, 0.0, 0.016])
    plate = state.objects[PLATE_NAME]
    on_plate['red block'] = replace(plate, position=plate.position + height)
    later = replace(state, objects=on_plate, gripper=1.0)
    np.testing.assert_array_equal(
        attention_points(steps, later, state)[0], state.position('blue block')
    )
    for now in (state, later):
        both = now.position('red block'), now.position('blue block')
        np.testing.assert_array_equal(attention_points(steps, now, state)[2:], both)


def test_an_object_on_the_plate_is_done_while_the_hand_holds_the_next_one(simulation):
    state = scene_state(simulation)
    steps = Sequence((Place('red block'), Place('blue block')))
    objects, plate = dict(state.objects), state.objects[PLATE_NAME]
    on_plate = plate.position + np.array([0.0, 0.0, 0.016])
    objects['red block'] = replace(plate, position=on_plate)
    held = np.array([0.2, 0.1, 0.1])
    objects['blue block'] = replace(state.objects['blue block'], position=held)
    carrying = replace(state, objects=objects, gripper=0.4, tool=held)
    np.testing.assert_array_equal(attention_points(steps, carrying, state)[0], held)
    releasing = replace(carrying, tool=on_plate)
    np.testing.assert_array_equal(attention_points(steps, releasing, state)[0], on_plate)


def test_of_two_objects_half_of_the_instructions_begin_with_the_one_on_the_plate(simulation):
    state, rng = scene_state(simulation), np.random.default_rng(0)
    objects, plate = dict(state.objects), state.objects[PLATE_NAME]
    objects['red block'] = replace(plate, position=plate.position + np.array([0.0, 0.0, 0.016]))
    goals = [any_goal(replace(state, objects=objects), rng, 1.0) for _ in range(100)]
    assert {type(goal) for goal in goals} == {Sequence}
    assert 40 < sum(goal.target == 'red block' for goal in goals) < 90


def test_every_kind_of_goal_is_asked_and_can_be_said(simulation):
    state, rng = scene_state(simulation), np.random.default_rng(0)
    kinds = {type(any_goal(state, rng)) for _ in range(100)}
    assert kinds == {Reach, Move, Place, Stack, Sequence}


def test_kitchen_things_are_asked_onto_blocks_and_round_things_never():
    pose = Pose(np.zeros(3), np.eye(3))
    names = ('red duck', 'green spoon', 'blue ball', 'red cylinder', 'yellow block')
    state, rng = SceneState(np.ones(3), 1.0, dict.fromkeys(names, pose)), np.random.default_rng(0)
    goals = [any_goal(state, rng) for _ in range(200)]
    stacked = {goal.target for goal in goals if isinstance(goal, Stack)}
    assert stacked == {'red duck', 'green spoon'}


def test_images_of_an_episode_have_instructions_that_the_scene_can_do(sampler):
    made = list(sampler.episode(5_000_000))
    assert 1 < len(made) <= render_scenes.SAMPLES_PER_EPISODE
    images, points, texts = made[-1]
    assert images.shape == (2, 96, 96, 3) and images.dtype == np.uint8
    assert points.shape == (len(texts), 2, POINTS, 3)
    names = sampler._simulation.object_names
    assert all(parse_instruction(text, names) for text in texts)
    assert points[:, 0, 0, 2].any()


def test_the_same_seed_gives_the_same_images(sampler):
    first, again = (list(sampler.episode(5_000_007)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
        assert one[2] == other[2]


def test_shards_are_made_once_and_read_together(tmp_path, monkeypatch):
    monkeypatch.setattr(render_scenes, 'SAMPLES_PER_SHARD', 4)
    job = SceneJob(str(tmp_path), 'alicia_d_sim', 32, 5_000_000)
    made = make_scenes(job, 8, 1)
    assert made > 4
    assert make_scenes(job, 8, 1) == 0
    scenes = load_scenes(tmp_path)
    assert len(scenes.images) == len(scenes.points) == len(scenes.instructions) == made
    assert scenes.images.shape[1:] == (2, 32, 32, 3)


def test_bad_input_is_refused_in_one_line(tmp_path, capsys):
    with pytest.raises(DatasetError, match='no images'):
        load_scenes(tmp_path)
    contract = resolve_contract('alicia_d_sim')
    turned = replace(contract.cameras['wrist'], rotate=90)
    with pytest.raises(VLAAdapterError, match='camera wrist'):
        check_cameras(replace(contract, cameras={**contract.cameras, 'wrist': turned}))
    (tmp_path / 'scenes.json').write_text('{"robot": "other"}')
    assert main([str(tmp_path), '--images', '4']) == 1
    assert 'other settings' in capsys.readouterr().err
