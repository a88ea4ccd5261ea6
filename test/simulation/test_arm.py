# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The simulated arm has the Alicia-D's geometry, follows its targets and shows its table."""

import math
import os
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.robot.contract import load_contract
from vla_adapter_ros.simulation.arm_simulation import (
    READY_JOINTS,
    ArmSimulation,
    arm_kinematics,
)
from vla_adapter_ros.simulation.layout import SceneOptions, in_workspace
from vla_adapter_ros.simulation.rendering import RenderingError, choose_gl
from vla_adapter_ros.simulation.scene import FINGER_STROKE, JOINT_NAMES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def shared():
    with ArmSimulation() as simulation:
        yield simulation


@pytest.fixture
def arm(shared):
    shared.reset(seed=3, options=SceneOptions())
    return shared


def random_joints(arm, rng):
    return rng.uniform(arm.action_lower, arm.action_upper)[:6]


def test_tool_at_zero_joints_is_where_the_vendor_says():
    position, rotation = arm_kinematics().tool_pose(np.zeros(6))
    np.testing.assert_allclose(position, [0.313, 0.0, 0.108], atol=5e-4)
    np.testing.assert_allclose(rotation[:, 2], [-np.sqrt(0.5), 0, np.sqrt(0.5)], atol=1e-4)


def test_mujoco_and_urdf_agree_on_the_tool(arm):
    rng, kinematics = np.random.default_rng(0), arm_kinematics()
    for _ in range(40):
        joints = random_joints(arm, rng)
        arm.data.qpos[:6] = joints
        pose = arm.tool_pose()
        position, rotation = kinematics.tool_pose(joints)
        np.testing.assert_allclose(pose.position, position, atol=1e-6)
        np.testing.assert_allclose(pose.rotation, rotation, atol=1e-6)


def test_limits_are_those_of_the_contract_and_the_urdf(arm):
    pinocchio = pytest.importorskip('pinocchio')
    robot = load_contract(ROOT / 'config/robots/alicia_d.yaml')
    assert robot.names == JOINT_NAMES
    limits = list(zip(arm.action_lower[:6], arm.action_upper[:6], strict=True))
    assert [(j.lower, j.upper) for j in robot.joints] == limits
    model = pinocchio.buildModelFromUrdf(str(ROOT / 'config/robots/alicia_d.urdf'))
    for name, (lower, upper) in zip(JOINT_NAMES, [*limits, (0.0, FINGER_STROKE)], strict=True):
        index = model.joints[model.getJointId(name)].idx_q
        assert model.lowerPositionLimit[index] == lower
        assert model.upperPositionLimit[index] == upper


def test_the_ready_pose_points_the_gripper_straight_down():
    position, rotation = arm_kinematics().tool_pose(np.array(READY_JOINTS))
    np.testing.assert_allclose(position, [0.235, 0.0, 0.13], atol=1e-3)
    np.testing.assert_allclose(rotation, np.diag([-1.0, -1.0, 1.0]), atol=2e-3)


def test_moving_targets_are_followed_without_lag(arm):
    start = arm.targets
    velocities = np.array([0.5, 0.4, -0.4, 0.5, 0.4, 0.8, 0.02])
    for tick in range(1, 161):
        arm.set_targets(start + velocities * tick * 0.005, velocities)
        arm.step(0.005)
    error = np.abs(arm.positions - arm.targets)
    assert error[:6].max() < 0.01
    assert error[6] < 0.001
    np.testing.assert_allclose(arm.measured[1], velocities, atol=0.06)


def test_it_stands_still_against_gravity(arm):
    arm.step(2.0)
    assert np.abs(arm.positions - arm.targets).max() < 1e-3
    assert arm.time == pytest.approx(2.0, abs=0.006)


def test_uneven_durations_add_up_to_the_same_time(arm):
    for _ in range(300):
        arm.step(0.0033)
    assert arm.time == pytest.approx(0.99, abs=0.0051)


def test_the_gripper_closes_around_a_block_and_lifts_it(arm):
    block = arm.object_pose('red block')
    aim = np.array(READY_JOINTS)
    # Put the block exactly between the fingers of the lowered gripper.
    aim[[1, 2, 4]] = [-0.3107, 0.2935, -0.7716]
    position, _ = arm_kinematics().tool_pose(aim)
    arm.data.joint('block_0').qpos[:3] = [*position[:2], block.position[2]]
    arm.data.joint('block_0').qpos[3:] = [1, 0, 0, 0]
    arm.data.qpos[:6] = aim
    arm.set_targets([*aim, 0.0])
    arm.step(0.2)
    arm.set_targets([*aim, 0.025])
    arm.step(0.5)
    assert arm.positions[6] == pytest.approx(0.0095, abs=0.001)
    lifted = aim + np.array([0, 0.3, 0, 0, 0, 0])
    arm.set_targets([*lifted, 0.025])
    arm.step(1.0)
    assert arm.object_pose('red block').position[2] > block.position[2] + 0.05
    arm.set_targets([*lifted, 0.0])
    arm.step(1.0)
    assert arm.object_pose('red block').position[2] < block.position[2] + 0.01


