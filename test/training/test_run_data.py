# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What a run makes of its data: mixtures, chunks, cameras, augmentation, foreign datasets."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel

from support import data_samples
from support.hub_server import put_into_cache
from support.lerobot_sets import write_v21
from support.training_samples import config, make_dataset
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.errors import ConfigError, DatasetError, VLAAdapterError
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.processing.tokenizer import UNKNOWN
from vla_adapter_ros.training import train
from vla_adapter_ros.training.assembly import build_setup
from vla_adapter_ros.weights.files import write_json


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'pick')


def test_data_of_another_tool_become_a_checkpoint_of_the_robot(tmp_path):
    foreign = write_v21(tmp_path / 'theirs', 'image')
    view = data_samples.contract().to_dict()['cameras']['third_person']
    robot = data_samples.contract(cameras={'top': view})
    write_json(tmp_path / 'robot.yaml', robot.to_dict())
    said = [
        f'data.contract={tmp_path / "robot.yaml"}', 'data.actions=joint_target',
        'data.cameras={top: observation.images.front}', 'steps=1',
    ]  # fmt: skip
    policy = Policy.from_pretrained(
        train.run(config(foreign, tmp_path / 'run', *said)), device='cpu'
    )
    assert not robot.differences(policy.contract)
    plain = train.run(config(foreign, tmp_path / 'plain', 'steps=1', 'data.complete_chunks=false'))
    policy = Policy.from_pretrained(plain, device='cpu')
    # Nobody said what the actions are: no contract, but the rate of the data.
    assert (policy.contract, policy.step_period) == (None, 0.1)


@pytest.mark.parametrize('size', [1, 12])
def test_chunks_of_another_length_are_trained_and_run(dataset, tmp_path, size):
    first = train.run(config(dataset, tmp_path / 'a', f'model.chunk_size={size}', 'steps=1'))
    policy = Policy.from_pretrained(first, device='cpu')
    observation = next(data_samples.observations(1, 0, 'reach the ball'))
    assert policy.predict(observation).actions.shape == (size, 7)
    # Training from a checkpoint keeps its length unless another is asked for.
    start = ['start.kind=checkpoint', f'start.path={first}']
    for more, wanted in (([], size), (['model={chunk_size: 5}'], 5)):
        setup = build_setup(config(dataset, tmp_path / 'b', *start, *more), False)
        assert setup.mixture.batch(np.zeros(1, int), np.zeros(1, int)).actions.shape[1] == wanted
        assert setup.model.config.chunk_size == wanted


def test_a_chunk_of_another_length_never_reaches_the_loss(dataset, tmp_path):
    setup = build_setup(config(dataset, tmp_path), False)
    batch = setup.collate(setup.mixture.datasets[0].batch([0, 1]), torch.device('cpu'), True)
    batch['actions'] = batch['actions'][:, :1]
    with pytest.raises(VLAAdapterError, match=r'actions: got shape \(2, 1, 7\).*\(2, 8, 7\)'):
        setup.model.compute_loss(batch)


def test_unknown_words_come_into_training_prompts_and_into_no_others(dataset, tmp_path):
    setup = build_setup(config(dataset, tmp_path, 'data.unknown_words=1'), False)
    samples = setup.mixture.datasets[0].batch([0, 1])
    unknown = setup.pipeline.prompt_ids(UNKNOWN)[1]
    found = {
        training: (setup.collate(samples, torch.device('cpu'), training)['input_ids'] == unknown)
        .sum(1)
        .tolist()
        for training in (True, False)
    }
    assert found == {True: [1, 1], False: [0, 0]}


def test_a_tokenizer_that_has_every_word_has_no_unknown_ones(dataset, tmp_path):
    letters = ByteLevel.alphabet()
    write_json(tmp_path / 'vocab.json', {letter: i for i, letter in enumerate(letters)})
    (tmp_path / 'merges.txt').write_text('#version: 0.2\n')
    said = [f'tokenizer={tmp_path}', 'data.unknown_words=0.5']
    with pytest.raises(ConfigError, match=r'data.unknown_words: got a tokenizer that has every'):
        build_setup(config(dataset, tmp_path, *said), False)


@pytest.mark.parametrize('kind', ['null', 'subwords'])
def test_tasks_in_scripts_with_joiners_and_other_spaces_are_trained(tmp_path, kind):
    texts = ['مکعب را می\u200cخواهم', '赤い\u3000箱', 'Wu\u0308rfel\u00a0heben']
    path = make_dataset(tmp_path / 'data', 3, texts=texts)
    setup = build_setup(config(path, tmp_path / 'run', f'tokenizer={kind}'), False)
    tokenizer = setup.pipeline.tokenizer
    assert [tokenizer.unknown_words(text) for text in texts] == [[], [], []]


