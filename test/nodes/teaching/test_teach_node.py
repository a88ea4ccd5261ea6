# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Teaching on the real graph against the emulated drivers: keys, gamepad, leader arm, hand."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from support.driver_client import JOINTS, DriverClient
from support.ros_harness import REPOSITORY, NodeProcess, isolated_environment, wait_until
from vla_adapter_ros.nodes.teaching.teach_node import SAYINGS

START = np.array([0.2, -0.3, 0.6, 0.1, 0.5, 0.0])
STEP = 0.03
A, B = 'emulated_ros2_control', 'emulated_standalone_driver'


class Teacher(DriverClient):
    """A person: presses keys, moves a leader or the arm itself, reads what the node says."""

    def __init__(self, environment):
        super().__init__(environment)
        self.said: list[str] = []
        self.calls: list[str] = []
        self.node.create_subscription(
            String, '/teach/state', lambda m: self.said.append(m.data), SAYINGS
        )

    def press(self, keys: str) -> None:
        self.publish('/teach/keys', String(data=keys))

    def wait_for_words(self, words: str, seconds: float = 20.0) -> None:
        wait_until(
            lambda: any(words in text for text in self.said), seconds, f'{words!r} in {self.said}'
        )

    def engage(self) -> None:
        def engaged():
            # The arm may still be stopping, the leader not be heard yet: a person asks again.
            if self.said and self.said[-1].startswith('not engaged'):
                self.said.clear()
                self.press('p')
            return self.said[-1:] == ['engaged']

        self.press('p')
        wait_until(engaged, 20, 'engaged')

    def call(self, kind, name, request=None):
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(20)
        future = client.call_async(request or kind.Request())
        wait_until(future.done, 20, name)
        return future.result()

    def recorder(self, message: str = 'fine', success: bool = True) -> None:
        """Stand in for the recorder node."""
        def answer(name, request, response):
            self.calls.append(name)
            response.success, response.message = success, f'{name}: {message}'
            return response

        for name in ('start', 'stop', 'stop_success', 'stop_failure', 'discard'):
            self.node.create_service(
                Trigger, f'/recorder/{name}', lambda q, r, name=name: answer(name, q, r)
            )


@pytest.fixture
def bench():
    """bench(driver, **teach parameters) → Teacher, with the driver's arm at START."""
    running = []

    def start(driver, driver_parameters=None, **parameters):
        environment = isolated_environment()
        extra = {'startup_motion': False} if driver == A else {'first_reply_after': 0.0}
        settings = {'default_speed_deg_s': 120.0, **extra, **(driver_parameters or {})}
        robot = 'alicia_d' if driver == A else 'alicia_d_standalone'
        node = NodeProcess('teach_node', {'robot': robot, 'speed': 1.0, **parameters}, environment)
        teacher = Teacher(environment)
        running.extend([NodeProcess(driver, settings, environment), node, teacher])
        teacher.teach, teacher.environment = node, environment
        teacher.wait_for_states(30)
        teacher.wait_for_words('waiting' if 'fault' in settings else 'ready; not engaged')
        return teacher

    yield start
    for item in running:
        item.close() if isinstance(item, DriverClient) else item.stop()


def reached(teacher, target, within=0.01):
    return lambda: np.abs(teacher.joints - target).max() < within


@pytest.mark.parametrize('driver', [A, B])
def test_scripted_keys_jog_the_arm_of_both_drivers(bench, driver):
    teacher = bench(driver)
    teacher.engage()
    teacher.press('qqq')
    wait_until(reached(teacher, START + np.array([3 * STEP, 0, 0, 0, 0, 0])), 10, 'Joint1')
    teacher.press('s')
    target = START + np.array([3 * STEP, -STEP, 0, 0, 0, 0])
    wait_until(reached(teacher, target), 10, 'Joint2')
    teacher.press('c')
    wait_until(lambda: teacher.gripper > 0.024, 10, 'closed gripper')
    teacher.press('o')
    wait_until(lambda: teacher.gripper < 0.001, 10, 'open gripper')


def test_arm_does_not_move_until_engaged(bench):
    teacher = bench(A)
    teacher.press('qqqccc')
    teacher.wait_for_words('the arm is not engaged')
    teacher.wait_for_states(100)
    assert np.abs(teacher.history() - START).max() < 4e-3


@pytest.mark.parametrize('driver', [A, B])
def test_space_stops_the_arm(bench, driver):
    teacher = bench(driver, speed=0.3)
    teacher.engage()
    teacher.press('q' * 8)
    wait_until(lambda: teacher.joints[0] > START[0] + 0.05, 10, 'motion')
    teacher.press(' ')
    teacher.wait_for_words('stopped')
    time.sleep(0.5)
    held = teacher.joints
    teacher.wait_for_states(60)
    assert np.abs(teacher.joints - held).max() < 4e-3
    assert held[0] < START[0] + 0.2