def test_a_seed_gives_the_same_table_and_another_seed_another(arm):
    poses = []
    for seed in (5, 5, 6):
        arm.reset(seed)
        poses.append(np.array([pose.position for pose in arm.object_poses().values()]))
    np.testing.assert_array_equal(poses[0], poses[1])
    assert np.abs(poses[0] - poses[2]).max() > 0.01


def test_objects_stand_apart_inside_the_workspace(arm):
    options = SceneOptions(objects=None, object_count=5, shapes=('block', 'cylinder', 'ball'))
    for seed in range(30):
        arm.reset(seed, options)
        points = [pose.position[:2] for pose in arm.object_poses().values()]
        assert all(in_workspace(*point) for point in points)
        gaps = [np.linalg.norm(a - b) for i, a in enumerate(points) for b in points[:i]]
        assert min(gaps) >= 0.085
        assert len(set(arm.object_names)) == 6


def test_objects_rest_where_they_are_put(arm):
    arm.reset(2, SceneOptions(objects=('red ball', 'blue cylinder', 'green block')))
    before = arm.object_poses()
    arm.step(3.0)
    for name, pose in arm.object_poses().items():
        assert np.linalg.norm(pose.position - before[name].position) < 0.002, name


@pytest.mark.parametrize('shape', ['cylinder', 'cup', 'ball'])
def test_what_rolls_comes_to_rest_on_the_table(arm, shape):
    arm.reset(3, SceneOptions(objects=(f'red {shape}',)))
    joint = arm.data.joint(f'{shape}_0')
    joint.qpos[:] = [0.25, 0.0, 0.017, math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0]  # axis along x
    joint.qvel[:] = [0.0, 0.3, 0.0, 0.0, 0.0, 0.0]
    arm.step(1.5)
    assert abs(arm.object_pose(f'red {shape}').position[1]) < 0.1
    assert np.abs(joint.qvel[:3]).max() < 0.01


def test_unknown_objects_and_bad_targets_are_refused_in_one_line(arm):
    for options, words in (
        (SceneOptions(objects=('pink block',)), "object 'pink block' is unknown"),
        (SceneOptions(objects=('red ball',) * 2), 'must differ'),
        (SceneOptions(objects=('red ball', 'blue ball', 'green ball')), 'at most 2'),
        (SceneOptions(objects=None, object_count=9), 'expected 1 to 4'),
    ):
        with pytest.raises(VLAAdapterError) as error:
            arm.reset(0, options)
        assert words in str(error.value) and '\n' not in str(error.value)
    arm.reset(0, SceneOptions())
    with pytest.raises(VLAAdapterError, match='there are: red block, green block, blue block'):
        arm.object_pose('teapot')
    before = arm.targets
    for bad in (np.zeros(6), np.full(7, np.nan)):
        with pytest.raises(VLAAdapterError, match='expected 7 finite positions'):
            arm.set_targets(bad)
    np.testing.assert_array_equal(arm.targets, before)


def test_physics_takes_coarse_steps_in_one_call(arm, monkeypatch):
    """Why it is far faster than real time: 200 steps a second, none of them Python's."""
    arm.step(0.5)
    steps = []
    advance = mujoco.mj_step

    def counted(model, data, nstep):
        steps.append(nstep)
        advance(model, data, nstep=nstep)

    monkeypatch.setattr(mujoco, 'mj_step', counted)
    before = arm.data.time
    arm.step(10.0)
    assert steps == [2000]
    assert arm.data.time - before == pytest.approx(10.0)
    # What a step costs: the joints, the constraints of contacts, and the solver's rounds.
    assert arm.model.nv <= 120
    assert arm.data.nefc < 200
    assert arm.data.solver_niter.max() < 10


