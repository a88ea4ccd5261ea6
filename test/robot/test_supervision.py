# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Section `supervision` of a contract: defaults, strict validation, and never compared."""

from __future__ import annotations

import pytest

from support.motion_helpers import changed_robot, robot
from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.supervision import Supervision


def test_a_contract_without_the_section_has_the_defaults_and_does_not_write_it():
    data = robot().to_dict()
    data.pop('supervision', None)
    contract = RobotContract.from_dict(data)
    assert contract.supervision == Supervision()
    assert 'supervision' not in contract.to_dict()


def test_stated_bounds_are_kept_and_no_difference_to_a_checkpoint():
    contract = changed_robot(supervision={'soft_tracking_error': 0.1, 'trip_after': 3})
    assert contract.supervision == Supervision(soft_tracking_error=0.1, trip_after=3)
    assert RobotContract.from_dict(contract.to_dict()) == contract
    assert contract.differences(robot()) == [] == robot().differences(contract)


@pytest.mark.parametrize(
    ('values', 'text'),
    [
        ({'lag': 0.0}, r'supervision.lag: got 0.0, expected a finite number in \(0, 2\]'),
        ({'lag': 'long'}, "supervision.lag: got 'long', expected a number"),
        ({'soft_tracking_eror': 0.1}, "unknown key 'soft_tracking_eror'; known keys: .*lag"),
        ({'hard_tracking_error': 0.05}, 'hard_tracking_error: got 0.05, expected more than soft'),
        ({'trip_after': -1}, r'trip_after: got -1, expected an integer in \[0, 10000\]'),
        ({'refuse_zeros_at_start': 1}, 'refuse_zeros_at_start: got 1, expected true or false'),
        ({'ramp_speed': 1.5}, r'ramp_speed: got 1.5, expected a finite number in \(0, 1\]'),
        ({'max_speed': float('nan')}, 'max_speed: got nan'),
        ([0.1], 'supervision: expected a mapping'),
    ],
)
def test_a_value_that_is_not_allowed_is_named(values, text):
    with pytest.raises(ContractError, match=text):
        changed_robot(supervision=values)


def test_the_values_that_the_annotated_contract_states_are_the_defaults():
    assert robot().supervision == Supervision()
