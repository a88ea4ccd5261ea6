# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The home pose of a contract: both forms, what is refused, and that checkpoints ignore it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from support.motion_helpers import robot
from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.robot.contract import RobotContract

ARM = {f'Joint{i}': 0.1 * i for i in range(1, 7)}


def with_home(home):
    data = copy.deepcopy(robot().to_dict())
    data.pop('home', None)
    return RobotContract.from_dict(data if home is None else {**data, 'home': home})


def test_without_a_gripper_value_the_gripper_stays_as_it_is():
    contract = with_home(ARM)
    state = np.linspace(-0.3, 0.3, 7)
    assert contract.home_from(state).tolist() == [*ARM.values(), state[-1]]


def test_a_list_is_in_contract_order_with_the_gripper_last():
    contract = with_home([*ARM.values(), 0.5])
    assert contract.home_from(np.zeros(7)).tolist() == [*ARM.values(), 0.5]
    assert RobotContract.from_dict(contract.to_dict()) == contract


def test_a_contract_without_home_has_none_and_a_checkpoint_does_not_care():
    contract = with_home(None)
    assert contract.home_from(np.zeros(7)) is None
    assert 'home' not in contract.to_dict()
    assert contract.differences(with_home(ARM)) == []


@pytest.mark.parametrize(
    ('home', 'said'),
    [
        ({**ARM, 'Joint2': 1.7}, 'expected Joint2 in [-1.57, 1.57]'),
        ({**ARM, 'Gripper': 1.2}, 'expected Gripper in [0, 1]'),
        ({**ARM, 'Joint7': 0.0}, "contract.home: unknown key 'Joint7'"),
        ({'Joint1': 0.0}, "contract.home: key 'Joint2' is missing"),
        ([0.0] * 6, 'expected a list of 7 finite numbers'),
        ({**ARM, 'Joint3': float('nan')}, 'contract.home.Joint3: got nan'),
        ('zero', 'contract.home: expected a mapping'),
    ],
)
def test_a_bad_home_is_refused_by_name(home, said):
    with pytest.raises(ContractError) as error:
        with_home(home)
    assert said in str(error.value)


@pytest.mark.parametrize('name', ['alicia_d', 'alicia_d_sim', 'alicia_d_standalone'])
def test_the_shipped_home_is_inside_the_workspace(name):
    contract = robot(name)
    pytest.importorskip('pinocchio')
    from vla_adapter_ros.robot.contract import contract_path
    from vla_adapter_ros.robot.kinematics import Kinematics

    home = contract.home_from(np.ones(7))
    assert home[-1] == 1.0
    tool = Kinematics.of(contract, contract_path(name).parent).tool_positions(home[None, :-1])
    assert contract.distance_outside_workspace(tool)[0] == 0.0
    assert tool[0] == pytest.approx([0.235, 0.0, 0.13], abs=0.01)
