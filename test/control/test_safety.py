# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
from dataclasses import replace

import numpy as np
import pytest

from support.motion_helpers import (
    HOME,
    ROBOTS,
    assert_within_limits,
    changed_robot,
    chunk_to,
    line_from,
    ready,
    robot,
    run_loop,
    slow_step,
    supervised,
)
from vla_adapter_ros.control.safety import SafetyFilter
from vla_adapter_ros.motion.plan import JointPlan
from vla_adapter_ros.motion.plan_check import CLAMPED, OK, TRIP
from vla_adapter_ros.robot.kinematics import Kinematics

GOOD = line_from(HOME, slow_step())


def test_good_targets_pass_unchanged():
    verdict = SafetyFilter(robot()).check_targets(GOOD, HOME)
    assert verdict.state == OK and not verdict.reasons and verdict.velocity_scale == 1.0
    assert verdict.targets == pytest.approx(GOOD)


def test_targets_beyond_limits_are_clamped_with_joint_and_values():
    safety = SafetyFilter(robot())
    goals = GOOD.copy()
    goals[5:, 1] = 1.7
    goals[2, 6] = -0.01
    verdict = safety.check_targets(goals, HOME)
    assert verdict.state == CLAMPED
    assert any('Joint2 target 1.700 outside [-1.570, 1.570]' in r for r in verdict.reasons)
    assert verdict.targets[6, 1] <= 1.57 and verdict.targets[2, 6] == 0.0
    assert safety.limit_clamps.tolist() == [0, 3, 0, 0, 0, 0, 1]


def test_steps_too_large_are_clamped_and_counted():
    safety = SafetyFilter(supervised(max_step=0.4))
    goals = np.tile(HOME, (8, 1))
    goals[4:, 0] = 1.0
    verdict = safety.check_targets(goals, HOME)
    assert verdict.reasons == ('Joint1 step 1.00 rad > 0.40 rad',)
    assert verdict.targets[:, 0] == pytest.approx([0, 0, 0, 0, 0.4, 0.8, 1.0, 1.0])
    assert safety.step_clamps[0] == 2


def test_far_first_target_is_approached_slowly():
    safety = SafetyFilter(robot())
    goals = GOOD + np.array([1.0, 0, 0, 0, 0, 0, 0])
    verdict = safety.check_targets(goals, HOME)
    assert verdict.state == CLAMPED and verdict.velocity_scale == pytest.approx(0.2)
    assert 'approaching at 20% speed' in verdict.reasons[0]
    scheduler = ready(safety=SafetyFilter(robot()))
    plan = scheduler.accept(chunk_to(goals, 0.0), 0.0, HOME)
    assert plan is not None
    moments = np.linspace(plan.start, plan.end, 400)
    assert np.abs(plan.arm.sample_many(moments)[1]).max() <= 0.2 * 1.001


def test_fast_robot_is_not_slowed_by_its_own_steps():
    joints = [dict(j, max_velocity=6.0) for j in robot().to_dict()['joints']]
    safety = SafetyFilter(changed_robot(joints=joints))
    goals = line_from(HOME, np.array([0.5, 0, 0, 0, 0, 0, 0]), 4)
    assert safety.check_targets(goals, HOME).state == OK


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_targets_that_are_not_finite_trip(value):
    safety = SafetyFilter(robot())
    goals = GOOD.copy()
    goals[3, 2] = value
    assert safety.check_targets(goals, HOME).state == TRIP
    assert safety.tripped


def test_trip_latches_keeps_the_first_cause_and_needs_clear():
    safety = SafetyFilter(robot())
    safety.trip('joint state frozen')
    safety.trip('something later')
    verdict = safety.check_targets(GOOD, HOME)
    assert verdict.state == TRIP and verdict.reasons == ('joint state frozen',)
    assert verdict.targets is None
    scheduler = ready(safety=safety)
    assert scheduler.accept(chunk_to(GOOD, 0.0), 0.0, HOME) is None
    assert scheduler.last_refusal == 'joint state frozen'
    assert safety.clear() == 'joint state frozen'
    assert safety.check_targets(GOOD, HOME).state == OK
    assert safety.clear() == ''


def test_policy_that_is_persistently_out_of_range_trips():
    safety = SafetyFilter(supervised(trip_after=3, max_step=6.0))
    goals = GOOD + np.array([0, 3.0, 0, 0, 0, 0, 0])
    states = [safety.check_targets(goals, HOME).state for _ in range(3)]
    assert states == [CLAMPED, CLAMPED, TRIP]
    assert 'Joint2' in safety.trip_reason
    safety.clear()
    # A good chunk in between restarts the count.
    states = [safety.check_targets(g, HOME).state for g in (goals, goals, GOOD, goals)]
    assert TRIP not in states


