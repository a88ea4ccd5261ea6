# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Poses of cameras in a contract: read, refused, kept, and never compared."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.robot.camera_pose import parse_pose, quaternion_of
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract
from vla_adapter_ros.robot.sections import Section
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation

GOOD = {'parent': 'base_link', 'xyz': [0.8, 0, 0.5], 'rpy': [-2.2, 0, 1.5]}


def pose(**changes):
    data = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    return parse_pose(Section(data, 'pose'))


def rotation(quaternion):
    matrix = np.empty(9)
    x, y, z, w = quaternion
    mujoco.mju_quat2Mat(matrix, np.array([w, x, y, z]))
    return matrix.reshape(3, 3)


def about(axis, angle):
    """Rotation (3, 3) about a fixed axis, from its definition."""
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[[i, j], [i, j]] = np.cos(angle)
    matrix[j, i], matrix[i, j] = np.sin(angle), -np.sin(angle)
    return matrix


@pytest.mark.parametrize('angles', [(0.3, 0, 0), (0, -0.4, 0), (0, 0, 2.5), (-2.2, 0.7, 1.3)])
def test_angles_are_about_fixed_axes_as_in_a_urdf(angles):
    expected = about(2, angles[2]) @ about(1, angles[1]) @ about(0, angles[0])
    np.testing.assert_allclose(rotation(quaternion_of(*angles)), expected, atol=1e-12)


def test_rounded_quaternion_becomes_a_unit_one_and_survives_a_round_trip():
    found = pose(rpy=None, quaternion=[0.5, 0.5, 0.5, 0.4999])
    assert np.linalg.norm(found.quaternion) == pytest.approx(1.0, abs=1e-12)
    assert parse_pose(Section(found.to_dict(), 'pose')) == found


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'parent': None}, "key 'parent' is missing"),
        ({'parent': '/base_link'}, "pose.parent: got '/base_link', expected the name of a frame"),
        ({'parent': 'base link'}, 'expected the name of a frame'),
        ({'xyz': [780, -160, 460]}, 'expected metres, at most 10 m'),
        ({'xyz': [0.1, 0.2]}, 'a list of 3 finite numbers'),
        ({'rpy': None}, 'expected either rpy or quaternion'),
        ({'quaternion': [0, 0, 0, 1]}, 'expected either rpy or quaternion'),
        ({'rpy': None, 'quaternion': [0, 0, 0, 2]}, 'expected [x, y, z, w] of length 1'),
        ({'rpy': [0, 0, float('nan')]}, 'a list of 3 finite numbers'),
        ({'orientation': 1}, "unknown key 'orientation'"),
    ],
)
def test_mistakes_are_refused_by_key_value_and_what_is_allowed(change, said):
    with pytest.raises(ContractError) as error:
        pose(**change)
    assert said in str(error.value)


def test_contract_keeps_poses_and_does_not_compare_them():
    contract = resolve_contract('alicia_d_sim')
    data = contract.to_dict()
    assert RobotContract.from_dict(data) == contract
    bare = replace(
        contract, cameras={n: replace(c, pose=None) for n, c in contract.cameras.items()}
    )
    assert all('pose' not in camera for camera in bare.to_dict()['cameras'].values())
    assert contract.differences(bare) == bare.differences(contract) == []


@pytest.mark.parametrize('camera', ['third_person', 'wrist'])
def test_poses_of_the_simulated_robot_are_those_of_its_scene(camera):
    with ArmSimulation(seed=1) as simulation:
        model, data = simulation.model, simulation.data
        mujoco.mj_forward(model, data)
        spec = resolve_contract('alicia_d_sim').cameras[camera].pose
        site = model.site('tool0').id
        parents = {
            'base_link': (data.body('base_link').xpos, data.body('base_link').xmat),
            'tool0': (data.site_xpos[site], data.site_xmat[site]),
        }
        origin, axes = (np.array(part) for part in parents[spec.parent])
        axes, index = axes.reshape(3, 3), model.camera(camera).id
        # MuJoCo's cameras look along -z with y up, optical frames along z with y down.
        optical = data.cam_xmat[index].reshape(3, 3) @ np.diag([1.0, -1.0, -1.0])
        np.testing.assert_allclose(axes.T @ (data.cam_xpos[index] - origin), spec.xyz, atol=1e-6)
        np.testing.assert_allclose(axes.T @ optical, rotation(spec.quaternion), atol=1e-6)
