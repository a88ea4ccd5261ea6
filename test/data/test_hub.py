# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Datasets on the Hub: read from a cache as huggingface_hub lays it out, and sent to a server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.data_samples import contract, observations, targets
from vla_adapter_ros.data.hub import dataset_folder, pinned
from vla_adapter_ros.data.lerobot.writer import DatasetWriter
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
    made = write_set(tmp_path / 'made')
    root = tmp_path / 'cache/datasets--lab--pick'
    blobs, commit = root / 'blobs', root / 'snapshots' / COMMIT
    for number, file in enumerate(f for f in made.rglob('*') if f.is_file()):
        link = commit / file.relative_to(made)
        for folder in (blobs, link.parent, root / 'refs'):
            folder.mkdir(parents=True, exist_ok=True)
        file.replace(blobs / str(number))
        link.symlink_to(os.path.relpath(blobs / str(number), link.parent))
    for name in ('main', 'v3.0'):
        (root / 'refs' / name).write_text(COMMIT)
    for name in ('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE'):
        monkeypatch.setattr(constants, name, str(tmp_path / 'cache'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    return commit


@pytest.mark.parametrize('name', ['', '@v3.0', f'@{COMMIT}'])
def test_cached_datasets_open_without_a_network(cache, name):
    address = f'hub:lab/pick{name}'
    assert dataset_folder(Path(address)) == cache
    assert [episode.instruction for episode in open_source(address).episodes] == ['pick']
    assert pinned(address) == f'hub:lab/pick@{COMMIT}'


def test_a_dataset_is_named_by_its_repository(cache):
    assert dataset_names(['hub:lab/pick@v3.0', 'sets/push']) == ['pick', 'push']
    assert dataset_names(['hub:lab/pick', 'hub:home/pick']) == ['lab/pick', 'home/pick']
    dataset = open_dataset('hub:lab/pick', chunk_size=2, cache=False)
    assert (dataset.name, len(dataset)) == ('pick', 4)


def test_folders_stay_folders(tmp_path):
    assert dataset_folder(tmp_path) == tmp_path
    assert pinned('sets/hub:x') == 'sets/hub:x'


@pytest.mark.parametrize('address', ['hub:pick', 'hub:lab/pick@', 'hub:lab/pick/meta', 'hub:../x'])
def test_malformed_addresses_are_refused(address):
    with pytest.raises(DatasetError, match='expected hub:ORG/NAME'):
        open_source(address)


def test_what_is_not_in_the_cache_is_named(cache):
    with pytest.raises(DatasetError, match=r'hub:lab/push@v3.0: cannot be had .*HF_HUB_OFFLINE'):
        open_source('hub:lab/push@v3.0')
