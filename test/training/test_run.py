# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A run from data to a checkpoint the robot loads; resuming; figures; bad input."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from support import data_samples
from support.model_cases import small_config
from support.training_samples import config, make_dataset, settings, weights
from support.variants import VARIANTS
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.model import VLAAdapter
from vla_adapter_ros.training import train
from vla_adapter_ros.training.config import ComputeConfig, TrainConfig, load_config
from vla_adapter_ros.training.config_loader import to_dict
from vla_adapter_ros.training.trainer import Trainer


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'pick')


def test_a_run_leaves_a_checkpoint_the_robot_can_use(dataset, tmp_path):
    more = ['save.validate_every=2', 'save.plots=1', 'log.tensorboard=true']
    last = train.run(config(dataset, tmp_path, *more))
    policy = Policy.from_pretrained(last, device='cpu')
    assert policy.contract.action_space == data_samples.contract().action_space
    chunk = policy.predict(next(data_samples.observations(1, 0, 'reach the ball')))
    assert chunk.actions.shape == (8, 7)
    assert np.isfinite(chunk.actions).all()
    about = json.loads((last / 'vla_adapter.json').read_text())
    assert about['training']['config']['optimizer']['lr'] == 1e-3
    assert about['training']['step'] == 6
    assert about['versions']['torch'] == torch.__version__.split('+')[0] or about['versions']
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    training = [line for line in lines if 'train/loss' in line]
    assert [line['step'] for line in training] == [2, 4, 6]
    for key in ('samples_per_s', 'data_s', 'forward_s', 'backward_s', 'optimiser_s',
                'peak_memory_gb', 'learning_rate', 'gradient_norm'):
        assert all(line[f'train/{key}'] >= 0 for line in training)
    held = [line for line in lines if 'validation/l1' in line]
    assert len(held) == 3
    assert held[0]['validation/l1_Joint1'] > 0
    assert (tmp_path / 'checkpoints' / 'best').is_symlink()
    assert list((tmp_path / 'plots').glob('*.png'))
    assert list((tmp_path / 'tensorboard').iterdir())


def test_the_loss_falls(dataset, tmp_path):
    more = ['steps=60', 'save.every=60', 'log.every=10', 'data.augment=false', 'optimizer.lr=3e-3']
    train.run(config(dataset, tmp_path, *more))
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert lines[-1]['train/loss'] < 0.8 * lines[0]['train/loss']


def test_mixed_precision_with_lora_trains_validates_and_saves_everything(dataset, tmp_path):
    more = ['compute.precision=bf16', 'adaptation.mode=lora', 'adaptation.rank=4', 'ema=0.9',
            'save.validate_every=2', 'compute.gradient_checkpointing=true', 'data.augment=false',
            'model.policy={kind: dit}', 'latent_noise=false', 'steps=2']  # fmt: skip
    last = train.run(config(dataset, tmp_path, *more))
    stored = load_file(last / 'model.safetensors')
    assert stored['action_queries.weight'].dtype == torch.float32
    assert stored['projector.fc1.weight'].dtype == torch.float32  # merged, not rounded
    assert stored['projector.fc1.bias'].dtype == torch.bfloat16  # frozen
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert any(0 < line.get('validation/l1', 0) < 10 for line in lines)
    assert Policy.from_pretrained(last, device='cpu').engine.model.config.policy.kind == 'dit'


class _Stop(Exception):
    pass


@pytest.mark.parametrize('more', [
    ['accumulate=2', 'ema=0.9'],
    ['optimizer.kind=muon'],
    ['adaptation.mode=lora', 'adaptation.rank=4', 'adaptation.dropout=0.1', 'data.workers=2'],
])
def test_a_resumed_run_gives_the_weights_of_an_uninterrupted_one(
    dataset, tmp_path, monkeypatch, more
):
    whole = weights(train.run(config(dataset, tmp_path / 'whole', *more)))
    step = Trainer._optimiser_step

    def stopping(self, stream, window):
        if self.step == 5:  # one step after the checkpoint of step 4
            raise _Stop
        step(self, stream, window)

    monkeypatch.setattr(Trainer, '_optimiser_step', stopping)
    with pytest.raises(_Stop):
        train.run(config(dataset, tmp_path / 'parts', *more))
    monkeypatch.setattr(Trainer, '_optimiser_step', step)
    resumed = weights(train.run(config(dataset, tmp_path / 'parts', *more)))
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    other = weights(train.run(config(dataset, tmp_path / 'other', *more, 'seed=8')))
    assert any(not np.array_equal(other[name], whole[name]) for name in whole)


