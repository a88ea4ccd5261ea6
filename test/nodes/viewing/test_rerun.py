# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A running arm in rerun: what the recording holds, and what cannot be shown."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from vla_adapter_ros.msg import ActionChunk, PolicyStatus

from support.ros_harness import isolated_environment, wait_until
from vla_adapter_ros.nodes.common.messages import (
    image_message,
    joint_state_message,
    to_time,
    trajectory_message,
)
from vla_adapter_ros.nodes.viewing import rerun_log
from vla_adapter_ros.nodes.viewing.rerun_log import RerunLog
from vla_adapter_ros.nodes.viewing.rerun_topics import RerunTopics
from vla_adapter_ros.robot.contract import contract_path, load_contract, resolve_contract
from vla_adapter_ros.robot.kinematics import Kinematics

FILE = contract_path('alicia_d_sim')
CONTRACT = load_contract(FILE)
STATE = np.array([0.0, 0.0, 0.44, 0.0, -1.2, 0.0, 1.0])
NEEDED = 'rerun-sdk is not installed'
T = 1000.0


def listed(path) -> str:
    """Everything that is in a recording, as rerun's own tool prints it."""
    command = [sys.executable, '-m', 'rerun', 'rrd', 'print', '-vvv', str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


class FakeNode:
    """Keeps the callbacks of subscriptions, so that messages can be handed over without DDS."""

    def __init__(self):
        self.callbacks, self.kinds, self.warnings = {}, {}, []

    def create_subscription(self, kind, topic, callback, _profile):
        self.callbacks[topic], self.kinds[topic] = callback, kind

    def get_clock(self):
        return Clock(clock_type=ClockType.ROS_TIME)

    def get_logger(self):
        return SimpleNamespace(warning=self.warnings.append)


@pytest.fixture
def log(tmp_path):
    pytest.importorskip('rerun', reason=NEEDED)
    return RerunLog(CONTRACT, Kinematics.of(CONTRACT, FILE.parent), tmp_path / 'a.rrd')


def test_a_recording_holds_pictures_joints_commands_and_the_intended_path(log, tmp_path):
    log.instruction('reach the red block', T)
    log.image('wrist', np.full((240, 320, 3), 90, np.uint8), T + 0.1)
    log.state(STATE, T + 0.1)
    log.chunk(np.tile(np.append(np.full(6, 0.01), 1.0), (8, 1)), T + 0.1, T + 0.15)
    log.status('RUNNING', False, {'median': 0.0625}, T + 0.2)
    first = [(T + 0.2 + 0.1 * i, np.append(np.full(6, i + 1.125), np.nan)) for i in range(4)]
    log.command(CONTRACT.joint_names, first, T + 0.15)
    log.command(CONTRACT.joint_names, [(T + 0.45, np.append(np.full(6, 7.5), np.nan))], T + 0.35)
    log.close()
    text = listed(tmp_path / 'a.rrd')
    for entity in ('instruction', 'cameras/wrist', 'scene/tool', 'scene/predicted_path',
                   'joints/Joint6/measured', 'joints/Gripper/measured',
                   'joints/Joint1/commanded', 'joints/Joint1/chunk', 'scene/arm',
                   'status', 'log', 'latency/median'):  # fmt: skip
        assert f'/{entity}' in text, entity
    # Of the replaced trajectory only the points at 0.2 s and 0.3 s were due.
    shown = {value: f'[{value}]' in text for value in (1.125, 2.125, 3.125, 4.125, 7.5, 0.0625)}
    assert shown == {1.125: True, 2.125: True, 3.125: False, 4.125: False, 7.5: True, 0.0625: True}


def test_a_chunk_that_cannot_be_followed_is_not_shown_and_harms_nothing(log, tmp_path):
    log.chunk(np.zeros((8, 7)), T, T)
    log.state(STATE, T + 0.1)
    log.chunk(np.full((8, 7), np.nan), T, T + 0.2)
    log.close()
    assert 'predicted_path' not in listed(tmp_path / 'a.rrd')


def test_the_window_is_arranged_by_the_robots_cameras_and_joints():
    pytest.importorskip('rerun', reason=NEEDED)
    for robot in ('alicia_d', 'franka'):
        contract = resolve_contract(robot)
        found = origins_of(rerun_log.blueprint(contract).root_container)
        shown = {
            *(f'cameras/{name}' for name in contract.cameras),
            *(f'joints/{name}' for name in contract.names),
            'scene',
            'status',
            'latency',
        }
        assert shown <= set(found), robot


def origins_of(container) -> list[str]:
    """The origins of all views in a container."""
    if not hasattr(container, 'contents'):
        return []
    if hasattr(container, 'origin'):
        return [str(container.origin)]
    return [origin for part in container.contents for origin in origins_of(part)]


def test_messages_of_the_graph_are_shown_and_bad_ones_named(log, tmp_path):
    node = FakeNode()
    RerunTopics(node, CONTRACT, log, image_rate=0.0)
    expected = {
        'third_person/image': Image,
        'joint_states': JointState,
        'vla_adapter/status': PolicyStatus,
        'vla_adapter/instruction': String,
    }
    assert {topic: node.kinds[topic] for topic in expected} == expected
    stamp, positions = to_time(T), [*STATE[:-1], 0.0]
    node.callbacks['third_person/image'](
        image_message(np.zeros((24, 32, 3), np.uint8), stamp, 'x')
    )
    bad = image_message(np.zeros((24, 32, 3), np.uint8), stamp, 'x')
    bad.encoding = '16UC1'
    node.callbacks['wrist/image'](bad)
    node.callbacks['joint_states'](
        joint_state_message(CONTRACT.driver_names, np.array(positions), np.zeros(7), stamp)
    )
    chunk = ActionChunk(chunk_size=2, action_dim=7, observation_stamp=stamp, actions=[0.0] * 14)
    node.callbacks['vla_adapter/action_chunk'](chunk)
    chunk.chunk_size = 3
    node.callbacks['vla_adapter/action_chunk'](chunk)
    node.callbacks['Gripper_controller/joint_trajectory'](
        trajectory_message(['Gripper'], [0.1], np.array([[0.00625]]), np.zeros((1, 1)))
    )
    status = PolicyStatus(state=PolicyStatus.TRIPPED, state_text='TRIPPED', reason='too far')
    node.callbacks['vla_adapter/status'](status)
    log.close()
    assert len(node.warnings) == 1, 'no more than one in ten seconds'
    assert node.warnings[0].startswith('not shown: wrist/image: image encoding')
    text = listed(tmp_path / 'a.rrd')
    assert '/cameras/third_person' in text and '/cameras/wrist' not in text
    assert '/scene/predicted_path' in text
    assert re.search(r'\[0\.7[45]', text), 'the gripper is shown as its open fraction'
    assert 'TRIPPED' in text and 'too far' in text, 'state and reason'


def test_a_viewer_without_display_is_refused_in_a_sentence():
    pytest.importorskip('rerun', reason=NEEDED)
    environment = isolated_environment()
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        environment.pop(name, None)
    command = [sys.executable, '-m', 'vla_adapter_ros.nodes.viewing.rerun_node']
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(
        'rerun_viewer: there is no display (DISPLAY and WAYLAND_DISPLAY are not set): give the '
        'parameter connect (a viewer on another machine) or save (a file)'
    )


@pytest.mark.slow(reason="starts rerun's viewer, which renders on the CPU")
def test_the_window_shows_cameras_arm_and_curves(log, tmp_path):
    experimental = pytest.importorskip('rerun.experimental', reason=NEEDED)
    if not hasattr(experimental, 'ViewerClient'):
        pytest.skip('this rerun-sdk has no viewer without a window')
    for i in range(100):
        t = T + 0.05 * i
        state = STATE + 0.2 * np.sin(0.1 * i)
        log.state(state, t)
        log.command(CONTRACT.joint_names, [(t, np.append(state[:-1] + 0.1, np.nan))], t)
        log.image('wrist', np.full((240, 320, 3), (200, 0, 200), np.uint8), t)
    log.close()
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    try:
        viewer = experimental.ViewerClient.spawn(headless=True, port=port)
    except RuntimeError as error:
        pytest.skip(f'the viewer does not start here: {str(error).splitlines()[0]}')
    try:
        viewer.open(str(tmp_path / 'a.rrd'))
        viewer.set_time('time', timestamp=T + 5.0, play_state='paused')
        shot = tmp_path / 'window.png'

        def seen() -> set[str]:
            viewer.save_screenshot(str(shot))
            pixels = cv2.imread(str(shot))[..., ::-1].reshape(-1, 3).astype(int)
            colours = {'image': (200, 0, 200), 'arm': (150, 150, 160),
                       'measured': (78, 152, 226), 'commanded': (245, 119, 77)}  # fmt: skip
            return {name for name, colour in colours.items()
                    if (np.abs(pixels - colour).max(axis=1) < 24).sum() > 100}  # fmt: skip

        everything = {'image', 'arm', 'measured', 'commanded'}
        wait_until(lambda: seen() == everything, 60, 'a picture of everything', poll=1.0)
    finally:
        viewer.quit()
