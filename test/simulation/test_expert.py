# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The scripted expert solves the tasks, keeps the limits, and recovers."""

from dataclasses import replace

import numpy as np
import pytest

from vla_adapter_ros.errors import InstructionError, VLAAdapterError
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.simulation.arm_simulation import (
    READY_JOINTS,
    ArmSimulation,
    arm_kinematics,
    gripper_down,
)
from vla_adapter_ros.simulation.expert.expert import ExpertPolicy
from vla_adapter_ros.simulation.expert.waypoints import (
    DOWN_YAW,
    TRAVEL_HEIGHT,
    Hand,
    grasp_yaw,
)
from vla_adapter_ros.simulation.layout import WORKSPACE_X, WORKSPACE_Y, in_workspace
from vla_adapter_ros.simulation.session import TaskSession
from vla_adapter_ros.simulation.tasks import EVALUATED_TASKS, TASKS, make_task


@pytest.fixture(scope='module')
def simulation():
    with ArmSimulation() as arm:
        yield arm


def run(simulation, name, seed, execute_steps=1, disturb=None):
    """Return (solved, actions) of one episode."""
    session = TaskSession(simulation, make_task(name))
    expert = ExpertPolicy(simulation.object_poses)
    observation = session.reset(seed)
    actions, queue = [observation.proprioception], []
    while not session.over:
        if execute_steps == 1:
            action = expert.act(observation)
        else:
            if not queue:
                queue = list(expert.predict(observation).actions[:execute_steps])
            action = queue.pop(0)
        actions.append(action)
        if disturb is not None:
            disturb(session, expert, actions)
        if session.step(actions[-1]):
            return True, np.array(actions)
        observation = session.observe()
    return False, np.array(actions)


@pytest.mark.parametrize(
    'execute_steps',
    [1, pytest.param(4, marks=pytest.mark.slow(reason='between the two others')), 8],
)
@pytest.mark.parametrize('name', EVALUATED_TASKS)
def test_it_solves_every_task_stepwise_and_in_chunks(simulation, name, execute_steps):
    assert all(run(simulation, name, seed, execute_steps)[0] for seed in range(700, 704))


@pytest.mark.slow(reason='100 episodes of each task')
@pytest.mark.parametrize('name', EVALUATED_TASKS)
def test_it_solves_at_least_98_of_100_episodes(simulation, name):
    assert sum(run(simulation, name, seed)[0] for seed in range(100)) >= 98


@pytest.mark.parametrize('name', EVALUATED_TASKS)
def test_its_actions_keep_the_contract_limits(simulation, name):
    contract = resolve_contract('alicia_d')
    for seed in range(3):
        _, actions = run(simulation, name, seed)
        assert (actions >= contract.lower - 1e-6).all()
        assert (actions[1:] <= contract.upper + 1e-6).all()
        speed = np.diff(actions, axis=0) / contract.step_period
        assert (np.abs(speed) <= contract.max_velocity).all()
        acceleration = np.diff(speed[:, :6], axis=0) / contract.step_period
        assert (np.abs(acceleration) <= contract.max_acceleration[:6]).all()


def test_it_takes_straight_and_short_ways(simulation):
    """At most about twice as many steps as an arm at full speed on the shortest way needs."""
    lengths = {name: [len(run(simulation, name, seed)[1]) for seed in range(4)]
               for name in ('reach', 'pick_and_place')}  # fmt: skip
    assert np.mean(lengths['reach']) < 20
    assert np.mean(lengths['pick_and_place']) < 55
    assert all(max(steps) < TASKS[name].horizon / 1.5 for name, steps in lengths.items())


def test_it_recovers_from_noise_bursts(simulation):
    rng = np.random.default_rng(0)

    def disturb(session, expert, actions):
        if session.steps % 12 in (5, 6, 7):
            actions[-1] = actions[-1] + [*rng.normal(0, 0.03, 6), 0.0]
            expert.executed(actions[-1])

    assert sum(run(simulation, 'pick_and_place', s, disturb=disturb)[0] for s in range(8)) >= 7


