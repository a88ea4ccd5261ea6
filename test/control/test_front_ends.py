# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
from dataclasses import replace

import numpy as np
import pytest

from support.motion_helpers import (
    HOME,
    chunk_to,
    line_from,
    ready,
    robot,
    slow_step,
)
from vla_adapter_ros.control.front_ends import StreamingFrontEnd, make_front_end
from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.robot.contract import RobotContract

OPENING = line_from(np.append(HOME[:-1], 0.0), np.append(np.full(6, 0.02), 0.125))


def planned(contract, goals=None):
    start = np.append(HOME[:-1], 0.0)
    scheduler = ready(start, contract=contract)
    plan = scheduler.accept(chunk_to(OPENING if goals is None else goals, 0.0), 0.0, start)
    assert plan is not None
    return scheduler, plan


def test_trajectories_carry_names_times_velocities_and_metres():
    _, plan = planned(robot())
    arm, gripper = make_front_end(robot()).on_plan(plan)
    assert arm.topic == 'Alicia_controller/joint_trajectory'
    assert arm.names == ('Joint1', 'Joint2', 'Joint3', 'Joint4', 'Joint5', 'Joint6')
    assert gripper.topic == 'Gripper_controller/joint_trajectory'
    assert gripper.names == ('Gripper',)
    for command in (arm, gripper):
        assert command.times[0] > 0.0 and (np.diff(command.times) > 0.0).all()
        assert command.positions.shape == command.velocities.shape
        assert len(command.times) == len(command.positions)
        assert not command.velocities[-1].any()
    # Closed (0.025 m) to open (0 m): the position falls while the fraction rises.
    assert gripper.positions[-1, 0] == pytest.approx(0.0, abs=1e-9)
    assert gripper.positions[0, 0] > 0.015
    assert gripper.velocities.min() < -0.01 and gripper.velocities.max() <= 1e-9


@pytest.mark.parametrize('name', ['alicia_d', 'alicia_d_standalone'])
def test_commands_carry_the_drivers_names(name):
    base = robot(name)
    joints = tuple(replace(j, driver_name=f'left_{j.name}') for j in base.joints)
    gripper = replace(base.gripper, driver_name='finger_joint')
    contract = replace(base, joints=joints, gripper=gripper)
    scheduler, plan = planned(contract)
    front_end = make_front_end(contract)
    sent = front_end.on_plan(plan) or [front_end.stream(scheduler, 0.0)]
    names = [name for command in sent for name in command.names]
    assert names == [*(f'left_Joint{i}' for i in range(1, 7)), 'finger_joint']


def test_first_point_is_not_so_near_that_a_late_controller_jerks():
    scheduler, _ = planned(robot())
    front_end = make_front_end(robot())
    for n in range(1, 30):
        now = 0.0203 * n
        here = scheduler.commanded(now)[0]
        plan = scheduler.accept(chunk_to(line_from(here, slow_step()), now), now, here)
        arm, gripper = front_end.on_plan(plan)
        assert arm.times[0] >= 0.04 and gripper.times[0] >= 0.04
        # Left out are knots of the old path only: the hand-over itself is always sent.
        assert np.isclose(arm.times, 0.05).any()


def test_trajectory_front_end_streams_nothing():
    front_end = make_front_end(robot())
    assert front_end.rate == 0.0
    assert front_end.stream(ready(), 0.0) is None


def test_stream_always_holds_all_joints_and_the_gripper_in_thousandths():
    contract = robot('alicia_d_standalone')
    scheduler, plan = planned(contract)
    front_end = make_front_end(contract)
    assert isinstance(front_end, StreamingFrontEnd) and front_end.rate == 50.0
    assert front_end.on_plan(plan) == []
    for now in np.arange(0.0, 2.0, 0.02):
        command = front_end.stream(scheduler, float(now))
        assert command.topic == 'joint_commands'
        assert command.names == contract.names and len(command.positions) == 7
        assert 0.0 <= command.positions[-1] <= 1000.0
    assert command.positions[-1] == pytest.approx(1000.0)
    assert command.positions[:-1] == pytest.approx(OPENING[-1, :-1])


def test_stream_gives_the_driver_a_speed_it_can_keep_up_with():
    contract = robot('alicia_d_standalone')
    scheduler, _ = planned(contract, line_from(np.append(HOME[:-1], 0.0), slow_step(0.08)))
    front_end = make_front_end(contract)
    position, velocity = scheduler.commanded(0.42)
    command = front_end.stream(scheduler, 0.40)
    assert command.positions[:-1] == pytest.approx(position[:-1])
    # The driver takes the largest: above what is needed, never zero, never far above the limit.
    assert command.velocities.max() > np.abs(velocity[:-1]).max()
    assert command.velocities.max() <= 1.5 * contract.max_velocity.max()
    still = front_end.stream(scheduler, 60.0)
    assert (still.velocities[:-1] > 0.0).all()


@pytest.mark.parametrize(
    ('name', 'fraction', 'expected'),
    [
        ('alicia_d', 1.0, 0.0),
        ('alicia_d', 0.0, 0.025),
        ('alicia_d', 0.6, 0.01),
        ('alicia_d', 1.3, 0.0),
        ('alicia_d_standalone', 1.0, 1000.0),
        ('alicia_d_standalone', 0.0, 0.0),
        ('alicia_d_standalone', -0.2, 0.0),
        ('generic_jtc', 0.25, 0.6),
    ],
)
def test_gripper_sign_and_unit_are_those_of_the_contract(name, fraction, expected):
    contract = robot(name)
    start = np.append(np.clip(HOME[:-1], contract.lower[:-1], contract.upper[:-1]), fraction)
    scheduler = ready(start, contract=contract)
    front_end = make_front_end(contract)
    if contract.front_end.kind == 'joint_commands':
        command = front_end.stream(scheduler, 0.0).positions[-1]
    else:
        command = front_end.on_plan(scheduler.hold(0.0))[1].positions[-1, 0]
    assert command == pytest.approx(expected)


def test_standalone_state_and_command_units_differ():
    contract = robot('alicia_d_standalone')
    assert contract.gripper.to_fraction(0.0) == 1.0
    assert contract.gripper.to_fraction(0.025) == 0.0


def test_another_robot_works_by_its_contract_alone():
    data = robot('generic_jtc').to_dict()
    data['joints'] = [dict(j, name=f'a{i}') for i, j in enumerate(data['joints'][:4])]
    data['joints'].append(dict(data['joints'][0], name='a4', lower=-1.0, upper=1.0))
    contract = RobotContract.from_dict(data)
    scheduler = ready(np.array([0, -0.5, 0, 0, 0, 1.0]), contract=contract)
    goals = np.tile([0.05, 0, 0, 0, 0.02, 0.0], (8, 1)) * np.arange(1, 9)[:, None]
    plan = scheduler.accept(chunk_to(goals, 0.0), 0.0, np.array([0, -0.5, 0, 0, 0, 1.0]))
    arm, gripper = make_front_end(contract).on_plan(plan)
    assert arm.names == ('a0', 'a1', 'a2', 'a3', 'a4')
    assert arm.positions[-1] == pytest.approx([0.4, -0.5, 0, 0, 0.16])
    assert gripper.positions[-1, 0] == pytest.approx(0.8)


def test_trajectory_front_end_without_gripper_topic_is_refused_on_load():
    data = robot().to_dict()
    data['front_end']['gripper_topic'] = ''
    with pytest.raises(ContractError, match='gripper_topic'):
        RobotContract.from_dict(data)
