# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The benchmark of the data path runs, and its figures make sense."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.data import main
from benchmarks.recording import moving_pictures
from benchmarks.storage_alternatives import ALTERNATIVES
from support.ros_harness import isolated_environment


@pytest.mark.parametrize('name', ALTERNATIVES)
def test_every_alternative_gives_back_the_frames(tmp_path, name):
    images = np.stack([moving_pictures(40, 64, 64, seed) for seed in range(2)], axis=1)
    try:
        read = ALTERNATIVES[name](images, tmp_path)
    except ImportError as error:
        pytest.skip(f'{error.name} is not installed')
    rows = [3, 39, 0, 17]
    found = read(rows)
    assert found.shape == (4, 2, 64, 64, 3)
    if 'in order' in name:
        return
    errors = np.abs(found.astype(int) - images[rows]).mean(axis=(1, 2, 3, 4))
    assert errors.max() == 0 if 'raw' in name else errors.max() < 6
    # A neighbouring frame is further away.
    assert np.abs(found.astype(int) - images[[4, 38, 1, 18]]).mean() > 1.5 * errors.max()


def test_figures(tmp_path, capsys):
    arguments = ['--frames', '60', '--seconds', '0.1', '--workers', '0', '1', '--episode', '1']
    assert main([*arguments, '--output', str(tmp_path / 'figures.json')]) == 0
    figures = json.loads((tmp_path / 'figures.json').read_text())
    access = {entry['name']: entry for entry in figures['random_access']}
    raw, jpeg = access['ours, raw'], access['ours, jpeg']
    assert set(raw['samples']) == {'0', '1'}
    assert raw['per_core'] > jpeg['per_core'] > access['MP4 H.264 (LeRobot v3)']['per_core']
    assert 150_528 <= raw['bytes_per_frame'] < 151_000
    assert jpeg['bytes_per_frame'] < raw['bytes_per_frame'] / 3
    recordings = {entry['name']: entry for entry in figures['recording']}
    assert recordings['raw']['lost'] == 0
    # 2 cameras × 640 × 480 × 3 bytes × 30 Hz.
    assert recordings['raw']['bytes_per_hour'] == pytest.approx(199.1e9, rel=0.01)
    assert [entry['name'] for entry in figures['conversion']] == [
        'video 640x480', 'video 224x224', 'image 224x224',
    ]  # fmt: skip
    assert 'vs best other' in capsys.readouterr().out


@pytest.mark.slow(reason='needs an idle machine: a busy one loses images before the recorder')
def test_recorder_loses_nothing_at_full_rate(tmp_path):
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    module = 'benchmarks.recorder'
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
