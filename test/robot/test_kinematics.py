# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
import builtins
import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from support.motion_helpers import ROBOTS, changed_robot, robot
from vla_adapter_ros.robot.contract import RobotContract, load_contract
from vla_adapter_ros.robot.kinematics import Kinematics, KinematicsError


@pytest.fixture(scope='module')
def arm():
    pytest.importorskip('pinocchio')
    return Kinematics.of(robot(), ROBOTS)


def test_tool_of_the_zero_pose_is_where_the_vendor_says(arm):
    assert arm.tool_positions(np.zeros((1, 6)))[0] == pytest.approx([0.313, 0, 0.108], abs=1e-3)


def test_the_arm_goes_from_the_base_through_its_joints_to_the_tool(arm):
    joints = np.array([0.3, 0.2, 0.5, -0.4, 0.6, 0.1])
    places = arm.arm_positions(joints)
    assert places.shape == (8, 3) and not places[0].any()
    assert places[-1] == pytest.approx(arm.tool_positions(joints[None])[0])
    moved = arm.arm_positions(joints + np.eye(6)[3])
    np.testing.assert_allclose(moved[:5], places[:5], atol=1e-9)
    assert np.linalg.norm(moved[-1] - places[-1]) > 0.01


def test_first_joint_turns_the_tool_about_the_vertical(arm):
    joints = np.zeros((2, 6))
    joints[1, 0] = 0.7
    start, turned = arm.tool_positions(joints)
    turn = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    assert turned[:2] == pytest.approx(turn @ start[:2], abs=1e-6)
    assert turned[2] == pytest.approx(start[2])


@pytest.mark.parametrize(('joint', 'height'), [(1, 0.266), (2, 0.283), (4, 0.189)])
def test_joints_raise_the_tool_in_the_vendor_sense(arm, joint, height):
    joints = np.zeros((1, 6))
    joints[0, joint] = 0.5
    assert arm.tool_positions(joints)[0, 2] == pytest.approx(height, abs=1e-3)


def test_inverse_finds_joints_for_reachable_poses_nearby(arm):
    rng = np.random.default_rng(0)
    lower, upper = robot().lower[:-1], robot().upper[:-1]
    for _ in range(100):
        start = rng.uniform(0.8 * lower, 0.8 * upper)
        goal = np.clip(start + rng.normal(0.0, 0.1, 6), lower, upper)
        joints, error = arm.solve(*arm.tool_pose(goal), start)
        assert error < 1e-3
        assert (joints >= lower).all() and (joints <= upper).all()
        assert arm.tool_pose(joints)[0] == pytest.approx(arm.tool_pose(goal)[0], abs=1e-4)


def test_unreachable_pose_gives_the_nearest_and_a_large_error(arm):
    _, rotation = arm.tool_pose(np.zeros(6))
    joints, error = arm.solve(np.array([2.0, 0.0, 0.5]), rotation, np.zeros(6))
    assert error > 0.5 and np.isfinite(joints).all()


def test_deltas_count_from_the_start_in_base_axes(arm):
    start = np.array([0.3, 0.2, 0.5, 0.1, 0.4, 0.0])
    deltas = np.zeros((3, 6))
    deltas[:, 1] = [0.01, 0.02, 0.03]
    deltas[:, 5] = [0.05, 0.1, 0.15]
    joints = arm.solve_deltas(start, deltas)
    position, rotation = arm.tool_pose(start)
    for row, delta in zip(joints, deltas, strict=True):
        moved, turned = arm.tool_pose(row)
        assert moved - position == pytest.approx(delta[:3], abs=1e-4)
        relative = turned @ rotation.T
        angle = np.arctan2(relative[1, 0], relative[0, 0])
        assert angle == pytest.approx(delta[5], abs=1e-3)
        assert relative[2, 2] == pytest.approx(1.0, abs=1e-4)


def test_unreachable_delta_names_the_step(arm):
    deltas = np.zeros((3, 6))
    deltas[2, 0] = 1.5
    with pytest.raises(KinematicsError, match=r'step 2: .* off by \d+'):
        arm.solve_deltas(np.zeros(6), deltas)