def test_images_show_every_object_in_its_colour(arm):
    arm.reset(1, SceneOptions(objects=('red block', 'green block', 'blue block', 'yellow ball')))
    image = arm.render('third_person', 128, 128)
    assert image.shape == (128, 128, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    red, green, blue = (image[..., i].astype(int) for i in range(3))
    assert ((red > green + 60) & (red > blue + 60) & (green < 100)).sum() > 15
    assert ((green > red + 40) & (green > blue + 40)).sum() > 15
    assert ((blue > red + 60) & (blue > green + 60)).sum() > 15
    assert ((red > 130) & (green > 100) & (blue < 60)).sum() > 15


def test_the_wrist_camera_moves_with_the_arm_and_the_fixed_one_does_not(arm):
    before = {name: arm.render(name, 64, 64) for name in arm.camera_names}
    joints = arm.targets
    joints[0] += 0.4
    arm.set_targets(joints)
    arm.step(1.0)
    after = {name: arm.render(name, 64, 64) for name in arm.camera_names}
    # The lower right corner shows the bare table: only a moving camera sees it change.
    corner = (slice(32, None), slice(32, None))
    moved = {n: np.abs(before[n][corner].astype(int) - after[n][corner]).max() for n in before}
    assert moved['wrist'] > 60
    assert (before['third_person'] != after['third_person']).mean() > 0.02
    np.testing.assert_array_equal(before['third_person'][-4:], after['third_person'][-4:])


def test_left_is_left_in_both_images(arm):
    """The third-person image's right is +y, and so is the wrist image's."""
    for camera in arm.camera_names:
        columns = []
        for y in (-0.04, 0.04):
            arm.reset(0, SceneOptions(objects=('blue block',), plate=False))
            arm.data.joint('block_0').qpos[:2] = [0.27, y]
            arm.step(0.05)
            image = arm.render(camera, 96, 96).astype(int)
            mask = (image[..., 2] > image[..., 0] + 60) & (image[..., 2] > 80)
            columns.append(np.nonzero(mask)[1].mean())
        assert columns[0] < columns[1] - 5, camera


def test_a_image_can_be_written_into_a_given_array(arm):
    out = np.zeros((48, 64, 3), np.uint8)
    assert arm.render('wrist', 48, 64, out) is out
    np.testing.assert_array_equal(out, arm.render('wrist', 48, 64))


@pytest.mark.parametrize('part', ['wrist_camera', 'wrist_camera_arm', 'left_mount', 'right_mount'])
def test_camera_and_finger_mounts_are_bodies(arm, part):
    """A block at their place is hit: a hand cannot put its camera through things."""
    arm.reset(0, SceneOptions(objects=('red block',), plate=False))
    mujoco.mj_kinematics(arm.model, arm.data)
    arm.data.joint('block_0').qpos[:3] = arm.data.geom(part).xpos
    mujoco.mj_forward(arm.model, arm.data)
    hit = {arm.model.geom(int(g)).name for pair in arm.data.contact.geom for g in pair}
    assert {part, 'block_0'} <= hit


def test_levels_change_the_image_but_not_the_table(arm):
    plain = arm.reset(4, SceneOptions())
    before = arm.render('third_person', 96, 96).astype(int)
    varied = arm.reset(4, SceneOptions(level='bench'))
    after = arm.render('third_person', 96, 96)
    assert dict(plain.objects) == dict(varied.objects)
    assert 2 < np.abs(before - after).mean() < 80
    arm.reset(4, SceneOptions())
    np.testing.assert_array_equal(arm.render('third_person', 96, 96), before)


def test_bad_images_are_refused(arm):
    with pytest.raises(RenderingError, match="camera 'side' is unknown"):
        arm.render('side', 64, 64)
    with pytest.raises(RenderingError, match='image size 64x0'):
        arm.render('wrist', 0, 64)


def test_an_unknown_gl_backend_is_refused(monkeypatch):
    monkeypatch.setenv('MUJOCO_GL', 'vulkan')
    with pytest.raises(RenderingError, match='expected one of egl, osmesa, glfw'):
        choose_gl()


def test_without_opengl_the_reason_is_one_line():
    code = (
        'from vla_adapter_ros.simulation.arm_simulation import ArmSimulation as A\n'
        'from vla_adapter_ros.simulation.rendering import RenderingError\n'
        'try: A().render("wrist", 64, 64)\n'
        'except RenderingError as error: print("REASON", error)\n'
    )
    environment = {**os.environ, 'MUJOCO_GL': 'glfw', 'PYTHONPATH': str(ROOT)}
    environment.pop('DISPLAY', None)
    result = subprocess.run(
        [sys.executable, '-c', code], env=environment, capture_output=True, text=True
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith('REASON')]
    assert len(lines) == 1, result.stdout + result.stderr
    assert 'no OpenGL for offscreen images (glfw:' in lines[0]


IN_ANOTHER_THREAD = """
import threading
thread = threading.Thread(target=arm.render, args=("wrist", 64, 64))
thread.start()
thread.join()
"""


@pytest.mark.parametrize(
    ('first', 'then'),
    [
        ('', 'arm.render("wrist", 64, 64)'),
        # What a temporary folder or a test session does: weakref's hook then ends after EGL.
        ('import weakref; weakref.finalize(type, int)', 'arm.render("wrist", 64, 64)'),
        ('', IN_ANOTHER_THREAD),
        ('', 'arm.render("wrist", 64, 64); arm.itself = arm; del arm'),
        ('', 'arm.render("wrist", 64, 64); arm.close(); arm.render("wrist", 64, 64)'),
    ],
    ids=['plain', 'finalizer before', 'another thread', 'reference cycle', 'opened again'],
)
def test_a_program_that_forgets_to_close_ends_quietly(first, then):
    code = (
        f'{first}\n'
        'from vla_adapter_ros.simulation.arm_simulation import ArmSimulation as A\n'
        f'arm = A()\n{then}\nprint("rendered")\n'
    )
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    result = subprocess.run(
        [sys.executable, '-c', code], env=environment, capture_output=True, text=True
    )
    assert result.stdout.split()[0] == 'rendered'
    assert result.stderr == '' and result.returncode == 0
