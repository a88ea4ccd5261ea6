# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Parameters of a running camera node: how often the camera is reopened, who waits for it."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from vla_adapter_ros.cameras.frames import Frame
from vla_adapter_ros.nodes.cameras import camera_node
from vla_adapter_ros.nodes.cameras.camera_node import CameraNode

WORDS = ['--ros-args', '-p', 'stall_timeout:=1.0']


class FakeCamera:
    """Counts how often it was opened; without `may_close` its driver hangs."""

    def __init__(self):
        self.opened = self.closed = 0
        self.may_close = threading.Event()
        self.may_close.set()
        self.details: dict[str, str] = {}

    def open(self):
        self.opened += 1
        return 'fake'

    def read(self, timeout):
        time.sleep(0.005)
        return Frame(np.zeros((16, 16, 3), np.uint8), time.monotonic(), 0)

    def close(self):
        self.may_close.wait(20.0)
        self.closed += 1


class FakeCameraNode(CameraNode):
    def __init__(self, camera):
        self.camera = camera
        super().__init__('fake_camera')

    def make_source(self, parameters):
        return self.camera

    def intrinsics(self, source):
        return None


class Rig:
    def __init__(self):
        self.camera = FakeCamera()
        self.node = FakeCameraNode(self.camera)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.longest = 0.0

    def spin(self, until, seconds=10.0):
        """Spin; keeps the longest time that one callback took."""
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            begin = time.monotonic()
            self.executor.spin_once(timeout_sec=0.0)
            self.longest = max(self.longest, time.monotonic() - begin)
            time.sleep(0.001)
        return until()

    def spin_for(self, seconds):
        end = time.monotonic() + seconds
        self.spin(lambda: time.monotonic() > end, seconds + 1.0)

    def set(self, **values):
        # As the service does: one validation for each parameter of a request.
        for name, value in values.items():
            (result,) = self.node.set_parameters([Parameter(name, value=value)])
            assert result.successful, result.reason


@pytest.fixture(scope='module')
def ros():
    rclpy.init(args=WORDS)
    yield
    rclpy.try_shutdown()


@pytest.fixture
def rig(ros):
    rig = Rig()
    assert rig.spin(lambda: rig.camera.opened == 1)
    yield rig
    rig.camera.may_close.set()
    rig.node.close()
    rig.node.destroy_node()


def test_parameters_set_together_reopen_the_camera_once(rig):
    rig.set(reconnect_period=0.5, stall_timeout=3.0, frame_id='lens')
    assert rig.spin(lambda: rig.camera.opened == 2)
    rig.spin_for(0.5)
    assert (rig.camera.opened, rig.camera.closed) == (2, 1)


def test_what_another_callback_refuses_or_is_the_same_reopens_nothing(rig):
    def refuse(changes):
        return rclpy.node.SetParametersResult(successful=False, reason='no')

    rig.node._on_set_parameters_callbacks.append(refuse)  # after the node's own
    (result,) = rig.node.set_parameters([Parameter('frame_id', value='lens')])
    assert not result.successful
    rig.node.remove_on_set_parameters_callback(refuse)
    rig.set(stall_timeout=1.0)
    rig.spin_for(0.3)
    assert rig.camera.opened == 1


def test_a_driver_that_hangs_does_not_stop_the_node(rig, monkeypatch):
    monkeypatch.setattr(camera_node, 'STOP_TIMEOUT_S', 1.5)
    rig.camera.may_close.clear()
    rig.spin_for(0.2)
    rig.longest = 0.0
    rig.set(frame_id='lens')
    assert rig.spin(lambda: rig.camera.opened == 2), 'left behind and opened again'
    # Less than the time that the driver was given.
    assert rig.longest < 1.0


def test_a_bad_name_is_refused_before_it_becomes_a_topic(rig):
    (result,) = rig.node.set_parameters([Parameter('camera', value='third person')])
    assert 'expected a ROS name' in result.reason
