# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The USB camera node on the real graph: what it publishes, and that it lives on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from support.camera_listener import CameraListener, pixels
from support.ros_harness import NodeProcess, isolated_environment, wait_until
from vla_adapter_ros.cameras.usb import read_number


@pytest.fixture
def graph():
    """Start nodes in a domain of their own: graph.run(parameters) → process, graph.listen()."""

    class Graph:
        environment = isolated_environment()
        nodes: list = []  # noqa: RUF012

        def run(self, **parameters):
            self.nodes.append(NodeProcess('usb_camera', parameters, self.environment))
            return self.nodes[-1]

        def listen(self, camera='third_person'):
            self.nodes.append(CameraListener(self.environment, camera))
            return self.nodes[-1]

    graph = Graph()
    graph.nodes = []
    yield graph
    for item in graph.nodes:
        item.close() if isinstance(item, CameraListener) else item.stop()


def test_images_arrive_at_rate_with_the_right_form(graph):
    listener = graph.listen()
    graph.run(device='generated')
    wait_until(lambda: len(listener.images) > 60, 20, 'images')
    message = listener.images[-1]
    assert (message.width, message.height, message.encoding) == (640, 480, 'rgb8')
    assert message.step == 1920
    assert message.header.frame_id == 'third_person_optical_frame'
    numbers = [read_number(pixels(m)) for m in listener.images[10:60]]
    assert len(set(numbers)) == len(numbers)
    assert numbers == sorted(numbers)
    assert numbers[-1] - numbers[0] < 60  # few are lost
    assert np.median(listener.delays[10:]) < 0.05
    listener.wait_for_state('streaming: generated image: 640×480@30')
    # Of one second; a busy machine may need a few.
    wait_until(lambda: 20 < float(listener.values['rate'].split()[0]) < 31, 20, 'rate')


def test_camera_name_chooses_the_topic(graph):
    listener = graph.listen('wrist')
    graph.run(device='generated', camera='wrist', width=320, height=240)
    wait_until(lambda: listener.images, 20, 'images')
    assert listener.images[0].width == 320
    assert listener.images[0].header.frame_id == 'wrist_optical_frame'


def test_missing_camera_is_one_line_until_it_is_plugged_in(graph, tmp_path):
    listener = graph.listen()
    path = tmp_path / 'camera.avi'
    node = graph.run(device=str(path), reconnect_period=0.1, loop=True, width=320, height=240)
    listener.wait_for_state('lost: video file')
    assert node.log.count('does not exist') == 1  # not once per attempt
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 30.0, (320, 240))
    for _ in range(30):
        writer.write(np.zeros((240, 320, 3), np.uint8))
    writer.release()
    wait_until(lambda: len(listener.images) > 5, 30, 'images after reconnect')
    assert node.alive


def test_bad_parameter_leaves_a_living_node_that_can_be_set_right(graph):
    listener = graph.listen()
    node = graph.run(device='generated', width=5)
    state = listener.wait_for_state('parameter width')
    assert state == 'parameter width: got 5, expected 16 … 8192'
    assert node.alive
    assert not listener.images
    assert listener.set_parameter('usb_camera', 'width', 640) == (True, '')
    wait_until(lambda: listener.images, 30, 'images')


def test_bad_change_is_refused_and_the_camera_goes_on(graph):
    listener = graph.listen()
    graph.run(device='generated', width=320, height=240)
    wait_until(lambda: listener.images, 20, 'images')
    good, reason = listener.set_parameter('usb_camera', 'fps', 5000.0)
    assert not good
    # rclpy's own sentence: the range is in the parameter's description.
    assert all(part in reason for part in ('fps', '5000.0', '300'))
    seen = len(listener.images)
    wait_until(lambda: len(listener.images) > seen + 10, 10, 'further images')


def test_changed_size_takes_effect(graph):
    listener = graph.listen()
    graph.run(device='generated', width=320, height=240)
    wait_until(lambda: listener.images, 20, 'images')
    assert listener.set_parameter('usb_camera', 'width', 160)[0]
    wait_until(lambda: listener.images[-1].width == 160, 10, 'narrow images')


def test_unknown_parameter_is_named_and_nothing_is_opened(graph):
    listener = graph.listen()
    node = graph.run(device='generated', exposre=3)
    state = listener.wait_for_state("parameter 'exposre' is unknown")
    assert "did you mean 'exposure'?" in state
    assert node.alive
    assert not listener.images


def test_end_of_a_file_is_reported_and_the_node_lives(graph, tmp_path):
    path = tmp_path / 'short.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 30.0, (320, 240))
    for _ in range(15):
        writer.write(np.zeros((240, 320, 3), np.uint8))
    writer.release()
    listener = graph.listen()
    node = graph.run(device=str(path), width=320, height=240)
    listener.wait_for_state('ended: ', 20)
    assert node.alive
    assert node.stop() == 0
    assert 'Traceback' not in node.log


@pytest.mark.skipif(not Path('/proc').is_dir(), reason='needs /proc')
def test_memory_does_not_grow_with_frames(graph):
    node = graph.run(device='generated', fps=120.0)
    listener = graph.listen()
    wait_until(lambda: len(listener.images) > 60, 20, 'images')
    before = resident_memory(node.process.pid)
    time.sleep(4)
    assert resident_memory(node.process.pid) - before < 8e6


def resident_memory(pid):
    line = next(
        line for line in Path(f'/proc/{pid}/status').read_text().splitlines() if 'VmRSS' in line
    )
    return int(line.split()[1]) * 1024


def test_a_node_started_on_its_own_gets_the_shipped_dds_profile():
    # With Fast DDS's own, the second camera's images vanish without a word.
    environment = {k: v for k, v in os.environ.items() if not k.endswith('PROFILES_FILE')}
    script = (
        'import os, sys, rclpy\n'
        'def init(*args, **options):\n'
        "    sys.exit(os.environ.get('FASTDDS_DEFAULT_PROFILES_FILE', 'none'))\n"
        'rclpy.init = init\n'
        'from vla_adapter_ros.nodes.cameras.usb_camera import main\n'
        'main([])\n'
    )
    run = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=60,
        env=environment,
    )
    assert run.stderr.strip().endswith('fastdds_network.xml'), run.stderr
