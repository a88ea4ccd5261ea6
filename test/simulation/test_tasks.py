# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Tasks are reproducible, solvable from their start, and decide success by what happened."""

from dataclasses import replace

import numpy as np
import pytest

from vla_adapter_ros.errors import InstructionError, VLAAdapterError
from vla_adapter_ros.robot.camera_spec import CameraSpec
from vla_adapter_ros.simulation.arm_simulation import (
    ArmSimulation,
    Pose,
    arm_kinematics,
    gripper_down,
)
from vla_adapter_ros.simulation.goals import (
    Move,
    Order,
    Place,
    Reach,
    SceneState,
    Sequence,
    Stack,
    acted_on,
    scene_state,
)
from vla_adapter_ros.simulation.instructions import parse_instruction
from vla_adapter_ros.simulation.session import TaskSession
from vla_adapter_ros.simulation.tasks import (
    EVALUATED_TASKS,
    SETTLE_STEPS,
    TASKS,
    TaskOptions,
    make_task,
    task_title,
)


@pytest.fixture(scope='module')
def simulation():
    with ArmSimulation() as arm:
        yield arm


def snapshot(simulation):
    poses = simulation.object_poses()
    return {name: (pose.position, pose.yaw) for name, pose in poses.items()}


def moved(state, name, position):
    return replace(state, objects={**state.objects, name: Pose(np.array(position), np.eye(3))})


def table(**objects):
    poses = {name.replace('_', ' '): Pose(np.array(p, float), np.eye(3)) for name, p in
             objects.items()}  # fmt: skip
    return SceneState(np.array([0.25, 0.0, 0.13]), 1.0, poses)


def test_a_sequence_counts_in_its_order_only():
    blocks = {'red_block': (0.3, -0.1, 0.016), 'blue_block': (0.3, 0.1, 0.016)}
    start = table(**blocks, plate=(0.2, 0.0, 0.006))
    goal = Sequence((Place('red block'), Place('blue block')))
    red = moved(start, 'red block', (0.22, 0.0, 0.022))
    blue = moved(start, 'blue block', (0.18, 0.0, 0.022))
    both = moved(red, 'blue block', (0.18, 0.0, 0.022))
    for then, kept in ((red, True), (blue, False)):
        order = Order()
        for state in (start, then, both):
            order.look(goal, state, start)
        assert goal.done(both, start) and order.kept is kept


@pytest.mark.parametrize('name', TASKS)
def test_a_seed_gives_the_same_episode(simulation, name):
    task = make_task(name)
    first = task.reset(simulation, 11), snapshot(simulation), simulation.positions
    other = task.reset(simulation, 12), snapshot(simulation), simulation.positions
    again = task.reset(simulation, 11), snapshot(simulation), simulation.positions
    assert first[0] == again[0]
    assert str(first[1]) == str(again[1])
    np.testing.assert_array_equal(first[2], again[2])
    assert str(first[1]) != str(other[1])


@pytest.mark.parametrize('name', EVALUATED_TASKS)
def test_no_episode_begins_done_and_each_instruction_means_its_goal(simulation, name):
    task = make_task(name)
    for seed in range(40):
        instruction = task.reset(simulation, seed)
        assert parse_instruction(instruction, simulation.object_names) == task.goal
        assert set(task.goal.names) <= set(simulation.object_names)
        assert not task.success(simulation)
        assert len(simulation.scene_objects()) == task.spec.needed + task.options.distractors


def test_instructions_name_every_colour_and_both_directions(simulation):
    task = make_task('move')
    goals = []
    for seed in range(60):
        task.reset(simulation, seed)
        goals.append(task.goal)
    assert {goal.target for goal in goals} == {
        'red block', 'green block', 'blue block', 'yellow block'
    }  # fmt: skip
    assert {goal.direction for goal in goals} == {'left', 'right'}


def test_options_set_distractors_wording_and_start(simulation):
    task = make_task('reach', TaskOptions(distractors=0, random_wording=False, start_spread=0.0))
    texts = {task.reset(simulation, seed).rsplit(' ', 2)[0] for seed in range(20)}
    assert texts == {'reach the'}
    assert len(simulation.scene_objects()) == 1
    ready = simulation.positions
    task.reset(simulation, 99)
    np.testing.assert_array_equal(simulation.positions, ready)


def test_reach_needs_the_tool_low_over_the_named_object():
    state = table(red_block=(0.3, 0.1, 0.016), blue_block=(0.3, -0.1, 0.016))
    over = replace(state, tool=np.array([0.3, 0.1, 0.07]))
    assert Reach('red block').done(over, state)
    assert not Reach('blue block').done(over, state)
    assert not Reach('red block').done(replace(over, tool=np.array([0.3, 0.1, 0.12])), state)
    assert acted_on(over, state, Reach('blue block')) == 'red block'
    assert acted_on(state, state, Reach('blue block')) is None