@pytest.mark.parametrize('ahead', [0.025, 0.04, -0.025])
def test_an_open_hand_that_came_down_beside_the_object_slides_over_it(simulation, ahead):
    session = TaskSession(simulation, make_task('pick_and_place'))
    expert, solved = ExpertPolicy.of(simulation), 0
    for seed in range(5):
        session.reset(seed)
        target = session.task.goal.target
        item = simulation.object_pose(target)
        low = np.array([item.position[0] - ahead, item.position[1], 0.02])
        hand = Hand(low, DOWN_YAW, 1.0, simulation.object_poses())
        turned = gripper_down(grasp_yaw(hand, target))
        start, _ = arm_kinematics().solve(low, turned, np.array(READY_JOINTS))
        layout = replace(simulation.layout, start_joints=tuple(start), start_gripper=1.0)
        simulation.reset(layout=layout)
        expert.reset()
        heights, grasped = [], False
        while not session.over and not grasped:
            session.step(expert.act(session.observe()))
            heights.append(simulation.tool_pose().position[2])
            grasped = simulation.object_pose(target).position[2] > item.position[2] + 0.01
        before = heights[: int(np.argmin(heights)) + 1]
        solved += grasped and max(before) < 0.05 and len(heights) < 40
    assert solved >= 4


def test_it_picks_a_dropped_object_up_again(simulation):
    dropped = []

    def disturb(session, expert, actions):
        target = session.task.goal.target
        lifted = session.simulation.object_pose(target).position[2] > 0.08
        if lifted and not dropped:
            slot = session.simulation._slots[target]
            session.simulation.data.joint(slot).qpos[:3] = [0.22, 0.1, 0.03]
            session.simulation.data.joint(slot).qvel[:] = 0.0
            dropped.append(session.steps)

    solved, actions = run(simulation, 'stack', 1, disturb=disturb)
    assert dropped and solved
    assert len(actions) > dropped[0] + 20


def test_a_new_instruction_takes_effect_at_the_next_chunk(simulation):
    task = make_task('tabletop')
    task.reset(simulation, 2)
    expert = ExpertPolicy(simulation.object_poses)
    names = [item.name for item in simulation.scene_objects()]

    def end_of_chunk(name):
        observation = Observation({}, simulation.proprioception, f'reach the {name}', 0.0)
        return expert.predict(observation).actions[-1]

    kinematics = arm_kinematics()
    for name in names:
        position, _ = kinematics.tool_pose(end_of_chunk(name)[:6])
        gaps = {
            other: np.linalg.norm(simulation.object_pose(other).position[:2] - position[:2])
            for other in names
        }
        assert min(gaps, key=gaps.get) == name


def test_chunks_go_on_from_where_the_last_one_led(simulation):
    """Observed in the middle of its chunk, the expert neither stops nor turns back."""
    session = TaskSession(simulation, make_task('long_horizon'))
    expert = ExpertPolicy(simulation.object_poses)
    first = expert.predict(session.reset(4)).actions
    for action in first[:4]:
        session.step(action)
    second = expert.predict(session.observe()).actions
    np.testing.assert_allclose(second[0], first[4], atol=0.03)


@pytest.mark.parametrize('late', [-0.09, 0.0, 0.055, 0.09])
def test_an_arm_on_its_way_goes_on_in_time_when_images_are_late(simulation, late):
    """The stamp is that of the oldest image; the joints were measured later, or lag behind."""
    session = TaskSession(simulation, make_task('long_horizon'))
    expert = ExpertPolicy(simulation.object_poses)
    first = expert.predict(session.reset(4)).actions[:, :6]
    for action in first[:5]:
        session.step(np.append(action, 1.0))
    assert np.abs(first[5] - first[4]).max() > 0.07, 'in the middle of a fast motion'
    seen = session.observe()
    second = expert.predict(replace(seen, stamp=seen.stamp - late)).actions[:, :6]
    # first[i] is due at 0.1 (i + 1), second[0] at the stamp + 0.1.
    due = 0.6 - late
    on_time = [np.interp(due, 0.1 * np.arange(1, 9), joint) for joint in first.T]
    np.testing.assert_allclose(second[0], on_time, atol=0.03)