def _command(arguments):
    return [sys.executable, '-m', 'vla_adapter_ros.training.train', *arguments]


def _environment():
    return {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2]), 'OMP_NUM_THREADS': '1'}


@pytest.mark.slow(reason='40 steps with a checkpoint every second one, three times')
@pytest.mark.timeout(300)
def test_a_killed_run_resumes_to_the_same_weights(dataset, tmp_path):
    more = ['steps=40', 'save.every=2', 'save.keep_last=40']
    whole = weights(train.run(config(dataset, tmp_path / 'whole', *more)))
    arguments = settings(dataset, tmp_path / 'parts', *more)
    process = subprocess.Popen(_command(arguments), env=_environment(), stderr=subprocess.DEVNULL)
    wanted = tmp_path / 'parts' / 'checkpoints' / 'step-00000004'
    while not wanted.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    command = _command(arguments)
    result = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    assert 'resuming from' in result.stderr
    resumed = weights(tmp_path / 'parts' / 'checkpoints' / 'step-00000040')
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


LAUNCHERS = {
    'torchrun': ['torch.distributed.run', '--standalone', '--nproc-per-node=2'],
    'accelerate': ['accelerate.commands.launch', '--multi_gpu', '--num_processes=2',
                   '--num_machines=1', '--mixed_precision=no', '--dynamo_backend=no',
                   '--main_process_port=0'],
}  # fmt: skip


@pytest.mark.slow(reason='starts two more processes that import torch, for each launcher')
@pytest.mark.timeout(300)
@pytest.mark.parametrize(('launcher', 'more'), [
    ('torchrun', ['log.peak_tflops=1']),
    ('accelerate', []),
    ('torchrun', ['accumulate=2', 'compute.gradient_checkpointing=true', 'adaptation.mode=lora']),
])
def test_two_processes_equal_one_with_a_doubled_batch(dataset, tmp_path, launcher, more):
    same = ['data.augment=false', 'steps=5', 'save.every=5', *more]
    one = weights(train.run(config(dataset, tmp_path / 'one', *same, 'batch_size=4')))
    arguments = settings(dataset, tmp_path / 'two', *same, 'batch_size=2')
    command = [
        sys.executable, '-m', *LAUNCHERS[launcher],
        '-m', 'vla_adapter_ros.training.train', *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    last = tmp_path / 'two' / 'checkpoints' / 'step-00000005'
    assert done.stdout.splitlines() == [str(last)]  # said once, not by every process
    two = weights(last)
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=2e-5, err_msg=name)


def test_resuming_with_another_recipe_is_refused_and_names_the_setting(dataset, tmp_path):
    train.run(config(dataset, tmp_path))
    with pytest.raises(VLAAdapterError, match=r'optimizer\.lr was 0\.001, now is 0\.002'):
        train.run(config(dataset, tmp_path, 'optimizer.lr=2e-3'))


def test_a_run_of_an_older_release_resumes_although_settings_were_added(dataset, tmp_path):
    last = train.run(config(dataset, tmp_path, 'steps=4'))
    path = last / 'vla_adapter.json'
    about = json.loads(path.read_text())
    before = about['training']['config']
    del before['ema'], before['data']['episode_end_weight'], before['compute']['feature_cache']
    path.write_text(json.dumps(about))
    train.check_resumable(last, to_dict(config(dataset, tmp_path, 'steps=4')))
    with pytest.raises(VLAAdapterError, match=r'ema was 0\.0, now is 0\.5'):
        train.check_resumable(last, to_dict(config(dataset, tmp_path, 'steps=4', 'ema=0.5')))


def test_training_goes_on_from_our_own_checkpoint(dataset, tmp_path):
    first = train.run(config(dataset, tmp_path / 'a'))
    more = ['start.kind=checkpoint', f'start.path={first}', 'optimizer.lr=1e-9', 'ema=0']
    second = train.run(config(dataset, tmp_path / 'b', *more))
    for name, value in weights(first).items():
        np.testing.assert_allclose(weights(second)[name], value, atol=1e-6)


def test_a_diverged_run_stops_and_saves_nothing_more(dataset, tmp_path, capsys):
    arguments = settings(
        dataset, tmp_path, 'optimizer.lr=1e30', 'optimizer.clip_norm=0', 'schedule.warmup=0',
        'schedule.kind=constant',
    )  # fmt: skip
    assert train.main(arguments) == 1
    assert 'diverged' in capsys.readouterr().err
    for checkpoint in (tmp_path / 'checkpoints').glob('step-*'):
        assert all(np.isfinite(value).all() for value in weights(checkpoint).values())


