# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Random access: every storage gives back its frames, and the figures make sense."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import simplejpeg

from benchmarks import storage
from benchmarks.common import moving_images
from benchmarks.storage import ALTERNATIVES, main
from vla_adapter_ros.processing.images import OWN_IMAGES


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


@pytest.mark.slow(reason='runs the whole benchmark')
def test_figures(tmp_path, capsys):
    arguments = ['--frames', '60', '--seconds', '0.1', '--workers', '0', '1']
    assert main([*arguments, '--output', str(tmp_path / 'figures.json')]) == 0
    figures = json.loads((tmp_path / 'figures.json').read_text())
    access = {entry['name']: entry for entry in figures['random_access']}
    raw, jpeg = access['ours, raw'], access['ours, jpeg']
    assert set(access) | set(figures['skipped']) == {'ours, raw', 'ours, jpeg', *ALTERNATIVES}
    for name, entry in access.items():
        # Which is fastest depends on the machine: that each was measured does not.
        assert set(entry['samples']) == ({'0', '1'} if entry['ours'] else {'0'}), name
        assert min(entry['per_core'], *entry['samples'].values()) > 0, name
    best = max(entry['per_core'] for entry in access.values() if not entry['ours'])
    shown = capsys.readouterr().out
    for entry in (raw, jpeg):
        line = next(x for x in shown.splitlines() if x.startswith(entry['name']))
        assert line.endswith(f'{entry["per_core"] / best:.1f}x')
    assert 150_528 <= raw['bytes_per_frame'] < 151_000
    assert jpeg['bytes_per_frame'] < raw['bytes_per_frame'] / 3
    assert 'vs best other' in shown


@pytest.mark.parametrize('format', ('raw', 'jpeg'))
def test_a_sample_reads_and_decodes_its_own_frames_only(tmp_path, monkeypatch, format):
    """Why random access is fast: raw frames are not decoded, of JPEGs only those asked for."""
    source = storage._make_dataset(tmp_path / 'set', 60)
    store = storage.prepare(source, OWN_IMAGES, format=format)
    decoded = []
    decode = simplejpeg.decode_jpeg
    monkeypatch.setattr(
        simplejpeg, 'decode_jpeg', lambda *a, **k: decoded.append(1) or decode(*a, **k)
    )
    assert store.images(np.array([3, 59, 0])).shape == (3, 2, 224, 224, 3)
    assert len(decoded) == (0 if format == 'raw' else 3 * 2)


def test_speed_is_samples_over_time(monkeypatch):
    """With clocks of our own: a batch takes half a second, a tenth of it computing."""
    clock = {'wall': 0.0, 'cpu': 0.0}

    def batches(*_, **__):
        while True:
            yield SimpleNamespace(rows=range(32))
            clock['wall'] += 0.5
            clock['cpu'] += 0.05

    monkeypatch.setattr(storage, 'Mixture', lambda _: None)
    monkeypatch.setattr(storage, 'Dataset', lambda *_: None)
    monkeypatch.setattr(storage, 'BatchOrder', lambda *_: None)
    monkeypatch.setattr(storage, 'load_batches', batches)
    monkeypatch.setattr(storage.time, 'perf_counter', lambda: clock['wall'])
    monkeypatch.setattr(storage.time, 'process_time', lambda: clock['cpu'])
    speeds, per_core = storage.measure(None, 32, 2.0, [0, 2])
    assert speeds == pytest.approx({0: 64.0, 2: 64.0})
    assert per_core == pytest.approx(640.0)
