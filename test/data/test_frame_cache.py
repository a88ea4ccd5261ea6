# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The training cache: equal to the source, reused, rebuilt when the data changes, crash-safe."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support.data_samples import contract, frame_of, image, observations, targets
from vla_adapter_ros.data import cache_room
from vla_adapter_ros.data import prepare as prepare_module
from vla_adapter_ros.data.cache_room import default_root, jpeg_bytes, raw_bytes
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.prepare import CachedFrames, main, prepare
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.images import ImageConfig, resize_for_model

SMALL = ImageConfig(size=32, jpeg_round_trip=False)
LENGTHS = (9, 14)
INSTRUCTION = b'pick up the cube'


@pytest.fixture
def dataset(tmp_path):
    with DatasetWriter(tmp_path / 'set', contract(), storage='image') as writer:
        for seed, length in enumerate(LENGTHS):
            writer.add_episode(observations(length, seed), targets(length, seed))
    return tmp_path / 'set'


@pytest.mark.parametrize('workers', [1, 2])
@pytest.mark.parametrize('format', ['raw', 'jpeg'])
def test_frames_are_those_of_the_source(dataset, format, workers):
    frames = prepare(open_source(dataset), SMALL, format=format, workers=workers)
    rows = np.random.default_rng(0).permutation(sum(LENGTHS))
    pixels = frames.images(rows)
    assert pixels.shape == (23, 2, 32, 32, 3)
    for views, row in zip(pixels, rows, strict=True):
        seed, frame = (0, row) if row < 9 else (1, row - 9)
        for camera in range(2):
            expected = resize_for_model(image(seed + camera, frame), SMALL)
            error = np.abs(views[camera].astype(int) - expected)
            assert error.max() == 0 if format == 'raw' else error.mean() < 1.5
    np.testing.assert_array_equal(frames.actions[9:], targets(14, 1).astype(np.float32))
    assert frames.contract == contract()


def test_second_opening_reuses_the_cache(dataset, monkeypatch):
    first = prepare(open_source(dataset), SMALL)

    def build(*_):
        raise AssertionError('built again')

    monkeypatch.setattr(prepare_module, '_build', build)
    assert prepare(open_source(dataset), SMALL).path == first.path
    with pytest.raises(AssertionError, match='built again'):
        prepare(open_source(dataset), ImageConfig(size=16, jpeg_round_trip=False))
    with DatasetWriter(dataset, contract(), storage='image', append=True) as writer:
        writer.add_episode(observations(3), targets(3))
    with pytest.raises(AssertionError, match='built again'):
        prepare(open_source(dataset), SMALL)


def test_cache_survives_a_move_of_the_data(dataset, monkeypatch):
    prepare(open_source(dataset), SMALL)
    moved = dataset.rename(dataset.with_name('moved'))
    monkeypatch.setattr(prepare_module, '_build', lambda *_: pytest.fail('built again'))
    assert len(prepare(open_source(moved), SMALL)) == 23