@pytest.fixture(scope='module')
def kinematics():
    pytest.importorskip('pinocchio')
    return Kinematics.of(robot(), ROBOTS)


def boxed(low_z):
    return replace(robot(), workspace=((-0.65, -0.65, low_z), (0.65, 0.65, 0.85)))


def test_motion_stops_where_the_tool_would_leave_the_workspace(kinematics):
    start = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    down = line_from(start, np.array([0, 0, -0.05, 0, 0, 0, 0]))
    heights = kinematics.tool_positions(down[:, :-1])[:, 2]
    floor = float(heights[3] + heights[4]) / 2.0
    safety = SafetyFilter(boxed(floor), kinematics=kinematics)
    verdict = safety.check_targets(down, start)
    assert verdict.state == CLAMPED and 'leaves the workspace' in verdict.reasons[0]
    assert kinematics.tool_positions(verdict.targets[:, :-1])[:, 2].min() >= floor
    assert verdict.targets[3] == pytest.approx(down[3])


def test_arm_outside_the_workspace_may_come_back(kinematics):
    start = np.array([0.0, 0.0, -0.4, 0.0, 0.0, 0.0, 1.0])
    floor = float(kinematics.tool_positions(start[None, :-1])[0, 2]) + 0.05
    safety = SafetyFilter(boxed(floor), kinematics=kinematics)
    up = line_from(start, np.array([0, 0, 0.05, 0, 0, 0, 0]))
    assert safety.check_targets(up, start).state == OK
    down = line_from(start, np.array([0, 0, -0.01, 0, 0, 0, 0]))
    assert safety.check_targets(down, start).targets[:, 2] == pytest.approx(start[2])


def test_path_between_two_targets_inside_may_not_leave_the_workspace(kinematics):
    start = np.array([-1.5, 0.0, 1.2, 0.0, 0.0, 0.0, 1.0])
    end = start * np.array([-1, 1, 1, 1, 1, 1, 1])
    reach = kinematics.tool_positions(np.zeros((1, 6)) + start[:-1] * [0, 1, 1, 1, 1, 1])[0]
    wall = float(reach[0]) - 0.1
    contract = replace(robot(), workspace=((-0.65, -0.65, 0.0), (wall, 0.65, 0.85)))
    safety = SafetyFilter(supervised(contract, max_step=6.0), kinematics)
    scheduler = ready(start, contract=contract, safety=safety)
    plan = scheduler.accept(chunk_to(np.tile(end, (8, 1)), 0.0), 0.0, start)
    assert plan is None
    assert 'leaves the workspace' in scheduler.last_refusal
    assert scheduler.dropped['unsafe'] == 8


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'velocities': 3.0}, 'velocity'),
        ({'positions': 9.0}, 'Joint1'),
        ({'positions': np.nan}, 'not finite'),
    ],
)
def test_plan_that_breaks_a_limit_is_not_executed(change, text):
    scheduler = ready()
    plan = scheduler.accept(chunk_to(GOOD, 0.0), 0.0, HOME)
    safety = SafetyFilter(robot())
    assert safety.check_plan(plan) is None
    ((name, value),) = change.items()
    array = getattr(plan.arm, name).copy()
    array[2, 0] = value
    assert text in safety.check_plan(replace(plan, arm=replace(plan.arm, **{name: array})))


def test_plan_with_bad_times_or_no_stop_is_not_executed():
    safety = SafetyFilter(robot())
    plan = ready().plan
    still = plan.arm
    backward = JointPlan(0.0, np.array([0.0, 0.0]), still.positions, still.velocities)
    assert 'strictly increasing' in safety.check_plan(replace(plan, arm=backward))
    moving = JointPlan(0.0, still.times, still.positions, still.velocities + 0.1)
    assert 'end at rest' in safety.check_plan(replace(plan, arm=moving))


@pytest.mark.parametrize('seed', range(3))
def test_random_actions_never_leave_limits_or_workspace(seed, kinematics):
    rng = np.random.default_rng(seed)
    safety = SafetyFilter(supervised(trip_after=0), kinematics)
    scheduler = ready(safety=safety, execute_steps=2)
    record = run_loop(
        scheduler,
        lambda now, n: rng.uniform(-4.0, 4.0, (8, 7)),
        latency=lambda n: 0.1,
        seconds=10.0,
        tick=0.01,
    )
    assert_within_limits(record, robot())
    points = kinematics.tool_positions(np.array(record.positions)[::5, :-1])
    lower, upper = (np.array(corner) for corner in robot().workspace)
    assert (points >= lower - 0.021).all() and (points <= upper + 0.021).all()
    assert safety.limit_clamps.sum() > 0