def test_weights_that_are_not_finite_are_not_saved_behind_a_finite_loss(
    dataset, tmp_path, monkeypatch, capsys
):
    micro_step = Trainer._micro_step

    def damaged(self, stream, micro):
        loss = micro_step(self, stream, micro)
        if self.step == 3:  # the last before the checkpoint of step 4
            self.model.projector.fc1.bias.grad.fill_(np.nan)
        return loss

    monkeypatch.setattr(Trainer, '_micro_step', damaged)
    assert train.main(settings(dataset, tmp_path)) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'is not finite at step 4: the run has diverged' in error
    assert 'step-00000002' in error
    assert [p.name for p in (tmp_path / 'checkpoints').glob('step-*')] == ['step-00000002']


@pytest.mark.parametrize('raised', [
    torch.OutOfMemoryError('CUDA out of memory'),
    MemoryError('Unable to allocate 3.09 GiB for an array'),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 17 bytes"),
])
@pytest.mark.parametrize('place', ['_optimiser_step', '__init__'])
def test_out_of_memory_names_a_recipe(dataset, tmp_path, monkeypatch, capsys, raised, place):
    def full(*_):
        raise raised

    monkeypatch.setattr(Trainer, place, full)
    assert train.main(settings(dataset, tmp_path)) == 1
    error = capsys.readouterr().err
    assert 'small_memory_10gb.yaml' in error
    assert 'batch_size=4' in error


def test_out_of_memory_does_not_advise_what_is_already_set():
    small = ['batch_size=1', 'compute.gradient_checkpointing=true']
    error = str(train.out_of_memory(load_config(None, small), None))
    assert 'small_memory' not in error and 'batch_size and double' not in error
    assert 'adaptation.rank' in error
    for size, batch in train.RECIPE_BATCHES.items():
        assert load_config(f'small_memory_{size}gb').batch_size == batch


def test_a_full_disk_while_logging_names_the_last_good_checkpoint(
    dataset, tmp_path, monkeypatch, capsys
):
    from vla_adapter_ros.training.metrics import RunLog

    write = RunLog.write

    def full(self, step, values, group):
        if step > 2:
            raise OSError(errno.ENOSPC, 'No space left on device', str(tmp_path / 'metrics.jsonl'))
        write(self, step, values, group)

    monkeypatch.setattr(RunLog, 'write', full)
    assert train.main(settings(dataset, tmp_path)) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'metrics.jsonl: No space left on device' in error
    assert 'step-00000002' in error
    assert Policy.from_pretrained(tmp_path / 'checkpoints' / 'step-00000002', device='cpu')


@pytest.mark.parametrize(('more', 'part'), [
    (['data.datasets=[]'], 'data.datasets'),
    (['data.datasets=[/no/such/folder]'], '/no/such/folder'),
    (['data.contract=alicia_d_sim'], 'contract'),
    (['start.kind=checkpoint', 'start.path=/no/such/checkpoint'], '/no/such/checkpoint'),
    (['model={preset: huge}'], 'huge'),
    (['processing={images: {size: 64}}'], 'size 64'),
    (['processing={cameras: [wrist]}'], "the policy sees ['wrist']"),
    (['data.validation_fraction=0.9'], 'too few'),
])
def test_settings_that_do_not_fit_are_refused_in_one_line(dataset, tmp_path, capsys, more, part):
    assert train.main(settings(dataset, tmp_path, *more)) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert part in error
    assert not list(tmp_path.glob('checkpoints/step-*'))


def test_dry_run_tells_what_would_happen(dataset, tmp_path, capsys):
    arguments = settings(dataset, tmp_path, 'adaptation.mode=frozen', 'steps=90')
    assert train.main([*arguments, '--dry-run']) == 0
    report = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in report.splitlines() if line.strip()}
    assert rows['vision_backbone'][0] == '0'
    assert rows['policy'][1] == '0'
    assert int(rows['policy'][0].replace(',', '')) > 1000
    assert '(4, 12, 32, 32)' in report
    assert '60 observations of 3 episodes, 1 episodes held out' in report
    assert '90 of 4 samples = 6.0 epochs' in report
    assert not (tmp_path / 'checkpoints').exists()


def test_simulated_tasks_that_do_not_exist_are_refused_before_training(dataset, tmp_path, capsys):
    for wrong, allowed in (('tasks=[juggle]', 'reach'), ('level=moon', 'bench')):
        more = ['simulation.every=2', 'simulation.tasks=[reach]', f'simulation.{wrong}']
        assert train.main(settings(dataset, tmp_path, *more)) == 1
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert wrong.partition('=')[2].strip('[]') in error and allowed in error
    assert not (tmp_path / 'checkpoints').exists()


