# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The fast mode of a frozen backbone trains like the slow one, and never reads a stale cache."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from support.training_samples import config, make_dataset, settings
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.training import feature_cache, train
from vla_adapter_ros.training.adaptation import adapt
from vla_adapter_ros.training.assembly import build_setup

FROZEN = ('adaptation.mode=frozen', 'data.augment=false')
CACHED = (*FROZEN, 'compute.feature_cache=true')


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'pick')


def losses(folder):
    """Training losses of a run, by step."""
    lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    return [line['train/loss'] for line in lines if 'train/loss' in line]


def caches(folder):
    """Finished caches of a run."""
    return sorted(p.parent for p in (folder / 'features').glob('*/about.json'))


def cached_setup(dataset, folder, *more):
    """Assemble a run and switch its cache on."""
    made = config(dataset, folder, *CACHED, *more)
    setup = build_setup(made, progress=False)
    adapt(setup.model, made.adaptation, torch.float32)
    plain = setup.mixture
    feature_cache.use_feature_cache(setup, made, torch.device('cpu'), progress=False)
    return setup, plain, made


@pytest.mark.parametrize(
    'precision',
    ['fp32', pytest.param('bf16', marks=pytest.mark.slow(reason='two more trainings'))],
)
def test_training_with_the_cache_gives_the_losses_and_weights_without(
    dataset, tmp_path, precision
):
    same = [f'compute.precision={precision}', 'save.validate_every=2']
    slow = train.run(config(dataset, tmp_path / 'slow', *FROZEN, *same))
    fast = train.run(config(dataset, tmp_path / 'fast', *CACHED, *same))
    # A batch's size changes the rounding. Features one unit in the last place apart move float32
    # losses by nothing or one in the sixth decimal, weights by 2e-7; bfloat16 losses by 8e-4.
    tolerance = 2e-6 if precision == 'fp32' else 2e-3
    wanted = pytest.approx(losses(tmp_path / 'slow'), rel=tolerance, abs=2e-6)
    assert losses(tmp_path / 'fast') == wanted
    learned, expected = (load_file(folder / 'model.safetensors') for folder in (fast, slow))
    if precision == 'fp32':
        for name, value in expected.items():
            torch.testing.assert_close(learned[name], value, atol=tolerance, rtol=0)
        return
    # Adam moves a weight by its whole rate whatever the gradient's size, so that rounding turns
    # single weights around. All together move alike: every feature one bfloat16 unit away makes
    # 0.03 to 0.1 of the distance learned, and features of another frame 0.27.
    still = train.run(config(dataset, tmp_path / 'still', *FROZEN, *same, 'optimizer.lr=1e-12'))
    start = load_file(still / 'model.safetensors')
    assert distance(learned, expected) < 0.15 * distance(start, expected)


def distance(one, other):
    squares = [(one[n].double() - x.double()).square().sum() for n, x in other.items()]
    return float(sum(squares)) ** 0.5


def test_cached_tokens_are_what_the_network_computes(dataset, tmp_path):
    setup, plain, _ = cached_setup(dataset, tmp_path)
    which, indices = np.zeros(5, np.int64), np.array([0, 30, 7, 59, 31])
    fast = setup.collate(setup.mixture.batch(which, indices), torch.device('cpu'), True)
    slow = setup.collate(plain.batch(which, indices), torch.device('cpu'), True)
    assert 'pixel_values' not in fast
    with torch.no_grad():
        wanted = setup.model.visual_tokens(*[slow['pixel_values']] * 3)
        torch.testing.assert_close(fast['visual_tokens'], wanted, atol=1e-6, rtol=1e-5)
        moved = wanted.roll(1, dims=0)
        assert float((moved - wanted).abs().max()) > 1e-3  # frames differ, so order is checked
        loss = setup.model.eval().compute_loss(fast)[0]
        torch.testing.assert_close(loss, setup.model.compute_loss(slow)[0], atol=1e-6, rtol=1e-5)


def test_a_second_run_reads_the_cache_and_does_not_run_the_towers(dataset, tmp_path, monkeypatch):
    train.run(config(dataset, tmp_path / 'a', *CACHED))
    folder = f'compute.feature_folder={tmp_path / "a" / "features"}'
    monkeypatch.setattr(feature_cache, '_fill', None)
    train.run(config(dataset, tmp_path / 'b', *CACHED, folder))
    assert losses(tmp_path / 'b') == losses(tmp_path / 'a')
    assert not (tmp_path / 'b' / 'features').exists()


@pytest.mark.parametrize('change', [
    'seed=8', 'compute.precision=bf16', 'processing={images: {crop_area: 0.7}}', 'dataset',
])
def test_another_weight_dataset_or_preprocessing_makes_a_new_cache(dataset, tmp_path, change):
    cached_setup(dataset, tmp_path / 'run')
    cached_setup(dataset, tmp_path / 'run')
    assert len(caches(tmp_path / 'run')) == 1
    if change == 'dataset':
        other = shutil.copytree(make_dataset(tmp_path / 'pick', 5), tmp_path / 'other' / 'pick')
        cached_setup(other, tmp_path / 'run')
    else:
        cached_setup(dataset, tmp_path / 'run', change)
    assert len(caches(tmp_path / 'run')) == 2


