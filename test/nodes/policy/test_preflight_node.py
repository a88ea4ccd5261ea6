# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The preflight command on the real graph, with emulated drivers and camera nodes."""

from __future__ import annotations

import json

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from support.driver_client import DriverClient
from support.node_starter import run_module
from support.ros_harness import NodeProcess, isolated_environment, wait_until

A, B = 'emulated_ros2_control', 'emulated_standalone_driver'


@pytest.fixture
def bench(tmp_path):
    """bench.start(module, …) starts a node; bench.preflight(*words) → (exit code, checks)."""

    class Bench:
        environment = isolated_environment()
        running: list = []  # noqa: RUF012

        def start(self, module, name='', **parameters):
            self.running.append(NodeProcess(module, parameters, self.environment, name))

        def cameras(self, **changes):
            for camera in ('third_person', 'wrist'):
                settings = {'device': 'generated', 'camera': camera, **changes}
                self.start('usb_camera', f'{camera}_camera', **settings)

        def preflight(self, *words, answer='', remaps=()):
            path = tmp_path / 'result.json'
            arguments = [
                '--topics-only', '--seconds', '1.5', '--json', str(path), *words,
                '--ros-args', *remaps,
            ]  # fmt: skip
            run = run_module(
                'vla_adapter_ros.nodes.policy.preflight', arguments, self.environment, tmp_path,
                answer,
            )  # fmt: skip
            assert path.is_file(), run.stdout + run.stderr
            checks = {c['name']: c for c in json.loads(path.read_text())['checks']}
            return run.returncode, checks

    bench = Bench()
    bench.running = []
    yield bench
    for node in bench.running:
        node.stop()


def test_ready_bench_passes_without_moving(bench):
    bench.start(A, startup_motion=False, default_speed_deg_s=60.0)
    bench.cameras()
    client = DriverClient(bench.environment)
    client.wait_for_states(50)
    code, checks = bench.preflight()
    assert {name for name, c in checks.items() if c['verdict'] == 'FAIL'} == set(), checks
    assert code == 0
    assert checks['wrist camera']['verdict'] == 'ok'
    assert checks['driver speed']['verdict'] == 'ok'
    assert checks['gripper type']['verdict'] == 'ok'
    history = client.history()
    client.close()
    # A servo comes to rest within a count of where it stood when it was switched on.
    assert abs(history - history[0]).max() < 0.002


def test_empty_graph_fails_in_words(bench):
    code, checks = bench.preflight()
    assert code == 1
    assert 'no node publishes /third_person/image' in checks['third_person camera']['detail']
    assert 'no node publishes /joint_states' in checks['joint states']['detail']
    assert 'no node listens on /Alicia_controller' in checks['driver']['detail']


def test_wrong_firmware_shows_as_zeros(bench):
    bench.start(B, fault='no_reply')
    code, checks = bench.preflight('--robot', 'alicia_d_standalone')
    assert code == 1
    assert 'exactly zero on all joints' in checks['joint states']['detail']
    assert 'firmware' in checks['joint states']['detail']


def test_wrong_front_end_and_speed_are_found(bench):
    bench.start(B, first_reply_after=0.0)
    code, checks = bench.preflight()
    assert code == 1
    assert 'use robot:=alicia_d_standalone' in checks['driver']['detail']
    _, checks = bench.preflight('--robot', 'alicia_d_standalone')
    assert checks['driver']['verdict'] == 'ok'
    # The standalone node tells its speed as a parameter.
    assert checks['driver speed']['detail'].startswith('20 deg/s')


def test_wrong_image_size_is_found(bench):
    bench.cameras(width=320, height=240)
    _, checks = bench.preflight()
    assert checks['wrist camera']['verdict'] == 'FAIL'
    assert '320×240 pixels, the contract says 640×480' in checks['wrist camera']['detail']


def test_remapped_camera_topic_is_watched(bench):
    bench.start('usb_camera', 'camera', device='generated', camera='camera/camera/color')
    code, checks = bench.preflight(remaps=['-r', 'wrist/image:=/camera/camera/color/image'])
    assert code == 1
    assert checks['wrist camera']['verdict'] == 'ok'
    assert '/camera/camera/color/image' in checks['wrist camera']['detail']


@pytest.mark.parametrize(('fault', 'verdict'), [('none', 'ok'), ('gripper_inverted', 'FAIL')])
def test_inverted_gripper_is_found_by_the_guided_check(bench, fault, verdict):
    bench.start(B, first_reply_after=0.0, fault=fault)
    # The gripper of the emulated arm stands open.
    _, checks = bench.preflight('--robot', 'alicia_d_standalone', '--ask-gripper', answer='open\n')
    assert checks['gripper sign']['verdict'] == verdict
    if verdict == 'FAIL':
        assert 'inverted' in checks['gripper sign']['detail']


def test_sheet_is_written(bench, tmp_path):
    bench.cameras()
    bench.preflight('--sheet', str(tmp_path / 'sheet.png'))
    wait_until(lambda: (tmp_path / 'sheet.png').is_file(), 1, 'sheet')
