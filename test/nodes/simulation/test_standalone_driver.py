# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The policy node on front end B: the Alicia-D's standalone driver, emulated with its traps."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from support.graph_client import NAMES, GraphClient
from support.ros_harness import NodeProcess, isolated_environment, simulated, wait_until

ROBOT = 'alicia_d_standalone'


class Rig:
    """Emulated driver, policy node, and this test as user and cameras."""

    def __init__(self, tmp_path, first_reply_after=0.5):
        environment = isolated_environment()
        self.fault_file = tmp_path / 'fault'
        environment['FAULT_FILE'] = str(self.fault_file)
        folder = str(Path(__file__).parents[2])
        environment['PYTHONPATH'] = os.pathsep.join([folder, environment.get('PYTHONPATH', '')])
        self.driver = NodeProcess(
            'emulated_standalone_driver', {'first_reply_after': first_reply_after}, environment
        )
        self.node = NodeProcess(
            'policy_node',
            {'robot': simulated(ROBOT, tmp_path), 'policy': 'support.faults:Swaying',
             'instruction': 'sway',
             'enable': True, 'max_image_age': 0.8, 'max_skew': 0.7, 'max_joint_state_age': 0.6},
            environment,
        )  # fmt: skip
        self.client = GraphClient(environment)
        self.commands: list[tuple[float, JointState]] = []
        self.client.node.create_subscription(
            JointState, '/joint_commands', self._on_command, 50
        )
        self.client.start_bench(driver=False)
        # The driver is real here: only the cameras are played.
        self.client.wait_for_node()
        assert self.client.configure() and self.client.activate()

    def _on_command(self, message):
        self.commands.append((time.monotonic(), message))

    def run(self):
        self.client.wait_for_state('RUNNING', 30)
        wait_until(lambda: len(self.commands) > 50, 30, 'a stream of commands')
        return self

    def close(self):
        self.client.close()
        self.node.stop()
        self.driver.stop()


@pytest.fixture
def rig(tmp_path):
    rigs = []

    def make(*arguments, **options):
        rigs.append(Rig(tmp_path, *arguments, **options))
        return rigs[-1]

    yield make
    for one in rigs:
        one.close()


def test_every_command_has_all_joints_and_the_drivers_gripper_units(rig):
    rig = rig().run()
    time.sleep(2.0)
    positions = np.array([m.position for _, m in rig.commands])
    assert all(list(m.name) == NAMES for _, m in rig.commands)
    assert positions.shape[1] == 7
    # 1000 is open on this front end, and the policy asks for open.
    assert positions[-1, 6] == pytest.approx(1000.0, abs=1.0)
    times = np.array([t for t, _ in rig.commands])
    steps = np.abs(np.diff(positions[:, :6], axis=0)).max(axis=1)
    assert np.median(np.diff(times)) == pytest.approx(0.02, abs=0.012)
    # A stream never jumps: at most what 1 rad/s allows, with room for a late timer.
    assert (steps <= np.maximum(np.diff(times), 0.06) * 1.5).all()


def test_zeros_before_the_first_answer_do_not_enable_motion(rig):
    rig = rig(first_reply_after=6.0)
    rig.client.wait_for_reason('exactly zero on all joints')
    assert rig.commands == []
    rig.run()


def test_stop_brakes_in_the_stream_and_then_is_silent(rig):
    rig = rig().run()
    wait_until(lambda: abs(rig.commands[-1][1].velocity[0]) > 0.3, 20, 'motion', 0.005)
    assert rig.client.trigger('stop').success
    answered = time.monotonic()
    time.sleep(1.0)
    count = len(rig.commands)
    time.sleep(0.5)
    assert len(rig.commands) == count
    last = np.array([m.position for _, m in rig.commands[-3:]])
    # A stream that pauses on a busy machine ends there: the arm has come to rest by itself.
    times = [t for t, _ in rig.commands[-12:]]
    # A brake is sent after the answer; without one, the pause was before it.
    paused = np.diff([*times, max(times[-1], answered)]).max() > 0.045
    assert np.abs(np.diff(last, axis=0)).max() < (0.05 if paused else 5e-3)


def test_failing_inference_holds_in_the_stream(rig):
    rig = rig().run()
    rig.fault_file.write_text('error')
    rig.node.wait_for_log('device-side assert', 20)

    def held(since=0):
        last = [m.position for _, m in rig.commands[since:][-20:]]
        return len(last) == 20 and np.ptp(np.array(last), axis=0).max() < 1e-6

    wait_until(held, 3, 'the same target')
    # Still streaming: the driver has no watchdog, and silence would look like a crash.
    count = len(rig.commands)
    wait_until(lambda: len(rig.commands) >= count + 25, 3, 'a stream that goes on')
    assert held(since=count), 'the same target is held'
