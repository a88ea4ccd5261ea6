# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What teach.launch.py starts, and an episode taught in simulation by scripted keys."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup.demonstrations import TEACH

TASK = 'move the red block to the left'
REPOSITORY = Path(__file__).resolve().parents[3]


def nodes(**arguments):
    return {process.name: process for process in TEACH.start(arguments).nodes}


def test_recorder_and_teacher_have_one_robot():
    found = nodes(mode='leader', robot='alicia_d_standalone')
    assert list(found) == ['recorder', 'teach']
    assert {p.parameters['robot'] for p in found.values()} == {'alicia_d_standalone'}
    assert found['teach'].parameters['mode'] == 'leader'


@pytest.mark.parametrize(
    ('arguments', 'robot'),
    [
        ({}, 'alicia_d'),
        ({'sim': 'true'}, 'alicia_d_sim'),
        ({'mode': 'drag'}, 'alicia_d_standalone'),
    ],
)
def test_robot_follows_from_what_is_taught(arguments, robot):
    assert {p.parameters['robot'] for p in TEACH.start(arguments).nodes} == {robot}


def test_simulation_and_builtin_cameras_come_first():
    assert list(nodes(sim='true', seed='3')) == ['sim_arm', 'recorder', 'teach']
    assert nodes(sim='true', seed='3')['sim_arm'].parameters['seed'] == 3
    cameras = nodes(camera_driver='builtin', usb_driver='builtin')
    assert list(cameras) == ['third_person_camera', 'wrist_camera', 'recorder', 'teach']


def test_leader_topic_is_remapped():
    found = nodes(mode='leader', leader_topic='/leader_arm/joint_states')
    assert ('leader/joint_states', '/leader_arm/joint_states') in found['teach'].remappings


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ({'mode': 'hand'}, "argument mode: got 'hand', expected one of: 'jog', 'leader', 'drag'"),
        ({'mode': 'drag', 'sim': 'true'}, 'the simulated arm cannot be held by hand'),
        ({'sim': 'true', 'usb_driver': 'builtin'}, 'sim:=true brings its own cameras'),
        ({'speed': 'slow'}, "argument speed: got 'slow'"),
        ({'robot': 'panda'}, "robot 'panda' is unknown"),
        ({'colour': 'red'}, "argument 'colour' is unknown"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, words):
    with pytest.raises(VLAAdapterError) as error:
        TEACH.start(arguments)
    assert words in str(error.value)


def test_parameters_are_those_the_nodes_know():
    pytest.importorskip('rclpy', reason='needs ROS 2')
    from dataclasses import fields

    from vla_adapter_ros.nodes.recording.recorder_parameters import RecorderParameters
    from vla_adapter_ros.nodes.teaching.teach_parameters import TeachParameters

    found = nodes(
        instruction='x', folder='f', images='jpeg', operator='me', speed='0.5', mode='leader'
    )
    for name, kind in (('recorder', RecorderParameters), ('teach', TeachParameters)):
        assert set(found[name].parameters) <= {spec.name for spec in fields(kind)}


@pytest.fixture
def session(tmp_path):
    """The whole of `bringup teach sim:=true`, and a person with a keyboard."""
    pytest.importorskip('rclpy', reason='needs ROS 2')
    pytest.importorskip('mujoco', reason='needs the simulation')
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix
    from test_teach_node import Teacher

    from support.ros_harness import isolated_environment

    try:
        folder = Path(get_package_prefix('vla_adapter_ros')) / 'lib/vla_adapter_ros'
    except PackageNotFoundError:
        pytest.skip('the package is not built')
    if not (folder / 'teach').is_file():
        pytest.skip('the package was built before teaching existed')
    environment = isolated_environment()
    words = ['sim:=true', f'instruction:={TASK}', f'folder:={tmp_path}', 'speed:=0.6']
    log = (tmp_path / 'bringup.log').open('w')
    process = subprocess.Popen(
        [sys.executable, '-m', 'vla_adapter_ros.nodes.bringup', 'teach', *words],
        env=environment, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT,
    )
    teacher = Teacher(environment)
    yield teacher
    teacher.close()
    process.send_signal(signal.SIGINT)
    process.wait(30)
    log.close()
    print((tmp_path / 'bringup.log').read_text())


@pytest.mark.slow(reason='bringup, simulation, recorder, and keys at the speed of a person')
def test_episode_is_taught_in_simulation_by_scripted_keys(session, tmp_path):
    from std_srvs.srv import SetBool

    from support.ros_harness import wait_until
    from vla_adapter_ros.control.observation_inputs import InputSettings
    from vla_adapter_ros.data.bags.contents import BagOptions
    from vla_adapter_ros.data.bags.source import BagSource

    session.wait_for_words('ready; not engaged', 60)
    session.wait_for_states(50)

    def engaged():
        # A machine that stalls makes the joint states stale, and the arm holds until cleared.
        session.press('z') if 'holding' in session.said[-1] else None
        return session.call(SetBool, '/teach/engage', SetBool.Request(data=True)).success

    def press_until(key, done):
        def pressed():
            engaged()
            session.press(key)
            return done()

        wait_until(pressed, 40, f'effect of key {key}', poll=0.3)

    wait_until(engaged, 30, 'engaged', poll=0.5)
    press_until('b', lambda: any('recording episode_000000' in text for text in session.said))
    before = session.joints
    press_until('q', lambda: session.joints[0] - before[0] > 0.1)
    press_until('c', lambda: session.gripper > 0.024)
    session.press('n')
    session.wait_for_words('recorder stop: episode_000000', 30)
    session.press('b')
    session.wait_for_words('recorder start: recording episode_000001', 30)
    session.press('x')
    session.wait_for_words('episode_000001 was not kept', 30)

    # What the recorder reports of a machine that stalls is not the matter here.
    limits = InputSettings(max_image_age=5.0, max_joint_state_age=5.0, max_skew=5.0)
    loose = BagOptions(limits=limits)
    source = BagSource(tmp_path, options=loose)
    assert [episode.instruction for episode in source.episodes] == [TASK]
    vectors = source.states_actions(0)
    assert np.ptp(vectors.state[:, 0]) > 0.08
    # The commands end where the arm does, and the gripper's is an open fraction.
    assert vectors.actions[-1, 0] == pytest.approx(vectors.state[-1, 0], abs=0.1)
    assert vectors.actions[0, -1] > 0.9
    assert vectors.actions[-1, -1] < 0.1
    images = list(source.images(0, 'wrist', [0, source.episodes[0].length - 1]))
    assert images[0].shape == (240, 320, 3)
    assert np.abs(images[0].astype(float) - images[1]).mean() > 0.5