def test_a_task_that_no_prompt_can_carry_is_named_before_training(tmp_path):
    path = make_dataset(tmp_path / 'data', 2, texts=['move left', 'move\x07right'])
    with pytest.raises(DatasetError, match=r"the task 'move\\x07right': .*\(U\+0007\); control"):
        build_setup(config(path, tmp_path / 'run'), False)


def test_the_ranges_of_augmentation_are_settings(dataset, tmp_path):
    quiet = ['augmentation.brightness=0', 'augmentation.contrast=[1, 1]',
             'augmentation.saturation=[1, 1]', 'augmentation.hue=0',
             'processing={images: {crop_area: 1.0}}']  # fmt: skip
    for more, equal in (quiet, True), (quiet[1:], False):
        setup = build_setup(config(dataset, tmp_path, *more), False)
        images = setup.mixture.datasets[0].batch([0, 1]).images
        torch.manual_seed(1)
        changed, plain = (setup.collate.pixels(images, torch.device('cpu'), t) for t in (1, 0))
        assert ((changed - plain).abs().max() < 0.05) == equal


def test_datasets_are_mixed_by_their_weights(tmp_path):
    paths = [make_dataset(tmp_path / name / '1.0.0') for name in ('first', 'second')]
    listed = f'data.datasets=[{paths[0]}, {paths[1]}]'
    setup = build_setup(config(paths[0], tmp_path / 'run', listed, 'data.weights=[1, 3]'), False)
    assert [d.name for d in setup.mixture.datasets] == ['first', 'second']
    sizes = [len(d) for d in setup.mixture.datasets]
    assert setup.mixture.weights == [sizes[0], 3 * sizes[1]]


def test_suites_of_commands_have_each_their_own_statistics(tmp_path):
    paths = [write_v21(tmp_path / name, 'image') for name in ('first', 'second')]
    for number in range(2):
        file = paths[1] / f'data/chunk-{number:03d}/episode_{number:06d}.parquet'
        table = pq.read_table(file).to_pydict()
        table['action'] = (10 * np.array(table['action'])).tolist()
        pq.write_table(pa.table(table), file)
    more = [f'data.datasets=[{paths[0]}, {paths[1]}]', 'data.complete_chunks=false', 'steps=1']
    recipe = config(paths[0], tmp_path / 'run', *more)
    setup = build_setup(recipe, False)
    first, second = (setup.statistics[name].action.max[0] for name in ('first', 'second'))
    assert second == pytest.approx(10 * first)
    # Every sample is normalised by its own dataset: the same numbers come out.
    batch = setup.mixture.batch(np.array([0, 1, 0]), np.array([2, 2, 0]))
    actions = setup.collate(batch, torch.device('cpu'), False)['actions']
    np.testing.assert_allclose(actions[0, :, :6], actions[1, :, :6], atol=1e-4)
    last = train.run(recipe)
    with pytest.raises(VLAAdapterError, match='first.*second'):
        Policy.from_pretrained(last, device='cpu')
    policy = Policy.from_pretrained(last, device='cpu', statistics_key='second')
    assert policy.statistics.action.max[0] == pytest.approx(10 * first)


def test_a_turned_camera_is_turned_on_the_robot_too(tmp_path):
    data = make_dataset(tmp_path / 'turned', episodes=2, rotate=180)
    last = train.run(config(data, tmp_path / 'run', 'steps=2', 'data.validation_fraction=0'))
    policy = Policy.from_pretrained(last, device='cpu')
    raw = next(data_samples.observations(1, 0))
    stored = open_dataset(data, images=policy.pipeline.config.images).batch([0]).images[0]
    seen = policy.pipeline.config.resized_views(raw.images)
    np.testing.assert_array_equal(seen[0], stored[0])
    np.testing.assert_array_equal(seen[1], stored[1])


