# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The benchmark command: its modes agree, its figures are there and make sense."""

from __future__ import annotations

import json
import math
import mmap

import numpy as np
import pytest
import torch

from vla_adapter_ros.evaluation import benchmark
from vla_adapter_ros.evaluation import benchmark_modes as bm
from vla_adapter_ros.evaluation.measure import (
    PeakMemory,
    Samples,
    StageTimer,
    count_flops,
    matrix_rate,
    timed,
)

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp('benchmark') / 'speed.json'
    arguments = ['--config', 'tiny', '--repeats', '3', '--device', 'cpu', '--quiet', '--loading']
    assert benchmark.main([*arguments, '--json', str(path)]) == 0
    return json.loads(path.read_text())


def test_all_modes_run_side_by_side_with_every_figure(run):
    assert list(run['modes']) == ['upstream', 'exact', 'bf16', 'int8']
    for mode in run['modes'].values():
        for clock in ('wall', 'cpu'):
            p50, p95, p99 = (mode['total'][f'{clock}_p{p}_ms'] for p in (50, 95, 99))
            assert 0 < p50 <= p95 <= p99
        for key in ('ratio', 'calls_per_second', 'peak_memory_gb', 'matrix_rate_fraction',
                    'gflop'):  # fmt: skip
            assert math.isfinite(mode[key])
            assert mode[key] > 0
    assert run['modes']['upstream']['ratio'] == 1.0
    assert run['machine']['threads'] == 1


def test_stages_make_up_most_of_a_call(run):
    for name, mode in run['modes'].items():
        stages = sum(stage['cpu_p50_ms'] for stage in mode['stages'].values())
        assert 0.5 < stages / mode['total']['cpu_p50_ms'] < 1.15, name
        assert {'vision 1', 'vision 2', 'projector', 'language', 'policy'} <= set(mode['stages'])


def test_exact_mode_computes_less_for_the_same_actions(run):
    upstream, exact = run['modes']['upstream'], run['modes']['exact']
    assert exact['gflop'] < 0.9 * upstream['gflop']
    assert exact['action_largest_error'] < 1e-5
    assert run['modes']['int8']['action_cosine'] > 0.99


def test_loading_is_measured_in_a_process_of_its_own(run):
    for entry in run['loading']:
        weights = run['parameters'] * {'bfloat16': 2, 'float32': 4}[entry['dtype']] / 1e9
        assert entry['weights_gb'] == pytest.approx(weights)
        assert entry['seconds'] > 0
        assert entry['peak_gb'] >= entry['start_gb']


def test_table_has_a_row_for_each_mode(run):
    lines = benchmark.table(run).splitlines()
    for name in run['modes']:
        assert any(line.split()[:1] == [name] for line in lines)
    assert 'tiny network, pro policy' in lines[0]


def test_preprocessing_is_measured_with_and_without_jpeg(run):
    own, official = (run['preprocessing'][name]['cpu_p50_ms'] for name in ('own', 'official'))
    assert 0 < own < official


def test_modes_can_be_chosen_and_unknown_ones_are_refused(capsys):
    assert list(bm.modes_for(CPU, ['bf16', 'upstream'])) == ['upstream', 'bf16']
    assert benchmark.main(['--device', 'cpu', '--modes', 'fp4', '--quiet']) == 2
    assert "got ['fp4'], cpu has ['upstream', 'exact', 'bf16', 'int8']" in capsys.readouterr().err


def test_absent_device_is_refused_in_one_line(capsys):
    assert benchmark.main(['--device', 'cuda:9']) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert 'this machine has cpu' in error


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as done:
        benchmark.main(['--help'])
    assert done.value.code == 0
    text = capsys.readouterr().out
    for option in ('--config', '--policy', '--threads', '--repeats', '--modes', '--json'):
        assert option in text


@pytest.mark.parametrize('policy', ('pro', 'original'))
def test_random_network_gives_finite_actions_that_depend_on_the_input(policy):
    config = bm.network_config('tiny', policy)
    model = bm.random_network(config, CPU)
    inputs = [bm.random_inputs(config, 10, seed) for seed in (0, 1)]
    running = bm.start_mode(model, bm.CPU_MODES['upstream'], CPU, 1, inputs[0])
    first, second = (running.call(case) for case in inputs)
    assert np.isfinite(first).all()
    assert np.abs(first - second).max() > 1e-4
    exact = bm.start_mode(model, bm.CPU_MODES['exact'], CPU, 1, inputs[0])
    np.testing.assert_allclose(exact.call(inputs[0]), first, atol=1e-5)


def test_nested_stages_count_for_themselves_only():
    class Work:
        def outer(self):
            busy(0.02)
            self.inner()

        def inner(self):
            busy(0.04)

    def busy(seconds):
        sample = Samples()
        total = 0.0
        while total < seconds:
            timed(lambda: sum(range(2000)), CPU, sample)
            total = sum(sample.cpu)

    work = Work()
    timer = StageTimer(CPU)
    timer.watch('outer', work, 'outer')
    timer.watch('inner', work, 'inner')
    work.outer()
    timer.finish_call()
    timer.stop()
    outer, inner = (timer.samples[name].cpu[0] for name in ('outer', 'inner'))
    assert 0.015 < outer < 0.035 < inner < 0.08
    assert 'outer' not in vars(work)


def test_flops_and_matrix_rate_are_of_the_right_size():
    a = torch.randn(64, 32)
    assert count_flops(lambda: a @ a.mT) == 2 * 64 * 64 * 32
    for dtype in ('float32', 'bfloat16', 'int8'):
        assert 1e9 < matrix_rate(CPU, dtype) < 1e13


def test_peak_memory_sees_what_was_freed_again():
    memory = PeakMemory(CPU)
    before = memory.bytes()
    with mmap.mmap(-1, 50_000_000) as block:  # new pages, whatever the heap has left
        block.write(bytes(range(1, 251)) * 200_000)
    assert 45e6 < memory.bytes() - before < 200e6