class Leader(threading.Thread):
    """A leader arm: its joint states at 50 Hz, whatever the person does, until it is silenced."""

    def __init__(self, teacher):
        super().__init__(daemon=True)
        self.teacher, self.pose, self.goal = teacher, START.copy(), START[0]
        self._silenced = threading.Event()

    def run(self):
        before = time.monotonic()
        while not self._silenced.wait(0.02):
            now = time.monotonic()
            self.pose[0] = min(self.goal, self.pose[0] + 0.3 * (now - before))
            before = now
            self.teacher.publish('/leader/joint_states', JointState(
                name=[*JOINTS, 'Gripper'], position=[*self.pose.tolist(), 0.025]
            ))

    def silence(self):
        self._silenced.set()
        self.join()


def rests(teacher, pose):
    return lambda: np.abs(teacher.history()[-50:] - pose).max() < 0.01


def test_leader_arm_is_followed_and_its_loss_lets_go(bench):
    # Three seconds, as messages come late on a busy machine.
    teacher = bench(A, mode='leader', max_leader_age=3.0)
    for _ in range(2):
        teacher.said.clear()
        teacher.press('p')  # each press is answered
        teacher.wait_for_words('leader arm sends no joint states')
    leader = Leader(teacher)
    leader.start()
    teacher.engage()
    wait_until(lambda: teacher.gripper > 0.024, 10, 'the closed gripper of the leader')
    leader.goal = START[0] + 0.3
    wait_until(rests(teacher, START + np.eye(6)[0] * 0.3), 20, 'rest in the pose of the leader')
    leader.silence()
    teacher.wait_for_words('leader arm has been silent')
    teacher.wait_for_words('not engaged; the arm holds')
    teacher.wait_for_states(50)
    assert rests(teacher, leader.pose)()


def test_drag_teaching_frees_the_arm_only_after_a_second_press(bench):
    teacher = bench(B, mode='drag')
    teacher.press('p')
    teacher.wait_for_words('HOLD THE ARM')
    teacher.wait_for_states(50)
    assert np.abs(teacher.joints - START).max() < 4e-3
    teacher.press('p')
    teacher.wait_for_words('the arm is FREE')
    pose = START + np.array([0.3, 0.1, 0, 0, 0, 0])
    hand = JointState(name=[*JOINTS, 'Gripper'], position=[*pose.tolist(), 200.0])

    def hold():
        teacher.publish('/alicia_d_driver_node/hand', hand)
        return reached(teacher, pose)()

    wait_until(hold, 10, 'the pose of the hand')
    assert teacher.gripper == pytest.approx(0.02, abs=1e-3)
    teacher.press('p')
    teacher.wait_for_words('the arm holds')
    teacher.wait_for_states(100)
    assert np.abs(teacher.joints - pose).max() < 0.01


def test_drag_teaching_ends_with_torque_on_when_the_node_ends(bench):
    teacher = bench(B, mode='drag')
    teacher.press('p')
    teacher.wait_for_words('HOLD THE ARM')
    teacher.press('p')
    teacher.wait_for_words('the arm is FREE')
    assert teacher.teach.stop() == 0
    time.sleep(0.3)
    held = teacher.joints
    teacher.wait_for_states(100)
    assert np.abs(teacher.joints - held).max() < 4e-3


def test_drag_teaching_needs_the_standalone_driver():
    environment = isolated_environment()
    node = NodeProcess('teach_node', {'mode': 'drag', 'robot': 'alicia_d'}, environment)
    wait_until(lambda: not node.alive, 30, 'end')
    assert 'mode drag needs the standalone driver' in node.log
    assert 'Traceback' not in node.log


def test_episodes_are_started_kept_and_discarded_by_key_and_service(bench):
    teacher = bench(A, instruction='push the red block')
    teacher.press('b')
    teacher.wait_for_words('no recorder is running')
    assert not teacher.call(Trigger, '/teach/start').success
    teacher.recorder()
    time.sleep(1.0)
    teacher.press('b')
    teacher.wait_for_words('recorder start: start: fine')
    teacher.press('n')
    teacher.wait_for_words('recorder stop: stop: fine')
    teacher.press('1')
    teacher.wait_for_words('recorder stop_success: stop_success: fine')
    teacher.press('0')
    teacher.wait_for_words('recorder stop_failure: stop_failure: fine')
    answer = teacher.call(Trigger, '/teach/discard')
    assert answer.success
    assert answer.message == 'discard: fine'
    assert teacher.calls == ['start', 'stop', 'stop_success', 'stop_failure', 'discard']


