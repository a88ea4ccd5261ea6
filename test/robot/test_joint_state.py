# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
from array import array

import numpy as np
import pytest

from support.motion_helpers import robot
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.robot.joint_state import JointStateReader

NAMES = [*robot().joint_names, 'Gripper']
VALUES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.005]


def read(names, values):
    return JointStateReader(robot()).read(names, values)


def test_state_is_in_contract_order_with_open_fraction():
    state = read(NAMES, array('d', VALUES))
    assert state == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8])
    assert state.dtype == np.float64


def test_any_order_and_other_joints_are_fine():
    order = [3, 6, 0, 5, 1, 4, 2]
    names = ['spare', *(NAMES[i] for i in order)]
    values = [9.0, *(VALUES[i] for i in order)]
    assert read(names, values) == pytest.approx(read(NAMES, VALUES))


def test_order_may_change_from_message_to_message():
    reader = JointStateReader(robot())
    first = reader.read(NAMES, VALUES)
    assert reader.read(NAMES[::-1], VALUES[::-1]) == pytest.approx(first)
    assert reader.read(NAMES, VALUES) == pytest.approx(first)


def test_gripper_a_little_past_open_is_kept_as_measured():
    assert read(NAMES, [*VALUES[:-1], -0.00025])[-1] == pytest.approx(1.01)


@pytest.mark.parametrize(
    ('names', 'values', 'message'),
    [
        (NAMES[:3] + NAMES[4:6], VALUES[:5], 'missing Joint4, Gripper; got Joint1'),
        ([], [], 'got no joints'),
        ([n.lower() for n in NAMES], VALUES, 'missing Joint1'),
        (NAMES, VALUES[:-1], '7 names but 6 positions'),
        (NAMES, [], '7 names but 0 positions'),
        (NAMES, [*VALUES[:2], float('nan'), *VALUES[3:]], 'Joint3 is nan'),
        (NAMES, [*VALUES[:-1], float('inf')], 'Gripper is inf'),
        ([*NAMES, 'Joint2'], [*VALUES, 0.0], 'Joint2 named more than once'),
    ],
)
def test_bad_state_is_refused_in_one_line_that_names_the_joint(names, values, message):
    with pytest.raises(ObservationError) as error:
        read(names, values)
    assert message in str(error.value) and '\n' not in str(error.value)


def test_bad_message_does_not_spoil_the_next():
    reader = JointStateReader(robot())
    reader.read(NAMES, VALUES)
    with pytest.raises(ObservationError):
        reader.read(NAMES[:4], VALUES[:4])
    assert reader.read(NAMES, VALUES)[0] == pytest.approx(0.1)
