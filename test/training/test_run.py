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
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from support import data_samples
from support.hub_server import put_into_cache
from support.lerobot_sets import write_v21
from support.training_samples import config, make_dataset, settings, weights
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.training import train
from vla_adapter_ros.training.assembly import build_setup
from vla_adapter_ros.training.config_loader import to_dict
from vla_adapter_ros.training.trainer import Trainer
from vla_adapter_ros.weights.files import write_json


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


def test_a_turned_camera_is_turned_on_the_robot_too(tmp_path):
    data = make_dataset(tmp_path / 'turned', episodes=2, rotate=180)
    last = train.run(config(data, tmp_path / 'run', 'steps=2', 'data.validation_fraction=0'))
    policy = Policy.from_pretrained(last, device='cpu')
    raw = next(data_samples.observations(1, 0))
    stored = open_dataset(data, images=policy.pipeline.config.images).batch([0]).images[0]
    seen = policy.pipeline.resized_views(raw.images)
    np.testing.assert_array_equal(seen[0], stored[0])
    np.testing.assert_array_equal(seen[1], stored[1])


class _Stop(Exception):
    pass


@pytest.mark.parametrize('more', [
    ['accumulate=2', 'ema=0.9'],
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
@pytest.mark.parametrize('launcher', LAUNCHERS)
def test_two_processes_equal_one_with_a_doubled_batch(dataset, tmp_path, launcher):
    same = ['data.augment=false', 'steps=5', 'save.every=5']
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
    more = ['simulation.every=2', 'simulation.tasks=[juggle]']
    assert train.main(settings(dataset, tmp_path, *more)) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "'juggle'" in error
    assert 'reach' in error
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
