# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
from types import SimpleNamespace

import pytest

from support.motion_helpers import robot
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.teaching.jogging import JOINT_STEP, KeyJogger


def jogger(name):
    """A key jogger, and the list of joint steps that it asks for."""
    steps = []
    motion = SimpleNamespace(
        contract=robot(name), jog_joint=lambda joint, step, now: steps.append((joint, step))
    )
    return KeyJogger(motion), steps


def test_every_joint_of_a_seven_joint_arm_has_keys():
    keys, steps = jogger('franka')
    for plus in 'qwertyY':
        assert keys.press(plus, 0.0)
    assert steps == [(joint, JOINT_STEP) for joint in range(7)]
    assert keys.press('H', 0.0) and steps[-1] == (6, -JOINT_STEP)


def test_a_key_of_a_joint_that_the_arm_does_not_have_says_so():
    keys, steps = jogger('so101')
    with pytest.raises(VLAAdapterError, match='this arm has 5 joints'):
        keys.press('y', 0.0)
    assert steps == []