def test_a_run_on_a_dataset_of_the_hub_keeps_to_its_commit(tmp_path, monkeypatch):
    constants = pytest.importorskip('huggingface_hub.constants')
    for name in ('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE'):
        monkeypatch.setattr(constants, name, str(tmp_path / 'cache'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    commits = '0' * 40, '1' * 40
    put_into_cache(make_dataset(tmp_path / 'first'), tmp_path / 'cache', commits[0], 'main')
    last = train.run(config('hub:lab/pick', tmp_path / 'run', 'steps=2'))
    about = json.loads((last / 'vla_adapter.json').read_text())
    assert about['training']['config']['data']['datasets'] == [f'hub:lab/pick@{commits[0]}']
    train.run(config('hub:lab/pick', tmp_path / 'run', 'steps=2'))
    put_into_cache(make_dataset(tmp_path / 'second'), tmp_path / 'cache', commits[1], 'main')
    with pytest.raises(VLAAdapterError, match=r'data\.datasets was .*@000.*, now is .*@111'):
        train.run(config('hub:lab/pick', tmp_path / 'run', 'steps=2'))


def test_a_frame_that_is_not_finite_is_named(dataset, tmp_path, monkeypatch):
    from vla_adapter_ros.data.training.dataset import Dataset

    original = Dataset.batch

    def damaged(self, indices):
        samples = original(self, indices)
        samples.actions[samples.rows == 7] = np.nan
        return samples

    monkeypatch.setattr(Dataset, 'batch', damaged)
    with pytest.raises(VLAAdapterError, match=r"'pick', frame 7 .*actions is not finite"):
        train.run(config(dataset, tmp_path, 'steps=60'))


def test_the_memory_of_a_batch_follows_from_that_of_one_and_two_samples(dataset, tmp_path):
    from vla_adapter_ros.training.adaptation import adapt
    from vla_adapter_ros.training.assembly import build_setup
    from vla_adapter_ros.training.dry_run import _saved_bytes, activation_memory_gb

    made = config(dataset, tmp_path, 'batch_size=6', 'compute.precision=bf16')
    setup = build_setup(made, progress=False)
    adapt(setup.model, made.adaptation, torch.bfloat16)
    wanted = _saved_bytes(setup, made, 6)
    assert activation_memory_gb(setup, made) == pytest.approx(wanted / 1e9, rel=0.02)
    assert _saved_bytes(setup, made, 1) > wanted / 6 * 1.1  # part of it does not grow


@pytest.mark.parametrize(('normalisation', 'above'), [('normal', True), ('bounds_q99', False)])
def test_a_diffusion_policy_can_say_the_largest_action_of_the_data(
    dataset, tmp_path, normalisation, above
):
    from vla_adapter_ros.training.assembly import build_setup

    more = ['model.policy={kind: dit}', f'processing={{normalisation: {normalisation}}}']
    setup = build_setup(config(dataset, tmp_path, *more), progress=False)
    limit = setup.model.config.policy.action_limit
    every = setup.mixture.datasets[0]
    normaliser = setup.collate.actions[every.name]
    actions = normaliser.normalise(every.chunks(np.arange(len(every)))[0])
    assert limit >= np.abs(actions).max() - 1e-3
    assert (limit > 1.0) == above


def test_prompts_of_a_compiled_run_have_one_length_which_changes_nothing(dataset, tmp_path):
    made = {
        setting: build_setup(config(dataset, tmp_path, f'compute.compile={setting}'), False)
        for setting in ('true', 'false')
    }
    data, pipeline = made['true'].mixture.datasets[0], made['true'].pipeline
    sizes = [len(pipeline.prompt_ids(e.instruction)) for e in data.store.episodes]
    shortest = min(data.selected, key=lambda episode: sizes[episode])
    samples = data.batch(data.indices_of(shortest)[:2])
    losses, lengths = {}, {}
    for setting, setup in made.items():
        batch = setup.collate(samples, torch.device('cpu'), False)
        lengths[setting] = batch['input_ids'].shape[1]
        setup.model.eval()
        losses[setting] = setup.model.compute_loss(batch)[0].item()
    assert lengths['false'] < lengths['true'] == max(sizes)
    assert losses['true'] == pytest.approx(losses['false'], rel=1e-5)


def test_what_lies_past_the_end_of_motions_is_never_a_target(tmp_path):
    foreign = write_v21(tmp_path / 'theirs', 'image')
    setup = build_setup(config(foreign, tmp_path / 'run', 'data.complete_chunks=false'), False)
    setup.model.eval()
    data = setup.mixture.datasets[0]
    samples = data.batch([data.indices_of(data.selected[0])[-3]])
    assert samples.is_pad.tolist() == [[False] * 3 + [True] * 5]
    losses = []
    for change in (0.0, 7.0):
        samples.actions[samples.is_pad] += change
        batch = setup.collate(samples, torch.device('cpu'), False)
        assert batch['valid'].tolist() == [[True] * 3 + [False] * 5]
        loss, parts = setup.model.compute_loss(batch)
        losses.append(loss.item())
        assert losses[-1] == pytest.approx((parts['l1_first'] + 2 * parts['l1_later']).item() / 3)
    predicted = setup.model.predict(batch['pixel_values'], batch['input_ids'], batch['proprio'])
    error = (predicted - batch['actions']).abs()[:, :3].mean().item()
    assert losses == pytest.approx([error, error], rel=1e-4)


def test_absolute_targets_are_held_past_the_end(dataset, tmp_path):
    setup = build_setup(config(dataset, tmp_path), False)
    data = setup.mixture.datasets[0]
    samples = data.batch([data.indices_of(data.selected[0])[-1]])
    assert samples.is_pad[0, 1:].all()
    np.testing.assert_array_equal(samples.actions[0], samples.actions[0, :1].repeat(8, axis=0))
    assert 'valid' not in setup.collate(samples, torch.device('cpu'), True)