def test_model_matches_joints_by_name_whatever_their_order(arm):
    shuffled = replace(robot(), joints=robot().joints[::-1])
    other = Kinematics.of(shuffled, ROBOTS)
    joints = np.array([[0.3, -0.2, 0.5, 0.1, 0.4, -0.6]])
    assert other.tool_positions(joints[:, ::-1]) == pytest.approx(arm.tool_positions(joints))
    position, rotation = arm.tool_pose(joints[0])
    solved, error = other.solve(position, rotation, joints[0, ::-1] + 0.05)
    assert error < 1e-3 and solved[::-1] == pytest.approx(joints[0], abs=1e-2)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'kinematics__urdf': 'nowhere.urdf', 'kinematics__urdf_text': ''}, 'no such file'),
        ({'kinematics__tip': 'hand'}, "no frame 'hand'; it has"),
        ({'kinematics__urdf': 'alicia_d.yaml'}, 'alicia_d.yaml'),
    ],
)
def test_contract_that_does_not_fit_the_urdf_is_named(arm, changes, message):
    with pytest.raises(KinematicsError, match=message):
        Kinematics.of(changed_robot(**changes), ROBOTS)


def test_joint_that_the_urdf_lacks_is_named(arm):
    joints = [dict(j, name=f'X{i}') for i, j in enumerate(robot().to_dict()['joints'])]
    with pytest.raises(KinematicsError, match='no joint X0'):
        Kinematics.of(changed_robot(joints=joints, home=None), ROBOTS)


def test_joints_of_the_urdf_have_the_drivers_names_or_the_contracts(arm):
    joints = robot().to_dict()['joints']
    own = [dict(j, name=f'X{i}', driver_name=j['name']) for i, j in enumerate(joints)]
    prefixed = [dict(j, driver_name=f'left_{j["name"]}') for j in joints]
    for changed in (own, prefixed):
        other = Kinematics.of(changed_robot(joints=changed, home=None), ROBOTS)
        pose = np.full((1, 6), 0.3)
        assert other.tool_positions(pose) == pytest.approx(arm.tool_positions(pose))


def test_contract_without_kinematics_has_none():
    assert Kinematics.of(robot('generic_jtc'), ROBOTS) is None


def test_contract_elsewhere_that_extends_a_shipped_one_keeps_its_urdf(arm, tmp_path):
    other = Kinematics.of(robot(), tmp_path)
    assert other.tool_positions(np.zeros((1, 6))) == pytest.approx(
        arm.tool_positions(np.zeros((1, 6)))
    )


def test_missing_library_is_said_with_the_remedy(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == 'pinocchio':
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', refuse)
    with pytest.raises(KinematicsError, match='pip install pin'):
        Kinematics.of(robot(), ROBOTS)


def test_a_contract_takes_its_urdf_along(arm, tmp_path):
    """Recordings, datasets and checkpoints carry it to machines that do not have the file."""
    file = tmp_path / 'lab arm.urdf'
    file.write_text((ROBOTS / 'alicia_d.urdf').read_text())
    extended = {'extends': 'alicia_d', 'kinematics': {'urdf': str(file)}}
    (tmp_path / 'lab.yaml').write_text(yaml.safe_dump(extended))
    loaded = load_contract(tmp_path / 'lab.yaml')
    file.unlink()
    travelled = RobotContract.from_dict(json.loads(json.dumps(loaded.to_dict())))
    assert travelled == loaded
    pose = np.full((1, 6), 0.3)
    for folder in (None, tmp_path):
        other = Kinematics.of(travelled, folder)
        assert other.tool_positions(pose) == pytest.approx(arm.tool_positions(pose))
    # The URDF is no reason to refuse a policy or dataset.
    assert not robot().differences(loaded)


def test_a_contract_of_an_older_release_uses_the_urdf_that_ships(arm):
    data = robot().to_dict()
    del data['kinematics']['urdf_text']
    older = RobotContract.from_dict(data)
    assert 'urdf_text' not in older.to_dict()['kinematics']
    pose = np.full((1, 6), 0.3)
    other = Kinematics.of(older, None)
    assert other.tool_positions(pose) == pytest.approx(arm.tool_positions(pose))


def test_the_urdf_inside_a_contract_counts_before_one_that_ships():
    """Another robot's file may have the same name."""
    text = robot().kinematics.urdf_text.replace('tool0', 'flange')
    other = changed_robot(kinematics__urdf_text=text)
    with pytest.raises(KinematicsError, match=r"alicia_d.urdf: no frame 'tool0'; it has .*flange"):
        Kinematics.of(other, None)


def test_a_damaged_urdf_inside_a_contract_is_named():
    with pytest.raises(KinematicsError, match='URDF alicia_d.urdf: '):
        Kinematics.of(changed_robot(kinematics__urdf_text='<robot'), None)
