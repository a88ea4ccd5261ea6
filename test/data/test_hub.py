# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Datasets on the Hub: read from a cache as huggingface_hub lays it out, and sent to a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.data_samples import contract, observations, targets
from support.hub_server import hub_server, put_into_cache
from vla_adapter_ros.data.hub import dataset_folder, pinned
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
from vla_adapter_ros.data.push import main
from vla_adapter_ros.data.sources import dataset_names, open_source
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.errors import DatasetError

constants = pytest.importorskip('huggingface_hub.constants')
COMMIT = '0123456789abcdef0123456789abcdef01234567'


def write_set(path):
    with DatasetWriter(path, contract(), storage='image') as writer:
        writer.add_episode(observations(4), targets(4), 'pick', {'success': True})
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with lab/pick at COMMIT, called main and v3.0; no network."""
    for name in ('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE'):
        monkeypatch.setattr(constants, name, str(tmp_path / 'cache'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    return put_into_cache(write_set(tmp_path / 'made'), tmp_path / 'cache', COMMIT, 'main', 'v3.0')


@pytest.mark.parametrize('name', ['', '@v3.0', f'@{COMMIT}'])
def test_cached_datasets_open_without_a_network(cache, name):
    address = f'hub:lab/pick{name}'
    assert dataset_folder(Path(address)) == cache
    assert [episode.instruction for episode in open_source(address).episodes] == ['pick']
    assert pinned(address) == f'hub:lab/pick@{COMMIT}'


def test_one_of_several_datasets_of_a_repository(cache):
    write_set(cache / 'suites/spatial/1.0.0')
    address = 'hub:lab/pick/suites/spatial/1.0.0'
    assert [episode.instruction for episode in open_source(address).episodes] == ['pick']
    assert pinned(address) == f'{address}@{COMMIT}'
    assert dataset_names([address, 'hub:lab/pick']) == ['spatial', 'pick']


def test_a_dataset_is_named_by_its_repository(cache):
    assert dataset_names(['hub:lab/pick@v3.0', 'sets/push']) == ['pick', 'push']
    assert dataset_names(['hub:lab/pick', 'hub:home/pick']) == ['lab/pick', 'home/pick']
    dataset = open_dataset('hub:lab/pick', chunk_size=2, cache=False)
    assert (dataset.name, len(dataset)) == ('pick', 4)


def test_folders_stay_folders(tmp_path):
    assert dataset_folder(tmp_path) == tmp_path
    assert pinned('sets/hub:x') == 'sets/hub:x'


@pytest.mark.parametrize('address', ['hub:pick', 'hub:lab/pick@', 'hub:lab/pick/../x', 'hub:../x'])
def test_malformed_addresses_are_refused(address):
    with pytest.raises(DatasetError, match='expected hub:ORG/NAME'):
        open_source(address)


def test_what_is_not_in_the_cache_is_named(cache):
    with pytest.raises(DatasetError, match=r'hub:lab/push@v3.0: cannot be had .*HF_HUB_OFFLINE'):
        open_source('hub:lab/push@v3.0')


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server with an empty repository lab/pick, and an empty cache."""
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    for name in ('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE'):
        monkeypatch.setattr(constants, name, str(tmp_path / 'cache'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    with hub_server() as (address, repository):
        monkeypatch.setenv('HF_ENDPOINT', address)
        yield repository


def test_a_pushed_dataset_is_read_back(hub, tmp_path, capsys):
    made = write_set(tmp_path / 'made')
    for name in ('.cache/frames', '.damaged/a', 'meta/.edit.json', 'notes.txt'):
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text('not for others')
    hub.files['data/chunk-000/file-007.parquet'] = b'of an earlier push'
    hub.tags['v3.0'] = 'earlier'
    assert main([str(made), 'lab/pick', '--private']) == 0
    assert f'hub:lab/pick@{hub.commit}' in capsys.readouterr().out
    kept = [f for d in ('meta', 'data') for f in (made / d).rglob('*') if f.name[0] != '.']
    expected = {f.relative_to(made).as_posix() for f in kept if f.is_file()}
    assert set(hub.files) == expected | {'README.md'}
    assert hub.created.get('visibility') == 'private' or hub.created.get('private') is True
    assert hub.tags == {'v3.0': hub.commit}
    card = hub.files['README.md'].decode()
    assert '1 demonstrations (1 successes, 0 failures, 0 not marked), 4 frames' in card
    assert '- LeRobot\n- vla_adapter_ros\n' in card
    source = open_source('hub:lab/pick')
    assert f'downloading {len(expected)} files, 0.0' in capsys.readouterr().out
    assert source.episodes == open_source(made).episodes
    assert not (source.path / 'README.md').exists()
    open_source('hub:lab/pick')
    assert capsys.readouterr().out == ''


def test_dry_run_lists_the_files_and_sends_nothing(hub, tmp_path, capsys):
    assert main([str(write_set(tmp_path / 'made')), 'lab/pick', '--dry-run']) == 0
    assert {'README.md', 'meta/info.json'} <= set(capsys.readouterr().out.splitlines())
    assert hub.files == {}


def test_what_is_no_complete_dataset_is_not_pushed(hub, tmp_path, capsys):
    made = write_set(tmp_path / 'made')
    (made / '.staging').mkdir()
    assert main([str(made), 'lab/pick']) == 1
    assert main([str(tmp_path), 'lab/pick']) == 1
    assert main([str(write_set(tmp_path / 'good')), 'lab/pick/folder']) == 1
    out = capsys.readouterr().out
    assert 'has unfinished episodes' in out
    assert 'no LeRobot dataset' in out
    assert "got 'lab/pick/folder', expected ORG/NAME" in out
    assert (hub.files, hub.created) == ({}, {})
