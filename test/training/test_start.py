# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Where the weights come from: a base VLM, a released checkpoint, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from support.checkpoint_cases import TOWERS, write_base, write_official
from support.model_cases import tiny_config
from support.public_datasets import write_libero
from support.training_samples import make_dataset, settings, weights
from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.model import VLAAdapter, VLAAdapterConfig
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.training import train
from vla_adapter_ros.training.config import load_config
from vla_adapter_ros.weights import official

RUN = ['steps=1', 'batch_size=1', 'save.every=1', 'adaptation.mode=frozen', 'data.augment=false']


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'pick', episodes=2, length=10)


def values(dataset, output, *more):
    kept = [s for s in settings(dataset, output) if not s.startswith(('model=', 'data.valid'))]
    return [*kept, 'data.validation_fraction=0', *RUN, *more]


def run(dataset, output, start, tokenizer):
    config = load_config(
        None, values(dataset, output, 'start.kind=base', f'start.path={start}',
                     f'tokenizer={tokenizer}', 'model={}')
    )  # fmt: skip
    config.model.update(tiny_config().to_dict())
    return train.run(config)


@pytest.fixture
def tokenizer(tmp_path):
    folder = tmp_path / 'tokenizer'
    folder.mkdir()
    Tokenizer.from_texts(['reach the ball']).save(folder)
    return folder


@pytest.fixture(autouse=True)
def small_towers(monkeypatch):
    """The recorded cases' towers have names that released checkpoints do not use."""
    for name, tower in TOWERS.items():
        monkeypatch.setitem(official.KNOWN_TOWERS, name, tower)


@pytest.mark.parametrize('kind', ['prismatic', 'official'])
def test_a_base_vlm_keeps_its_weights_and_gets_a_fresh_policy(dataset, tmp_path, tokenizer, kind):
    source = tmp_path / 'source'
    if kind == 'prismatic':
        write_base(source)
    else:
        write_official(source, 'pro')
    last = run(dataset, tmp_path / 'run', source, tokenizer)
    trained = weights(last)
    config = tiny_config().replace(proprio_dim=7, action_dim=7)
    base = VLAAdapter.from_vlm(source, config).state_dict()
    backbone = [n for n in base if n.startswith(('vision_backbone', 'projector', 'language'))]
    assert len(backbone) > 50
    for name in backbone:
        np.testing.assert_array_equal(trained[name], base[name].numpy(), err_msg=name)
    policy = Policy.from_pretrained(last, device='cpu')
    assert policy.pipeline.config.prompt_format == 'qwen_chat'
    network = policy.engine.model.config
    assert network.proprio_dim == 7
    assert network.policy.rope_precision == 'float32'  # of this run


def test_new_film_layers_of_a_base_vlm_are_not_frozen():
    start = ['start.kind=base', 'start.path=x', 'model={preset: pro, use_film: true}']
    assert load_config(None, start).adaptation.mode == 'lora'
    with pytest.raises(ConfigError, match=r'adaptation\.mode.*frozen.*FiLM'):
        load_config(None, [*start, 'adaptation.mode=frozen'])


def test_a_released_policy_for_other_vectors_is_refused_with_the_way_out(
    dataset, tmp_path, tokenizer, capsys
):
    write_official(tmp_path / 'source', 'pro')  # its proprioception has 8 dimensions
    start = ['start.kind=official', f'start.path={tmp_path / "source"}', f'tokenizer={tokenizer}']
    arguments = values(dataset, tmp_path / 'run', *start)
    assert train.main(arguments) == 1
    error = capsys.readouterr().err
    assert 'proprio_dim is 7' in error
    assert 'have 8; start.kind=base' in error


@pytest.mark.slow(reason='a whole training')
def test_a_released_policy_is_tuned_on_its_own_kind_of_data(tmp_path, tokenizer):
    write_official(tmp_path / 'source', 'pro')
    demonstrations = tmp_path / 'put_the_bowl_on_the_plate_demo.hdf5'
    write_libero(demonstrations)
    start = [
        'start.kind=official', f'start.path={tmp_path / "source"}', f'tokenizer={tokenizer}',
        # The episodes are shorter than a chunk.
        'data.complete_chunks=false',
    ]  # fmt: skip
    last = train.run(load_config(None, values(demonstrations, tmp_path / 'run', *start)))
    policy = Policy.from_pretrained(last, device='cpu')
    assert policy.pipeline.config.images.jpeg_round_trip
    assert policy.pipeline.config.images.crop_area == 0.9
    assert policy.contract is None
    trained = weights(last)
    released = VLAAdapter.from_pretrained(tmp_path / 'source').state_dict()
    for name, value in released.items():
        moved = not np.array_equal(trained[name.removeprefix('policy.')], value.numpy())
        assert not moved or name.startswith(('policy.', 'action_queries.')), name
    name = 'action_head.model.fc2.weight'
    assert not np.array_equal(trained[name], released[f'policy.{name}'].numpy())


def test_our_checkpoint_without_statistics_is_refused(dataset, tmp_path, tokenizer, capsys):
    VLAAdapter.from_config(VLAAdapterConfig.tiny()).save_pretrained(tmp_path / 'bare')
    start = ['start.kind=checkpoint', f'start.path={tmp_path / "bare"}', f'tokenizer={tokenizer}']
    assert train.main(values(dataset, tmp_path / 'run', *start)) == 1
    assert 'no preprocessing or no statistics' in capsys.readouterr().err


def test_a_missing_tokenizer_says_how_to_name_one(dataset, tmp_path, capsys):
    write_base(tmp_path / 'source')
    start = ['start.kind=base', f'start.path={tmp_path / "source"}', 'model={preset: tiny}']
    assert train.main(values(dataset, tmp_path / 'run', *start)) == 1
    assert 'tokenizer=FOLDER' in capsys.readouterr().err


def test_a_wrong_checkpoint_lists_what_does_not_fit(dataset, tmp_path, tokenizer, capsys):
    write_base(tmp_path / 'source')
    start = ['start.kind=base', f'start.path={tmp_path / "source"}', 'model={preset: tiny}',
             f'tokenizer={tokenizer}']  # fmt: skip
    assert train.main(values(dataset, tmp_path / 'run', *start)) == 1
    error = capsys.readouterr().err
    assert 'does not fit the network' in error
    assert 'stored [64], the network has [128]' in error
    assert not (tmp_path / 'run/checkpoints').exists()


def test_a_tokenizer_with_more_tokens_than_the_network_is_refused(dataset, tmp_path):
    write_base(tmp_path / 'source')
    folder = tmp_path / 'words'
    folder.mkdir()
    Tokenizer.from_texts([' '.join(f'w{n}' for n in range(600))]).save(folder)
    with pytest.raises(ConfigError, match=r'words has \d+ tokens, the language model has 512'):
        run(dataset, tmp_path / 'run', tmp_path / 'source', folder)


@pytest.mark.parametrize(
    ('kind', 'precision', 'recorded'),
    [('pro', 'bf16', 'bfloat16'), ('pro', 'fp32', 'float32'), ('dit', 'bf16', 'float32')],
)
def test_a_run_records_the_precision_of_its_rotary_tables(kind, precision, recorded):
    """A diffusion policy's tokens are float32 under autocast too."""
    pinned = VLAAdapterConfig.full(kind).as_trained(precision)
    assert pinned.policy.rope_precision == recorded
    # What a recipe or a checkpoint states is kept.
    assert pinned.as_trained('fp32') == pinned
