# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Models on the Hub: read from a cache as huggingface_hub lays it out; a folder comes first."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from support.checkpoint_cases import (
    PRISMATIC_TOWERS,
    TOWERS,
    official_tensors,
    write_base,
    write_official,
)
from support.hub_server import hub_server, put_into_cache
from support.model_cases import tiny_config
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.inference.simple_policies import shipped_checkpoint
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.weights.directory import read_checkpoint_metadata
from vla_adapter_ros.weights.fetch import main
from vla_adapter_ros.weights.lora import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from vla_adapter_ros.weights.own import open_checkpoint
from vla_adapter_ros.weights.released import (
    BASE_TOKENIZER,
    BASE_VLM,
    is_base_vlm,
    model_folder,
    pinned_model,
    tower_file,
)

constants = pytest.importorskip('huggingface_hub.constants')
COMMIT = '0123456789abcdef0123456789abcdef01234567'


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache and no network; returns a function that puts a folder into it."""
    for name in ('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE'):
        monkeypatch.setattr(constants, name, str(tmp_path / 'cache'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    work = tmp_path / 'work'
    work.mkdir()
    monkeypatch.chdir(work)

    def put(made: Path, address: str, *names: str) -> Path:
        repo = 'models--' + address.removeprefix('hub:').replace('/', '--')
        return put_into_cache(made, tmp_path / 'cache', COMMIT, 'main', *names, repo=repo)

    return put


@pytest.fixture
def released(hub, tmp_path):
    """The shipped checkpoint as lab/pick at COMMIT, called main and v1."""
    return hub(Path(shutil.copytree(shipped_checkpoint(), tmp_path / 'made')), 'lab/pick', 'v1')


@pytest.mark.parametrize(
    'address',
    ['lab/pick', 'lab/pick@v1', f'hub:lab/pick@{COMMIT}', 'hf://lab/pick', 'hub:lab/pick'],
)
def test_every_address_means_the_folder_in_the_cache(released, address):
    assert model_folder(address) == model_folder(Path(address)) == released
    assert pinned_model(address) == f'hub:lab/pick@{COMMIT}'


def test_a_policy_of_the_hub_names_its_commit(released):
    policy = Policy.from_pretrained('lab/pick', device='cpu', threads=1)
    assert policy.provenance['checkpoint'] == f'hub:lab/pick@{COMMIT}'
    assert policy.contract == Policy.from_pretrained(released, device='cpu', threads=1).contract
    assert read_checkpoint_metadata('hf://lab/pick').robot['name'] == policy.contract.name


def test_a_revision_may_be_an_argument_of_its_own(released):
    policy = Policy.from_pretrained('lab/pick', revision='v1', device='cpu')
    assert policy.provenance['checkpoint'] == f'hub:lab/pick@{COMMIT}'
    assert VLAAdapter.from_pretrained('hub:lab/pick@v1', revision='v1').metadata.training
    for path, revision, message in (
        ('lab/pick', 'v2', 'hub:lab/pick@v2: cannot be had'),
        ('lab/pick@v1', 'main', "hub:lab/pick@v1: got revision='main' too; give one of the two"),
        ('lab/pick', 'a b', "got 'hub:lab/pick@a b', expected hub:ORG/NAME"),
        (released, 'v1', f"{released}: got revision='v1'; folders have none, only models"),
    ):
        with pytest.raises(CheckpointError) as caught:
            Policy.from_pretrained(path, revision=revision, device='cpu')
        assert message in str(caught.value) and '\n' not in str(caught.value)


def test_a_folder_of_that_name_comes_first(released):
    Path('lab/pick').mkdir(parents=True)
    assert model_folder('lab/pick') == Path('lab/pick')
    assert pinned_model('lab/pick') == 'lab/pick'
    assert model_folder('hub:lab/pick') == released


def test_a_missing_folder_beside_others_is_not_asked_of_the_hub(released):
    Path('lab').mkdir()
    with pytest.raises(CheckpointError, match='lab/pick: no such file .*write hub:lab/pick'):
        model_folder('lab/pick')


@pytest.mark.parametrize('path', ['pick', 'a/b/c', './lab/pick', '../lab/pick', '/lab/pick'])
def test_other_paths_stay_paths(released, path):
    assert model_folder(path) == Path(path)


@pytest.mark.parametrize('address', ['lab/push', 'hub:lab/push', 'hub:lab/pick@v2'])
def test_what_cannot_be_had_is_named_with_the_cache(released, tmp_path, address):
    with pytest.raises(CheckpointError) as refused:
        Policy.from_pretrained(address)
    text = str(refused.value)
    assert address in text
    assert str(tmp_path / 'cache') in text
    assert 'HF_HUB_OFFLINE' in text
    assert ('no such file or folder here' in text) == (address == 'lab/push')


def test_downloads_are_announced_and_leave_code_and_training_states(hub, monkeypatch):
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    wanted = {
        'config.json', 'model.safetensors', 'merges.txt', 'dataset_statistics.json',
        'action_head--150000_checkpoint.pt', 'lora_adapter/adapter_model.safetensors',
    }  # fmt: skip
    others = {'modeling_prismatic.py', 'README.md', 'training_state.pt', 'pytorch_model.bin'}
    said: list[str] = []
    with hub_server() as (address, repository):
        monkeypatch.setenv('HF_ENDPOINT', address)
        repository.files = dict.fromkeys(wanted | others, b'a thousand bytes' * 63)
        folder = model_folder('lab/pick', say=said.append)
        model_folder('lab/pick', say=said.append)
    found = {f.relative_to(folder).as_posix() for f in folder.rglob('*') if f.is_file()}
    assert found == wanted
    assert said == [
        f'hub:lab/pick: downloading 6 files, 0.000 GB (commit {repository.commit})'
    ]


@pytest.fixture
def served(hub, monkeypatch):
    """The files of `lab/pick` on a server."""
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    with hub_server() as (address, repository):
        monkeypatch.setenv('HF_ENDPOINT', address)
        yield repository


@pytest.mark.parametrize(
    ('names', 'read'),
    [
        (['step-000100-epoch-00-loss=0.9.pt', 'latest-checkpoint.pt'], 'latest-checkpoint.pt'),
        (['step-000100-epoch-00-loss=0.9.pt', 'step-020792-epoch-01-loss=0.5268.pt'],
         'step-020792-epoch-01-loss=0.5268.pt'),
        (['latest-checkpoint.pt'], 'latest-checkpoint.pt'),
    ],
)  # fmt: skip
@pytest.mark.parametrize('folder', ['', '/prism-dinosiglip-224px+7b'])
def test_of_a_base_vlm_the_weights_that_are_read_are_downloaded(served, names, read, folder):
    """Runs of Prismatic as published: several steps, or many runs in one repository."""
    begin = f'{folder[1:]}/' if folder else ''
    served.files = {f'{begin}checkpoints/{name}': name.encode() for name in names}
    served.files |= {f'{begin}config.json': b'{}', f'{begin}train-metrics.jsonl': b'{}'}
    served.files |= {'other/config.json': b'{}', 'other/checkpoints/latest-checkpoint.pt': b''}
    found = model_folder(f'hub:lab/pick{folder}', say=lambda text: None)
    assert [file.name for file in found.glob('checkpoints/*')] == [read]
    assert (found / 'config.json').is_file()
    if folder:
        assert not (found.parent / 'other').exists()
    address = f'hub:lab/pick{folder}@{served.commit}'
    assert pinned_model(f'hf://lab/pick{folder}') == address
    assert model_folder(address) == found


def test_a_folder_that_a_repository_lacks_is_named(served):
    served.files = {'config.json': b'{}'}
    with pytest.raises(CheckpointError, match="has no folder 'vlm'"):
        model_folder('hub:lab/pick/vlm')


def test_only_a_folder_without_a_policy_is_a_base_vlm(tmp_path):
    write_base(tmp_path / 'vlm')
    unmerged = tmp_path / 'unmerged'
    (unmerged / 'lora_adapter').mkdir(parents=True)
    (unmerged / 'action_head--5_checkpoint.pt').touch()
    assert is_base_vlm(tmp_path / 'vlm')
    assert not any(map(is_base_vlm, (unmerged, shipped_checkpoint(), tmp_path / 'missing')))


def write_towers(hub, folder: Path) -> dict[str, str]:
    """Put the tiny towers into the cache in the names of timm; returns name → address."""
    vlm, addresses = official_tensors('pro')[0], {}
    for key in PRISMATIC_TOWERS:
        prefix = f'vision_backbone.{key}.'
        tower = {n.removeprefix(prefix): v for n, v in vlm.items() if n.startswith(prefix)}
        (folder / key).mkdir(parents=True)
        save_file(
            {n.replace('.scale_factor', '.gamma'): v for n, v in tower.items()},
            folder / key / 'model.safetensors',
        )
        addresses[key] = f'hub:timm/{key}'
        hub(folder / key, addresses[key])
    return addresses


def test_a_base_vlm_takes_its_towers_from_the_hub(hub, tmp_path, monkeypatch):
    write_base(tmp_path / 'vlm', with_vision=False)
    hub(tmp_path / 'vlm', BASE_VLM)
    addresses = write_towers(hub, tmp_path / 'towers')
    config = tiny_config()
    config = config.replace(
        vision=tuple(replace(tower, name=key) for key, tower in config.towers.items())
    )
    with pytest.raises(CheckpointError, match='holds no vision tower'):
        VLAAdapter.from_vlm(BASE_VLM, config)
    monkeypatch.setattr('vla_adapter_ros.weights.prismatic.HUB_TOWERS', addresses)
    model = VLAAdapter.from_vlm(BASE_VLM, config)
    assert model.metadata.source == {
        'format': 'prismatic',
        'path': f'{BASE_VLM}@{COMMIT}',
        'towers': {key: f'{address}@{COMMIT}' for key, address in addresses.items()},
    }
    wanted = official_tensors('pro')[0]
    for name, value in model.state_dict().items():
        if name.startswith('vision_backbone.'):
            assert torch.equal(value, wanted[name]), name
    assert tower_file(addresses['featurizer']).name == 'model.safetensors'


def test_training_finds_the_tokenizer_of_the_base_vlm(hub, tmp_path):
    from vla_adapter_ros.training.assembly import known_tokenizer
    from vla_adapter_ros.training.config import StartConfig, TrainConfig

    write_base(tmp_path / 'vlm')
    hub(tmp_path / 'vlm', BASE_VLM)
    config = TrainConfig(start=StartConfig(kind='base'))
    with pytest.raises(CheckpointError, match=f'{BASE_TOKENIZER}: cannot be had'):
        known_tokenizer(config)
    shutil.copytree(shipped_checkpoint(), tmp_path / 'made')
    hub(tmp_path / 'made', BASE_TOKENIZER)
    tokenizer = known_tokenizer(config)
    assert tokenizer is not None
    assert not tokenizer.unknown_words('pick up the red block')
    assert known_tokenizer(replace(config, tokenizer='Qwen/Qwen2.5-0.5B')) is not None


@pytest.fixture
def unmerged(tmp_path):
    """A run of the official trainer whose LoRA is not merged; returns what names its base."""
    write_official(tmp_path / 'run', 'pro')
    (tmp_path / 'run/model.safetensors').unlink()
    (tmp_path / 'run/config.json').unlink()
    adapter = tmp_path / 'run/lora_adapter'
    adapter.mkdir()
    a, b = torch.full((2, 64), 0.1), torch.full((64, 2), 0.1)
    layer = 'base_model.model.projector.fc3.lora_'
    save_file({f'{layer}A.weight': a, f'{layer}B.weight': b}, adapter / ADAPTER_WEIGHTS)

    def name(base: str, **more: str | None) -> Path:
        config = {'r': 2, 'lora_alpha': 4, 'base_model_name_or_path': base} | more
        (adapter / ADAPTER_CONFIG).write_text(json.dumps(config))
        return tmp_path / 'run'

    return name


def test_the_base_of_an_unmerged_adapter_is_taken_from_the_cache(hub, unmerged, tmp_path):
    write_official(tmp_path / 'base', 'pro')
    hub(tmp_path / 'base', 'lab/base', 'v1')
    merged = official_tensors('pro')[0]['projector.fc3.weight'] + 2 * 0.02
    runs = [(name, {}) for name in ('lab/base', 'hf://lab/base', f'hub:lab/base@{COMMIT}')]
    for name, more in (*runs, ('lab/base@v1', {}), ('lab/base', {'revision': 'v1'})):
        opened = open_checkpoint(unmerged(name, **more), TOWERS)
        torch.testing.assert_close(opened.tensors['projector.fc3.weight'].read(None), merged)


@pytest.mark.parametrize(('more', 'fetched'), [
    ({}, 'hub:lab/base'), ({'revision': 'v2'}, 'hub:lab/base@v2'), ({'revision': None}, ''),
])  # fmt: skip
def test_a_base_that_was_not_fetched_is_named_with_the_command(unmerged, served, more, fetched):
    """It could be had here, but a folder that training named reads like a repository."""
    served.files = {'model.safetensors': b'', 'config.json': b'{}'}
    with pytest.raises(CheckpointError) as refused:
        VLAAdapter.from_pretrained(unmerged('lab/base', **more), vision_towers=TOWERS)
    assert f'python -m vla_adapter_ros.weights.fetch {fetched}' in str(refused.value)


def test_fetch_names_commit_size_and_folder(released, capsys):
    assert main(['lab/pick', 'hub:lab/pick']) == 0
    size = sum(file.stat().st_size for file in released.rglob('*') if file.is_file()) / 1e9
    line = f'hub:lab/pick@{COMMIT}: {size:.3f} GB in {released}'
    assert capsys.readouterr().out.splitlines() == [line, line]


def test_fetch_takes_a_vlm_in_the_form_of_transformers(hub, tmp_path, capsys):
    vlm = tmp_path / 'vlm'
    vlm.mkdir()
    (vlm / 'config.json').write_text('{"text_config": {"model_type": "llama"}}')
    (vlm / 'model-00001-of-00001.safetensors').touch()
    hub(vlm, 'lab/vlm')
    assert main(['lab/vlm']) == 0
    assert 'a VLM without a policy: for training with start.kind=base' in capsys.readouterr().out


def test_fetch_tells_what_is_no_checkpoint_or_not_there(hub, tmp_path, capsys):
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/model.safetensors').touch()
    hub(tmp_path / 'other', 'lab/other')
    assert main(['lab/other']) == 1
    assert 'neither vla_adapter.json' in capsys.readouterr().err
    assert main(['base']) == 1
    assert 'cannot be had' in capsys.readouterr().err