def test_interrupted_build_leaves_nothing(dataset, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, 'write_json', stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(open_source(dataset), SMALL)
    assert not list(default_root().iterdir())
    assert not (dataset / '.cache').exists()
    assert len(prepare(open_source(dataset), SMALL)) == 23


def _disk(monkeypatch, free):
    usage = cache_room.shutil.disk_usage('/')
    monkeypatch.setattr(cache_room.shutil, 'disk_usage', lambda _: usage._replace(free=free))


def test_a_cache_that_the_disk_cannot_hold_is_refused_before_it_is_built(dataset, monkeypatch):
    raw, jpeg = (size(open_source(dataset), SMALL) for size in (raw_bytes, jpeg_bytes))
    assert raw == 23 * 2 * 32 * 32 * 3
    _disk(monkeypatch, 1000)
    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, '_build', lambda *_: pytest.fail('was begun'))
        for format in ('raw', 'jpeg', 'auto'):
            with pytest.raises(DatasetError, match=r'needs 0\.00 GB raw or about 0\.00 GB as J'):
                prepare(open_source(dataset), SMALL, format=format)
        _disk(monkeypatch, (raw + jpeg) // 2)
        with pytest.raises(DatasetError, match=r'\(data.cache, --cache\) or the format jpeg'):
            prepare(open_source(dataset), SMALL, format='raw')
    assert prepare(open_source(dataset), SMALL).format == 'jpeg'
    # What was built is used, whatever fits now.
    _disk(monkeypatch, 10**12)
    assert prepare(open_source(dataset), SMALL).format == 'jpeg'


def test_jpeg_is_estimated_from_the_data(dataset):
    source = open_source(dataset)
    path = prepare(source, SMALL, format='jpeg').path
    real = (path / 'images.bin').stat().st_size
    assert jpeg_bytes(source, SMALL) == pytest.approx(real, rel=0.1)


def test_a_dataset_that_cannot_be_written_trains_and_a_cache_that_cannot_is_named(
    dataset, tmp_path, monkeypatch
):
    before = sorted(dataset.rglob('*'))
    assert len(prepare(open_source(dataset), SMALL)) == 23
    assert sorted(dataset.rglob('*')) == before
    (tmp_path / 'file').write_text('')
    with pytest.raises(DatasetError, match=r'cannot be written there: .*\(data.cache, --cache\)'):
        prepare(open_source(dataset), SMALL, root=tmp_path / 'file')
    monkeypatch.setattr(prepare_module.os, 'access', lambda *_: False)
    with pytest.raises(DatasetError, match='cannot be written there: permission denied'):
        prepare(open_source(dataset), SMALL, root=tmp_path / 'other')


def test_two_runs_that_build_the_same_cache_share_it(dataset, monkeypatch):
    build, source = prepare_module._build, open_source(dataset)

    def slower(folder, *arguments):
        monkeypatch.setattr(prepare_module, '_build', build)
        other = default_root() / 'other'
        done = prepare(source, SMALL, root=other)
        done.path.rename(default_root() / done.path.name)
        build(folder, *arguments)

    monkeypatch.setattr(prepare_module, '_build', slower)
    assert len(prepare(source, SMALL)) == 23
    assert [path.name[0] for path in default_root().iterdir()].count('.') == 0


def test_backups_leave_the_cache_out(dataset):
    tag = prepare(open_source(dataset), SMALL).path / 'CACHEDIR.TAG'
    assert tag.read_text().startswith('Signature: 8a477f597d28d172789f06886806bc55')


def test_damaged_cache_is_reported(dataset):
    path = prepare(open_source(dataset), SMALL, format='jpeg').path
    (path / 'images.bin').write_bytes(b'short')
    with pytest.raises(DatasetError, match=r'damaged: images.bin has 5 bytes'):
        CachedFrames(path)
    description = json.loads((path / 'cache.json').read_text())
    (path / 'cache.json').write_text(json.dumps(description | {'version': 99}))
    with pytest.raises(DatasetError, match='cache version 99'):
        CachedFrames(path)


def test_nan_in_the_data_is_reported_with_its_place(dataset, monkeypatch):
    source = open_source(dataset)
    vectors = [source.states_actions(n) for n in range(len(source.episodes))]
    vectors[1].state[4, 2] = np.nan
    monkeypatch.setattr(source, 'states_actions', vectors.__getitem__)
    with pytest.raises(DatasetError, match=r'episode_000001: frame 4: state\[2\] is nan'):
        prepare(source, SMALL)


def test_command_line(dataset, tmp_path, capsys):
    arguments = [str(dataset), '--size', '48', '--cache', str(tmp_path / 'c'), '--workers', '1']
    assert main(arguments) == 0
    assert '23 frames, raw' in capsys.readouterr().out
    (folder,) = (tmp_path / 'c').iterdir()
    assert frame_of(CachedFrames(folder).images([5])[0, 0]) == 5
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / 'nothing')])
    assert stop.value.code == 1
    assert 'no such file or folder' in capsys.readouterr().err


def test_an_edited_instruction_of_the_same_length_is_seen(dataset):
    before = open_source(dataset).fingerprint()
    sizes = {file: file.stat().st_size for file in dataset.rglob('*') if file.is_file()}
    changed = 0
    for file in (dataset / 'meta').rglob('*'):
        content = file.read_bytes() if file.is_file() else b''
        if INSTRUCTION in content:
            file.write_bytes(content.replace(INSTRUCTION, INSTRUCTION[::-1]))
            changed += 1
    assert changed
    assert sizes == {file: file.stat().st_size for file in sizes}
    assert open_source(dataset).fingerprint() != before