def test_instruction_can_be_changed_between_episodes(bench):
    teacher = bench(A)
    heard = []
    teacher.node.create_subscription(
        String, '/vla_adapter/instruction', lambda m: heard.append(m.data), SAYINGS
    )
    for text in ('push the red block', 'pick up the blue ball'):
        assert teacher.set_parameter('teach', 'instruction', text)[0]
        wait_until(lambda text=text: heard[-1:] == [text], 10, 'new instruction')
    # An empty one at start would hide what the policy node has said.
    assert heard == ['push the red block', 'pick up the blue ball']
    assert not teacher.set_parameter('teach', 'speed', 0.5)[0]
    assert not teacher.set_parameter('teach', 'instruction', 5)[0]


def test_recorders_refusal_is_passed_on(bench):
    teacher = bench(A)
    teacher.recorder('disk full', success=False)
    time.sleep(1.0)
    answer = teacher.call(Trigger, '/teach/start')
    assert (answer.success, answer.message) == (False, 'start: disk full')
    teacher.wait_for_words('recorder start: start: disk full')


def test_service_engages_and_lets_go(bench):
    teacher = bench(B)
    answer = teacher.call(SetBool, '/teach/engage', SetBool.Request(data=True))
    assert (answer.success, answer.message) == (True, 'engaged')
    answer = teacher.call(SetBool, '/teach/engage', SetBool.Request(data=False))
    assert answer.message == 'not engaged; the arm holds'


def test_driver_without_data_is_not_engaged(bench):
    teacher = bench(B, driver_parameters={'fault': 'no_reply'})
    answer = teacher.call(SetBool, '/teach/engage', SetBool.Request(data=True))
    assert not answer.success
    assert 'exactly zero on all joints' in answer.message


def test_frozen_driver_holds_and_says_how_to_go_on(bench):
    teacher = bench(A)
    teacher.engage()
    assert teacher.set_parameter('controller_manager', 'fault', 'frozen')[0]
    for _ in range(10):
        teacher.press('qq')
        time.sleep(0.1)
    teacher.wait_for_words('holding: joint state frozen')
    assert teacher.set_parameter('controller_manager', 'fault', 'none')[0]
    teacher.press('z')
    teacher.wait_for_words('cleared: joint state frozen')
    teacher.said.clear()
    teacher.engage()


def test_second_commander_is_refused_by_name(bench):
    teacher = bench(A)
    teacher.node.create_publisher(JointTrajectory, '/Alicia_controller/joint_trajectory', 1)
    time.sleep(1.0)
    answer = teacher.call(SetBool, '/teach/engage', SetBool.Request(data=True))
    assert not answer.success
    assert answer.message == '/client commands this arm too; stop it first'


def test_gamepad_moves_the_arm_while_its_deadman_is_held(bench):
    teacher = bench(A)

    def pad(seconds, button):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            axes = [0.0, 0.0, 0.0, 0.0, 1.0]
            teacher.publish('/joy', Joy(axes=axes, buttons=[0, 0, 0, 0, button]))
            time.sleep(0.02)

    pad(0.5, 0)
    assert np.abs(teacher.joints - START).max() < 4e-3
    pad(1.0, 1)
    moved = np.abs(teacher.joints - START).max()
    assert moved > 0.05
    teacher.wait_for_words('not engaged; the arm holds')  # it went silent with the button down

    def rests():
        before = teacher.joints
        teacher.wait_for_states(30)
        return np.abs(teacher.joints - before).max() < 2e-3

    # The driver's slowest speed may still be taking the arm to its last command.
    wait_until(rests, 10.0, 'the arm at rest')
    held = teacher.joints
    teacher.wait_for_states(100)
    assert np.abs(teacher.joints - held).max() < 4e-3


def test_terminal_keys_reach_the_node(bench):
    teacher = bench(A)
    master, slave = pty.openpty()
    command = [sys.executable, '-m', 'vla_adapter_ros.nodes.teaching.teach_keyboard']
    keyboard = subprocess.Popen(
        command, stdin=slave, stdout=slave, env=teacher.environment, cwd=REPOSITORY
    )
    shown = b''
    while b'connected' not in shown:
        shown += os.read(master, 4096)
    assert b'engage / release the arm' in shown
    os.write(master, b'p')
    wait_until(lambda: teacher.said[-1:] == ['engaged'], 10, 'engaged')
    os.write(master, b'qq')
    wait_until(reached(teacher, START + np.array([2 * STEP, 0, 0, 0, 0, 0])), 10, 'Joint1')
    keyboard.terminate()
    keyboard.wait(10)


def test_keyboard_without_a_terminal_says_so():
    run = subprocess.run(
        [sys.executable, '-m', 'vla_adapter_ros.nodes.teaching.teach_keyboard'],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=REPOSITORY,
    )
    assert run.returncode == 1
    assert 'needs a terminal' in run.stderr