def test_mfu_is_logged_where_the_peak_is_known_and_does_not_change_the_weights(dataset, tmp_path):
    plain = weights(train.run(config(dataset, tmp_path / 'a', 'steps=2')))
    counted = weights(train.run(config(dataset, tmp_path / 'b', 'steps=2', 'log.peak_tflops=1')))
    line = json.loads((tmp_path / 'b' / 'metrics.jsonl').read_text().splitlines()[-1])
    assert 0 < line['train/mfu'] < 1
    assert 'train/mfu' not in (tmp_path / 'a' / 'metrics.jsonl').read_text()
    for name, value in plain.items():
        np.testing.assert_array_equal(counted[name], value, err_msg=name)


def test_the_benchmark_measures_both_loops(dataset, tmp_path, capsys):
    from benchmarks import training as benchmark

    assert benchmark.main(['--steps', '2', *settings(dataset, tmp_path)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures['recipe_samples_per_s'] > 0
    assert figures['ratio'] == pytest.approx(
        figures['recipe_samples_per_s'] / figures['plain_loop_samples_per_s']
    )


@pytest.mark.slow(reason='collects demonstrations and rolls out in simulation')
@pytest.mark.timeout(300)
def test_the_success_rate_in_simulation_is_logged(tmp_path):
    from vla_adapter_ros.simulation.collect import main as collect

    data = tmp_path / 'reach'
    collect(['--task', 'reach', '--episodes', '3', '--workers', '1', '--image-size', '32',
             '--storage', 'image', str(data)])  # fmt: skip
    more = ['steps=2', 'simulation.every=2', 'simulation.tasks=[reach]', 'simulation.episodes=1']
    train.run(config(data, tmp_path / 'run', *more))
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    rates = next(json.loads(line) for line in lines if 'simulation/mean' in line)
    assert rates['step'] == 2
    assert 0 <= rates['simulation/reach'] <= 1


@pytest.mark.slow(reason="loads torch's compiler: 3 s")
@pytest.mark.parametrize('found', (False, True))
def test_without_a_compiler_training_goes_on_uncompiled(monkeypatch, capsys, found):
    from torch._inductor import cpp_builder

    def search():
        if not found:
            raise cpp_builder.exc.InvalidCxxCompiler

    compiled = set()
    monkeypatch.setattr(nn.Module, 'compile', lambda part: compiled.add(type(part).__name__))
    monkeypatch.setattr(cpp_builder, 'get_cpp_compiler', search)
    model = VLAAdapter.from_config(
        small_config(**VARIANTS['conv stem with keypoints and film']), device='meta'
    )
    settings = replace(TrainConfig(), compute=ComputeConfig(compile=True))
    train.apply_compute_settings(model, settings)
    said = capsys.readouterr().err
    if found:
        assert {'ConvStem', 'KeypointToken', 'DecoderLayer'} < compiled and not said
    else:
        assert not compiled and said.startswith('compute.compile: no C++ compiler')


@pytest.mark.slow(reason='compiles the model (torch.compile)')
@pytest.mark.timeout(600)
def test_compiled_blocks_train_to_the_same_weights_under_the_same_names(dataset, tmp_path):
    same = ['steps=2', 'data.augment=false']
    plain = weights(train.run(config(dataset, tmp_path / 'a', *same)))
    compiled = weights(train.run(config(dataset, tmp_path / 'b', *same, 'compute.compile=true')))
    assert plain.keys() == compiled.keys()
    for name, value in plain.items():
        np.testing.assert_allclose(compiled[name], value, atol=2e-5, err_msg=name)


@pytest.mark.parametrize(('more', 'part'), [
    (['start.kind=base', 'start.path=/no/such/vlm'], 'start.path: /no/such/vlm: no such'),
    (['tokenizer=/no/such/tokenizer'], '/no/such/tokenizer'),
    (['processing={images: {size: 64}}'], 'size 64'),
])
def test_what_is_cheap_to_check_is_checked_before_the_data_are_decoded(
    dataset, tmp_path, capsys, monkeypatch, more, part
):
    from vla_adapter_ros.training import assembly

    monkeypatch.setattr(assembly, 'open_dataset', None)
    assert train.main(settings(dataset, tmp_path, *more)) == 1
    assert part in capsys.readouterr().err.strip().splitlines()[-1]
