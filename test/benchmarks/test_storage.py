# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Random access: every storage gives back its frames, and the figures make sense."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.common import moving_images
from benchmarks.storage import ALTERNATIVES, main


@pytest.mark.parametrize('name', ALTERNATIVES)
def test_every_alternative_gives_back_the_frames(tmp_path, name):
    images = np.stack([moving_images(40, 64, 64, seed) for seed in range(2)], axis=1)
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
    arguments = ['--frames', '60', '--seconds', '0.1', '--workers', '0', '1']
    assert main([*arguments, '--output', str(tmp_path / 'figures.json')]) == 0
    figures = json.loads((tmp_path / 'figures.json').read_text())
    access = {entry['name']: entry for entry in figures['random_access']}
    raw, jpeg = access['ours, raw'], access['ours, jpeg']
    assert set(raw['samples']) == {'0', '1'}
    assert raw['per_core'] > jpeg['per_core'] > access['MP4 H.264 (LeRobot v3)']['per_core']
    assert 150_528 <= raw['bytes_per_frame'] < 151_000
    assert jpeg['bytes_per_frame'] < raw['bytes_per_frame'] / 3
    assert 'vs best other' in capsys.readouterr().out
