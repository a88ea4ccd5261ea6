# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Recording and conversion are measured, and every benchmark says how it is called."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest

from benchmarks.conversion import main
from support.ros_harness import isolated_environment


@pytest.mark.slow(reason='runs the whole benchmark')
def test_conversion_figures(tmp_path):
    assert main(['--seconds', '1', '--output', str(tmp_path / 'figures.json')]) == 0
    figures = json.loads((tmp_path / 'figures.json').read_text())
    # 2 cameras × 640 × 480 × 3 bytes × 30 Hz.
    assert figures['bag_bytes_per_hour'] == pytest.approx(199.1e9, rel=0.01)
    names = [entry['name'] for entry in figures['conversion']]
    assert names == ['video 640x480', 'video 224x224', 'image 224x224']
    assert all(0 < e['bytes_per_hour'] < 199.1e9 / 20 for e in figures['conversion'])


@pytest.mark.parametrize(
    'name',
    ['control_loop', 'conversion', 'libero', 'policy_server', 'recording', 'seams', 'storage',
     'training'],
)  # fmt: skip
def test_help_names_the_command(name, capsys):
    if name in ('control_loop', 'recording'):
        pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    with pytest.raises(SystemExit) as stop:
        import_module(f'benchmarks.{name}').main(['--help'])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: python -m benchmarks.{name} ')


@pytest.mark.slow(reason='needs an idle machine: a busy one loses images before the recorder')
def test_recorder_loses_nothing_at_full_rate(tmp_path):
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    module = 'benchmarks.recording'
    done = subprocess.run(
        [sys.executable, '-m', module, '--seconds', '5', '--folder', str(tmp_path)],
        capture_output=True, text=True, timeout=110, env=isolated_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout[done.stdout.index('{') :])
    assert set(figures['sent_and_lost']) == {
        '/third_person/image', '/wrist/image', '/joint_states',
    }  # fmt: skip
    for sent, lost in figures['sent_and_lost'].values():
        assert sent > 100
        # A busy machine may drop a best-effort image; the recorder itself must not.
        assert lost <= 0.02 * sent
