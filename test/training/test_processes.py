# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Several processes: slow work of the first one, validation in parts; signals of a scheduler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from support.training_samples import config, make_dataset, settings, weights
from vla_adapter_ros.training import train
from vla_adapter_ros.training.assembly import build_setup
from vla_adapter_ros.training.trainer import Trainer
from vla_adapter_ros.training.validation import validate

# The group of the gradients waits 8 s; the first process prepares and saves for 12 s each.
SLOW_FIRST_PROCESS = '''
import datetime, sys, time, torch.distributed as d
from vla_adapter_ros.training import assembly, train
from vla_adapter_ros.training.checkpoints.run_folder import RunFolder
start, build, save = d.init_process_group, assembly.build_setup, RunFolder.save

def impatient(*values, **options):
    start(*values, **{**options, 'timeout': datetime.timedelta(seconds=8)})

def slow_build(*values, **options):
    time.sleep(12 * (d.get_rank() == 0))
    return build(*values, **options)

def slow_save(*values, **options):
    time.sleep(12)
    return save(*values, **options)

d.init_process_group, assembly.build_setup, RunFolder.save = impatient, slow_build, slow_save
sys.exit(train.main(sys.argv[1:]))
'''


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'pick')


def environment():
    return {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2]), 'OMP_NUM_THREADS': '1'}


class Part:
    """One of two processes, played one after the other."""

    is_first, count = False, 2

    def __init__(self, rank, collected):
        self.rank, self._collected = rank, collected

    def sum(self, values):
        self._collected.append(values)
        return values


def test_the_parts_of_a_validation_make_up_the_whole(dataset, tmp_path):
    from vla_adapter_ros.training.processes import Processes

    made = config(dataset, tmp_path, 'batch_size=3', 'data.validation_fraction=0.5')
    setup = build_setup(made, False)
    cpu = torch.device('cpu')
    alone = Processes(train.make_accelerator(made))
    whole = validate(setup, made, cpu, alone)
    sums: list[list[np.ndarray]] = [[], []]
    for rank in range(2):
        validate(setup, made, cpu, Part(rank, sums[rank]))
    (total, count), (offsets, steps) = (a + b for a, b in zip(*sums, strict=True))
    assert whole['l1'] == pytest.approx(total / count)
    assert [*whole.values()][1:] == pytest.approx(list(offsets / steps))
    assert all(part[0][1] > 0 for part in sums)
    assert count == 2 * 20 * 8 * 7  # each held-out sample once


@pytest.mark.parametrize(('number', 'ends'), [(signal.SIGUSR1, False), (signal.SIGTERM, True)])
def test_a_signal_saves_the_step_and_sigterm_ends_the_run(
    dataset, tmp_path, monkeypatch, capsys, number, ends
):
    step = Trainer._optimiser_step

    def signalled(self, stream, window):
        step(self, stream, window)
        if self.step == 2:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Trainer, '_optimiser_step', signalled)
    before = signal.getsignal(number)
    arguments = settings(dataset, tmp_path / 'a', 'save.every=4')
    status = train.main(arguments)
    assert signal.getsignal(number) == before
    found = sorted(p.name[-1] for p in (tmp_path / 'a' / 'checkpoints').glob('step-*'))
    assert (status, found) == ((143, ['3']) if ends else (0, ['3', '4', '6']))
    assert ('step 3 is saved' in capsys.readouterr().err) == ends
    monkeypatch.setattr(Trainer, '_optimiser_step', step)
    whole = weights(train.run(config(dataset, tmp_path / 'b', 'save.every=4')))
    resumed = weights(train.run(config(dataset, tmp_path / 'a', 'save.every=4')))
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


@pytest.mark.slow(reason='two processes whose first works longer than the timeout of gradients')
@pytest.mark.timeout(300)
def test_others_wait_for_slow_work_of_the_first_process(dataset, tmp_path):
    script = tmp_path / 'slow_first_process.py'
    script.write_text(SLOW_FIRST_PROCESS)
    more = ['steps=2', 'save.every=2', 'save.validate_every=2']
    command = [
        sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2',
        str(script), *settings(dataset, tmp_path / 'run', *more),
    ]  # fmt: skip
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    assert sum('validation/l1' in json.loads(line) for line in lines) == 1


@pytest.mark.slow(reason='starts two more processes that import torch')
@pytest.mark.timeout(300)
def test_sigterm_to_the_launcher_saves_one_step_of_all_processes(dataset, tmp_path):
    arguments = settings(dataset, tmp_path, 'steps=100000', 'save.every=100000')
    command = [
        sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2',
        '-m', 'vla_adapter_ros.training.train', *arguments,
    ]  # fmt: skip
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    log = tmp_path / 'metrics.jsonl'
    while not (log.is_file() and log.read_text()) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    error = process.communicate()[1]
    (last,) = (tmp_path / 'checkpoints').glob('step-*')
    step = int(last.name.removeprefix('step-'))
    assert error.count(f'stopped by SIGTERM; step {step} is saved') == 2
    assert weights(last)
