# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The expert behind the node speaks every action space of the contract."""

import dataclasses

import numpy as np
import pytest

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.action_space import ActionConverter
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation, arm_kinematics
from vla_adapter_ros.simulation.expert.chunks import ExpertChunks
from vla_adapter_ros.simulation.tasks import make_task


@pytest.fixture(scope='module')
def contract():
    return resolve_contract('alicia_d')


@pytest.fixture(scope='module')
def scene():
    with ArmSimulation() as arm:
        make_task('tabletop').reset(arm, 1)
        name = arm.object_names[0]
        observation = Observation({}, arm.proprioception, f'push the {name} to the left', 0.0)
        yield observation, arm.object_poses()


def chunk(contract, scene, space):
    expert = ExpertChunks(dataclasses.replace(contract, action_space=space))
    expert.see(scene[1])
    return expert.predict(scene[0]).actions


@pytest.mark.parametrize('space', ['joint_delta', 'ee_delta'])
def test_every_action_space_means_the_same_motion(contract, scene, space):
    absolute = chunk(contract, scene, 'joint_position')
    actions = chunk(contract, scene, space)
    assert absolute.shape == actions.shape == (8, 7)
    assert np.abs(absolute - actions).max() > 0.1
    kinematics = None
    if space == 'ee_delta':
        kinematics = arm_kinematics()
    converter = ActionConverter(dataclasses.replace(contract, action_space=space), kinematics)
    targets = converter.to_targets(actions, scene[0].proprioception)
    np.testing.assert_allclose(targets, absolute, atol=2e-3)


def test_without_object_poses_it_says_so(contract, scene):
    with pytest.raises(VLAAdapterError, match='no object poses yet'):
        ExpertChunks(contract).predict(scene[0])


def test_another_robot_or_rate_is_refused(contract):
    with pytest.raises(VLAAdapterError, match=r'step_period 0\.05, expected 0\.1'):
        ExpertChunks(dataclasses.replace(contract, step_period=0.05))
    with pytest.raises(VLAAdapterError, match='the contract has Joint1, Gripper'):
        ExpertChunks(dataclasses.replace(contract, joints=contract.joints[:1]))