def at_the_object(simulation, gripper):
    """Return (expert, observation, object's position) of a hand around what it shall pick up."""
    task = make_task('pick_and_place')
    task.reset(simulation, 3)
    item = simulation.object_pose(task.goal.target).position
    ready, _ = arm_kinematics().solve(item, gripper_down(np.pi), np.array(READY_JOINTS))
    observation = Observation({}, np.array([*ready, gripper]), task.instruction, 0.0)
    return ExpertPolicy(simulation.object_poses), observation, item


def first_rising(actions, item):
    """Return the first step of a chunk that leaves an object's height."""
    heights = [arm_kinematics().tool_pose(action[:6])[0][2] for action in actions]
    return next(i for i, z in enumerate(heights) if z > item[2] + 0.006)


def test_the_arm_waits_in_its_chunk_until_the_fingers_hold(simulation):
    """The scheduler gives fingers time to start: an arm that rises at once leaves without."""
    expert, seen, item = at_the_object(simulation, gripper=1.0)
    actions = expert.predict(seen).actions
    rising = first_rising(actions, item)
    assert actions[rising - 1, 6] <= 0.45, 'two steps after the fingers touch it'


@pytest.mark.parametrize('behind', [2, 3])
def test_fingers_that_are_behind_the_plan_are_waited_for(simulation, behind):
    """The motion was slowed: the arm waits for fingers that have closed less than planned."""
    expert, seen, item = at_the_object(simulation, gripper=1.0)
    first = expert.predict(seen).actions
    np.testing.assert_allclose(first[:3, 6], [0.8, 0.6, 0.4])
    done = 3 - behind
    state = np.array([*seen.proprioception[:6], [1.0, *first[:, 6]][done]])
    actions = expert.predict(replace(seen, proprioception=state, stamp=0.3)).actions
    # What is left of closing (give or take a step): no finger opens again, the arm waits for it.
    np.testing.assert_allclose(actions[: 5 - done, 6], first[done:5, 6], atol=0.21)
    assert (np.diff(actions[:, 6]) <= 1e-9).all()
    assert first_rising(actions, item) >= first_rising(first, item) - done - 1


def test_fingers_that_press_on_an_object_go_on_pressing(simulation):
    expert, seen, item = at_the_object(simulation, gripper=0.7)
    first = expert.predict(seen).actions
    assert first[3, 6] == 0.0
    rise = arm_kinematics().tool_pose(first[3, :6])[0] - item
    poses = {
        name: replace(pose, position=pose.position + rise) if name in seen.instruction else pose
        for name, pose in simulation.object_poses().items()
    }
    held = replace(seen, proprioception=np.array([*first[3, :6], 0.6]), stamp=0.4)
    assert expert.predict(held, poses).actions[:, 6].max() == 0.0


def test_what_it_cannot_do_is_refused(simulation):
    observation = Observation({}, np.array([*READY_JOINTS, 1.0]), 'sing', 0.0)
    with pytest.raises(InstructionError, match='not understood'):
        ExpertPolicy(simulation.object_poses).predict(observation)
    with pytest.raises(VLAAdapterError, match='no object poses'):
        ExpertPolicy().predict(observation)


def test_the_whole_workspace_can_be_reached_with_the_gripper_down(simulation):
    kinematics = arm_kinematics()
    errors = []
    for x in np.linspace(*WORKSPACE_X, 7):
        for y in np.linspace(*WORKSPACE_Y, 9):
            if not in_workspace(x, y):
                continue
            for z in (0.014, 0.06, TRAVEL_HEIGHT):
                target = np.array([x, y, z])
                joints, error = kinematics.solve(
                    target, gripper_down(np.pi + 0.3), np.array(READY_JOINTS)
                )
                errors.append(error)
                limits = list(zip(simulation.action_lower, simulation.action_upper))[:6]
                assert all(low <= q <= high for q, (low, high) in zip(joints, limits))
    assert len(errors) > 120
    assert np.median(errors) < 3e-4
    assert max(errors) < 0.02


def test_gripper_down_is_the_ready_orientation():
    _, rotation = arm_kinematics().tool_pose(np.array(READY_JOINTS))
    np.testing.assert_allclose(rotation, gripper_down(np.pi), atol=2e-3)