def test_one_changed_number_of_the_weights_changes_the_key(dataset, tmp_path):
    setup, _, made = cached_setup(dataset, tmp_path)
    data = build_setup(made, progress=False).mixture.datasets[0]
    layout = feature_cache.layout_of(setup, data, made)
    before = feature_cache.cache_key(setup, data, layout)
    assert before == caches(tmp_path)[0].name
    with torch.no_grad():
        setup.model.projector.fc2.bias[3] += 1e-3
    assert feature_cache.cache_key(setup, data, layout) != before


def test_an_interrupted_build_goes_on_where_it_was_safe(dataset, tmp_path, monkeypatch):
    cached_setup(dataset, tmp_path / 'whole')
    tokens, seen = feature_cache._tokens, []

    def counting(setup, data, rows, made):
        if len(seen) == 7:
            raise KeyboardInterrupt
        seen.append(rows)
        return tokens(setup, data, rows, made)

    monkeypatch.setattr(feature_cache, '_tokens', counting)
    monkeypatch.setattr(feature_cache, 'FLUSH_EVERY', 3)
    with pytest.raises(KeyboardInterrupt):
        cached_setup(dataset, tmp_path / 'cut')
    assert not caches(tmp_path / 'cut')
    seen.clear()
    monkeypatch.setattr(feature_cache, '_tokens', lambda *a: seen.append(a[2]) or tokens(*a))
    cached_setup(dataset, tmp_path / 'cut')
    assert seen[0][0] == 6 * 4  # two flushes of three batches of four frames
    whole, cut = (caches(tmp_path / n)[0] / 'tokens.bin' for n in ('whole', 'cut'))
    assert whole.read_bytes() == cut.read_bytes()


def test_a_full_disk_is_refused_before_and_named_during_the_build(dataset, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    build_setup(config(dataset, tmp_path / 'a', *CACHED), progress=False)  # the frames' cache
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=1000))
    with pytest.raises(VLAAdapterError, match=r'the feature cache needs 0\.00 GB more'):
        cached_setup(dataset, tmp_path / 'a')
    monkeypatch.undo()

    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(feature_cache, '_tokens', full)
    with pytest.raises(VLAAdapterError, match='disk full; frames computed so far stay'):
        cached_setup(dataset, tmp_path / 'b')


@pytest.mark.parametrize(('more', 'reason'), [
    (['adaptation.mode=lora', 'data.augment=false'], 'because adaptation.mode is lora'),
    (['adaptation.mode=full', 'data.augment=false'], 'because adaptation.mode is full'),
    (['adaptation.mode=frozen', 'data.augment=true'], 'because data.augment is true'),
    ([*FROZEN, 'model.use_film=true'], 'because with FiLM'),
])
def test_the_cache_is_refused_where_tokens_change(dataset, tmp_path, capsys, more, reason):
    arguments = settings(dataset, tmp_path, *more, 'compute.feature_cache=true')
    for flags in ([], ['--dry-run']):
        assert train.main([*arguments, *flags]) == 1
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith('error: compute.feature_cache: got True, expected false')
        assert reason in error


def test_a_damaged_cache_is_named(dataset, tmp_path):
    cached_setup(dataset, tmp_path)
    tokens = caches(tmp_path)[0] / 'tokens.bin'
    tokens.write_bytes(tokens.read_bytes()[:1000])
    with pytest.raises(VLAAdapterError, match=r'tokens\.bin: damaged .*; remove'):
        cached_setup(dataset, tmp_path)


def test_the_dry_run_tells_the_size_of_the_cache(dataset, tmp_path, capsys):
    arguments = settings(dataset, tmp_path, *CACHED)
    assert train.main([*arguments, '--dry-run']) == 0
    report = capsys.readouterr().out
    assert 'feature cache       0.000 GB for 80 frames' in report
    assert '(32 x 32 float32), to be built' in report
    train.run(config(dataset, tmp_path, *CACHED))
    assert (caches(tmp_path)[0] / 'tokens.bin').stat().st_size == 80 * 32 * 32 * 4
    assert train.main([*arguments, '--dry-run']) == 0
    assert 'already built' in capsys.readouterr().out


@pytest.mark.slow(reason='runs the whole benchmark')
def test_the_benchmark_compares_with_and_without_the_cache(dataset, tmp_path, capsys):
    from benchmarks import training as benchmark

    assert benchmark.main(['--steps', '2', *settings(dataset, tmp_path, *CACHED)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures['feature_cache_ratio'] == pytest.approx(
        figures['recipe_samples_per_s'] / figures['no_feature_cache_samples_per_s']
    )


def test_a_network_that_the_gpu_cannot_hold_is_refused_before_it_is_moved(monkeypatch):
    network = torch.nn.Linear(100, 50)
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda _: (4 * 5050, 10**9))
    feature_cache._check_gpu(network, torch.device('cuda'))
    feature_cache._check_gpu(network, torch.device('cpu'))
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda _: (4 * 5050 - 1, 10**9))
    with pytest.raises(VLAAdapterError, match=r'needs 0\.00 GB of GPU memory, 0\.00 GB are free'):
        feature_cache._check_gpu(network, torch.device('cuda'))
