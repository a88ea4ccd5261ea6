# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The demo can be watched: a rerun recording of everything, or the simulation's window."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

from support.ros_harness import isolated_environment
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.demo import demo
from vla_adapter_ros.nodes.demo.demo_viewer import check_viewer
from vla_adapter_ros.nodes.simulation.sim_window import SimWindow
from vla_adapter_ros.robot.contract import contract_path, load_contract
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation

FILE = contract_path('alicia_d_sim')
CONTRACT = load_contract(FILE)
STATE = np.array([0.0, 0.0, 0.44, 0.0, -1.2, 0.0, 1.0])


def listed(path) -> str:
    """Everything that is in a recording, as rerun's own tool prints it."""
    command = [sys.executable, '-m', 'rerun', 'rrd', 'print', '-vvv', str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_demo_writes_a_recording_without_a_display(tmp_path, monkeypatch, capsys):
    pytest.importorskip('rerun', reason='rerun-sdk is not installed')
    for name, value in isolated_environment().items():
        monkeypatch.setenv(name, value)
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    words = ['--policy', 'expert', '--viewer', 'rerun', '--seconds', '4', '--out', str(tmp_path)]
    demo.main([*words, '--instruction', 'reach the red block'])
    assert 'demo.rrd; open it with: rerun' in capsys.readouterr().out
    text = listed(tmp_path / 'demo.rrd')
    for entity in ('cameras/third_person', 'cameras/wrist', 'scene/predicted_path',
                   'joints/Joint1/commanded', 'joints/Gripper/commanded'):  # fmt: skip
        assert f'/{entity}' in text, entity


@pytest.mark.parametrize(
    ('name', 'environment', 'reason'),
    [
        ('mujoco', {}, 'there is no display (DISPLAY and WAYLAND_DISPLAY are not set)'),
        ('rviz', {'DISPLAY': ':0'}, "viewer 'rviz': expected none, mujoco, rerun"),
    ],
)
def test_a_viewer_that_cannot_work_is_refused_in_a_sentence(name, environment, reason):
    with pytest.raises(VLAAdapterError) as caught:
        check_viewer(name, environment)
    assert reason in str(caught.value)
    check_viewer('mujoco', {'WAYLAND_DISPLAY': 'wayland-0'})
    check_viewer('none', {})


def test_missing_rerun_is_told(monkeypatch):
    monkeypatch.setattr('vla_adapter_ros.nodes.viewing.rerun_log.find_spec', lambda name: None)
    with pytest.raises(VLAAdapterError, match='pip install rerun-sdk'):
        check_viewer('rerun', {})


def test_the_demo_refuses_before_it_starts_anything(tmp_path, monkeypatch):
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit, match='demo: viewer mujoco: there is no display'):
        demo.main(['--viewer', 'mujoco', '--out', str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()


def test_the_window_follows_the_simulation_until_it_is_closed(monkeypatch):
    """With a display in place of which a counter stands; nothing here can open a real one."""
    handle = SimpleNamespace(open=True, synced=0, closed=0)
    handle.is_running = lambda: handle.open
    handle.sync = lambda: setattr(handle, 'synced', handle.synced + 1)
    handle.close = lambda: setattr(handle, 'closed', handle.closed + 1)
    shown = []

    def launch(model, data, **_):
        shown.append((model, data))
        return handle

    monkeypatch.setattr('mujoco.viewer.launch_passive', launch)
    clock = iter(np.arange(0.0, 10.0, 0.01))
    module = 'vla_adapter_ros.nodes.simulation.sim_window'
    monkeypatch.setattr(f'{module}.time.monotonic', lambda: next(clock))
    with ArmSimulation() as arm:
        window = SimWindow(arm, pytest.fail)
        assert shown == [(arm.model, arm.data)]
        for _ in range(101):
            window.show()
        assert 25 <= handle.synced <= 31, 'thirty times a second'
        handle.open, before = False, handle.synced
        for _ in range(10):
            window.show()
        assert (handle.synced, handle.closed) == (before, 1)
        window.close()
        assert handle.closed == 1


def test_no_window_is_no_end_of_the_simulation(monkeypatch):
    def launch(*_, **__):
        raise RuntimeError('could not create window')

    monkeypatch.setattr('mujoco.viewer.launch_passive', launch)
    said = []
    with ArmSimulation() as arm:
        window = SimWindow(arm, said.append)
        window.show()
        window.close()
    assert said == ['no window: could not create window']
