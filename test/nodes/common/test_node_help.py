# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Every executable has a complete --help, and prints it without starting anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

REPOSITORY = Path(__file__).resolve().parents[3]
EXECUTABLES = dict(
    line.split()
    for line in (REPOSITORY / 'scripts' / 'executables.txt').read_text().splitlines()
    if not line.startswith('#')
)
NODES = {
    'vla_adapter': ('policy.policy_parameters', 'PolicyNodeParameters'),
    'sim_arm': ('simulation.sim_arm_node', 'SimArmParameters'),
    'recorder': ('recording.recorder_parameters', 'RecorderParameters'),
    'usb_camera': ('cameras.usb_camera', 'UsbCameraParameters'),
    'realsense_camera': ('cameras.realsense_camera', 'RealSenseParameters'),
    'teach': ('teaching.teach_parameters', 'TeachParameters'),
    'emulated_standalone_driver': (
        'simulation.emulated_standalone_driver',
        'StandaloneDriverParameters',
    ),
    'emulated_ros2_control': ('simulation.emulated_ros2_control', 'Ros2ControlParameters'),
}


def show_help(name: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-m', EXECUTABLES[name], '--help'], capture_output=True, text=True,
        timeout=60, cwd=REPOSITORY,
    )


@pytest.mark.parametrize('name', sorted(EXECUTABLES))
def test_executable_has_help(name):
    run = show_help(name)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith('usage: ')
    assert len(run.stdout.splitlines()) > 5
    assert 'INFO' not in run.stderr


@pytest.mark.parametrize('name', NODES)
def test_help_of_a_node_lists_every_parameter_with_default_and_limits(name):
    from dataclasses import fields
    from importlib import import_module

    module, kind = NODES[name]
    text = show_help(name).stdout
    for spec in fields(getattr(import_module(f'vla_adapter_ros.nodes.{module}'), kind)):
        assert f'  {spec.name} ' in text, spec.name
        assert spec.metadata['limits'].description.split()[0] in text
    assert '(default: ' in text


def test_help_shows_limits_and_words_after_ros_args_are_not_ours():
    text = ' '.join(show_help('usb_camera').stdout.split())
    assert 'Image width [px]. [16 … 8192] (default: 640)' in text
    assert 'Pixel format on the bus. [one of: MJPG, YUYV, UYVY, RGB3, BGR3]' in text
    from vla_adapter_ros.nodes.cameras.usb_camera import UsbCameraParameters
    from vla_adapter_ros.nodes.common.node_help import help_if_asked

    help_if_asked(['--ros-args', '-p', 'device:=--help'], 'x', 'y', UsbCameraParameters)