def test_move_needs_the_right_direction_and_distance():
    state = table(red_block=(0.3, 0.0, 0.016), blue_block=(0.2, -0.1, 0.016))
    left = moved(state, 'red block', (0.3, -0.07, 0.016))
    assert Move('red block', 'left').done(left, state)
    assert not Move('red block', 'right').done(left, state)
    assert not Move('blue block', 'left').done(left, state)
    assert not Move('red block', 'left').done(
        moved(state, 'red block', (0.3, -0.05, 0.016)), state
    )
    assert not Move('red block', 'left').done(moved(state, 'red block', (0.3, -0.07, 0.1)), state)
    assert not Move('red block', 'left').done(
        moved(state, 'red block', (0.36, -0.07, 0.016)), state
    )
    assert acted_on(left, state, Move('blue block', 'left')) == 'red block'


def test_place_and_stack_need_the_object_at_rest_height_and_let_go():
    state = table(
        red_block=(0.3, 0.1, 0.016), blue_block=(0.3, -0.1, 0.016), plate=(0.2, 0, 0.006)
    )
    placed = moved(state, 'red block', (0.22, 0.03, 0.022))
    assert Place('red block').done(placed, state)
    assert not Place('red block').done(replace(placed, gripper=0.62), state)
    assert not Place('red block').done(moved(state, 'red block', (0.22, 0.03, 0.05)), state)
    assert not Place('red block').done(moved(state, 'red block', (0.28, 0.0, 0.016)), state)
    stacked = moved(state, 'red block', (0.305, -0.095, 0.048))
    assert Stack('red block', 'blue block').done(stacked, state)
    assert not Stack('blue block', 'red block').done(stacked, state)
    assert not Stack('red block', 'blue block').done(replace(stacked, gripper=0.6), state)


def test_success_must_last(simulation):
    task = make_task('reach')
    task.reset(simulation, 0)
    name = task.goal.target
    # Put the object under the tool, and the tool low.
    simulation.data.joint(simulation._slots[name]).qpos[:2] = [0.28, 0.0]
    joints, _ = arm_kinematics().solve(
        np.array([0.28, 0.0, 0.07]), gripper_down(np.pi), simulation.positions[:6]
    )
    simulation.data.qpos[:6] = joints
    assert task.success(simulation)
    answers = [task.settled(simulation) for _ in range(SETTLE_STEPS)]
    assert answers == [False] * (SETTLE_STEPS - 1) + [True]


def test_an_instruction_at_run_time_counts_from_then_on(simulation):
    task = make_task('tabletop')
    assert task.reset(simulation, 3) == ''
    assert not task.success(simulation)
    name = simulation.object_names[0]
    task.set_instruction(simulation, f'move the {name} to the left')
    joint = simulation.data.joint(simulation._slots[name])
    joint.qpos[1] -= 0.07
    assert task.success(simulation)
    task.set_instruction(simulation, f'move the {name} to the left')
    assert not task.success(simulation)
    with pytest.raises(InstructionError, match='on the table: '):
        task.set_instruction(simulation, 'dance')
    assert task.instruction == f'move the {name} to the left'


def test_each_task_has_a_title_of_its_own_for_people():
    titles = [task_title(name) for name in TASKS]
    assert len(set(titles)) == len(TASKS) and not any('_' in title for title in titles)
    assert task_title('long_horizon') == 'two objects, in order'
    assert task_title('of_somebody') == 'of_somebody'


def test_unknown_tasks_are_refused():
    with pytest.raises(VLAAdapterError, match='known tasks: reach, move'):
        make_task('juggle')


def test_a_session_moves_the_arm_to_the_action_and_counts_steps(simulation):
    session = TaskSession(
        simulation, make_task('reach'),
        {'third_person': CameraSpec(64, 48, 0, 'fixed'),
         'wrist': CameraSpec(64, 48, 0, 'wrist', crop=(8, 0, 40, 48))},
    )
    observation = session.reset(5)
    assert list(observation.images) == ['third_person', 'wrist']
    assert observation.images['wrist'].shape == (48, 40, 3)
    assert observation.proprioception[6] == pytest.approx(1.0, abs=0.01)
    action = observation.proprioception + np.array([0.05, 0.05, -0.05, 0.05, 0.05, 0.05, -0.2])
    session.step(action)
    after = session.observe()
    assert after.stamp == pytest.approx(0.1)
    np.testing.assert_allclose(after.proprioception, action, atol=0.02)
    assert scene_state(simulation).gripper == pytest.approx(0.8, abs=0.02)
    with pytest.raises(VLAAdapterError, match='expected 7 finite numbers'):
        session.step(np.full(7, np.nan))
    assert session.steps == 1


def test_objects_may_share_colours_and_differ_in_shape(simulation):
    task, firsts = make_task('long_horizon', TaskOptions(alike=1.0)), set()
    for seed in range(6):
        task.reset(simulation, seed)
        things = [name.split() for name in simulation.object_names if name != 'plate']
        assert len({colour for colour, _ in things}) == 2
        assert len({tuple(thing) for thing in things}) == len(things) == 4
        assert sum(shape == 'block' for _, shape in things) == 2
        first, second = (part.target.split()[0] for part in task.goal.goals)
        firsts.add(first == second)
    assert firsts == {True, False}  # what is asked for is drawn among all of them
