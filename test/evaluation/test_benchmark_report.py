# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The benchmark command: its modes agree, its figures are there and make sense."""

from __future__ import annotations

import itertools
import json
import math
import mmap

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from support.float32_rounding import float64_actions
from vla_adapter_ros.evaluation import benchmark, measure
from vla_adapter_ros.evaluation import benchmark_modes as bm
from vla_adapter_ros.evaluation.benchmark_openvino import is_installed
from vla_adapter_ros.evaluation.measure import (
    PeakMemory,
    Samples,
    StageTimer,
    count_flops,
    matrix_rate,
    timed,
)
from vla_adapter_ros.inference.int8 import int8_works
from vla_adapter_ros.processing import images

CPU = torch.device('cpu')
# A CPU without VNNI has no int8, and the command leaves it out.
OURS = ['upstream', 'exact', 'bf16'] + ['int8'] * int8_works()


ARGUMENTS = ['--config', 'tiny', '--repeats', '3', '--device', 'cpu', '--quiet']


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp('benchmark') / 'speed.json'
    assert benchmark.main([*ARGUMENTS, '--json', str(path)]) == 0
    return json.loads(path.read_text())


@pytest.mark.slow(reason='networks in every mode')
def test_all_modes_run_side_by_side_with_every_figure(run):
    assert list(run['modes']) == OURS
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


STAGES = {'vision 1', 'vision 2', 'projector', 'language', 'policy'}


def test_every_stage_is_timed(run):
    for name, mode in run['modes'].items():
        assert set(mode['stages']) == STAGES | ({'head, states'} if name == 'upstream' else set())
        for stage in mode['stages'].values():
            assert 0 < stage['cpu_p50_ms'] <= stage['cpu_p95_ms'] <= stage['cpu_p99_ms'], name


class WorkClock(TorchDispatchMode):
    """A clock that each operation moves on by the numbers it gives: the same on every machine."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.now = 0.0
        for name in ('perf_counter', 'process_time'):
            monkeypatch.setattr(measure.time, name, lambda: self.now)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            parts = result if isinstance(result, tuple | list) else [result]
            self.now += sum(part.numel() for part in parts if isinstance(part, torch.Tensor))
        return result


@pytest.mark.parametrize('name', OURS)
def test_stages_make_up_most_of_a_call(monkeypatch, name):
    config = bm.network_config('tiny', 'pro')
    model, case = bm.random_network(config, CPU), bm.random_inputs(config, 10, 0)
    running = bm.start_mode(model, bm.CPU_MODES[name], CPU, 1, case)
    running.call(case)
    timer, total = StageTimer(CPU), Samples()
    running.watch(timer)
    with WorkClock(monkeypatch):
        timed(lambda: running.call(case), CPU, total)
    timer.finish_call()
    timer.stop()
    stages = {stage: samples.cpu for stage, samples in timer.samples.items()}
    assert all(len(taken) == 1 and taken[0] > 0 for taken in stages.values())
    assert 0.8 < sum(taken[0] for taken in stages.values()) / total.cpu[0] <= 1.0


def largest_difference(policy):
    """Of two float32 ways of computing the actions of the benchmark's small network."""
    config = bm.network_config('tiny', policy)
    model, case = bm.random_network(config, CPU), bm.random_inputs(config, 10, 0)
    arrays = (case.pixel_values, case.input_ids, case.proprio)
    exact, bound = float64_actions(model, *(torch.tensor(array)[None] for array in arrays))
    # Each is within the bound; twice that again for other inputs, which amplify a little more.
    return 4 * bound * float(exact.abs().max())


def test_exact_mode_computes_less_for_the_same_actions(run):
    upstream, exact = run['modes']['upstream'], run['modes']['exact']
    assert exact['gflop'] < 0.9 * upstream['gflop']
    assert exact['action_largest_error'] < largest_difference('pro')
    assert min(mode['action_cosine'] for mode in run['modes'].values()) > 0.99


@pytest.mark.slow(reason='starts two more processes that import torch')
def test_loading_is_measured_in_a_process_of_its_own(tmp_path):
    path = tmp_path / 'speed.json'
    assert benchmark.main([*ARGUMENTS, '--loading', '--json', str(path)]) == 0
    run = json.loads(path.read_text())
    assert len(run['loading']) == 2
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
    for name in ('own', 'official'):
        assert run['preprocessing'][name]['cpu_p50_ms'] > 0


def test_only_the_official_preprocessing_has_a_jpeg_round_trip(monkeypatch):
    calls = []
    original = images.jpeg_round_trip
    monkeypatch.setattr(
        images, 'jpeg_round_trip', lambda image: calls.append(1) or original(image)
    )
    ticks = itertools.count()
    monkeypatch.setattr(measure.time, 'process_time', lambda: next(ticks) + 100 * len(calls))
    found = benchmark._preprocessing(96)
    assert len(calls) == benchmark.PREPROCESSING_REPEATS + 1
    assert found['own']['cpu_p50_ms'] == pytest.approx(1e3)
    assert found['official']['cpu_p50_ms'] == pytest.approx(101e3)


def test_modes_can_be_chosen_and_unknown_ones_are_refused(capsys):
    assert list(bm.modes_for(CPU, ['bf16', 'upstream'])) == ['upstream', 'bf16']
    assert list(bm.modes_for(CPU, None)) == OURS
    assert benchmark.main(['--device', 'cpu', '--modes', 'fp4', '--quiet']) == 2
    assert "got ['fp4'], cpu has ['upstream', 'exact', 'openvino'" in capsys.readouterr().err


def test_a_cpu_without_int8_is_measured_without_it_and_told_why(monkeypatch, capsys):
    monkeypatch.setattr(bm, 'int8_works', lambda: False)
    assert list(bm.modes_for(CPU, None)) == ['upstream', 'exact', 'bf16']
    assert benchmark.main([*ARGUMENTS, '--repeats', '1']) == 0
    out = capsys.readouterr().out
    assert 'int8: left out, needs a CPU with VNNI or AMX' in out
    assert benchmark.main([*ARGUMENTS, '--modes', 'int8']) == 2
    assert 'modes: int8 needs a CPU with VNNI or AMX' in capsys.readouterr().err


def test_openvino_runs_beside_ours_only_where_it_is_asked_for_and_installed(monkeypatch, capsys):
    monkeypatch.setattr(bm, 'is_installed', lambda: True)
    chosen = bm.modes_for(CPU, ['bf16'], openvino=True)
    assert list(chosen) == ['openvino', 'openvino-bf16', 'bf16']
    monkeypatch.setattr(bm, 'is_installed', lambda: False)
    assert benchmark.main([*ARGUMENTS, '--openvino']) == 2
    assert 'pip install onnx onnxscript openvino' in capsys.readouterr().err


@pytest.mark.slow(reason='converts a network: half a minute')
@pytest.mark.skipif(not is_installed(), reason='OpenVINO is not installed')
def test_openvino_gives_the_networks_actions(capsys):
    assert benchmark.main([*ARGUMENTS, '--modes', 'exact', 'openvino', 'openvino-bf16']) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if 'openvino' in line]
    assert [row[0] for row in rows] == ['openvino', 'openvino-bf16']
    assert float(rows[0][-1]) > 0.99999
    assert float(rows[1][-1]) > 0.99


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


@pytest.mark.parametrize(
    'policy',
    ['pro', pytest.param('original', marks=pytest.mark.slow(reason='test_session has both'))],
)
def test_random_network_gives_finite_actions_that_depend_on_the_input(policy):
    config = bm.network_config('tiny', policy)
    model = bm.random_network(config, CPU)
    inputs = [bm.random_inputs(config, 10, seed) for seed in (0, 1)]
    running = bm.start_mode(model, bm.CPU_MODES['upstream'], CPU, 1, inputs[0])
    first, second = (running.call(case) for case in inputs)
    assert np.isfinite(first).all()
    assert np.abs(first - second).max() > 1e-4
    exact = bm.start_mode(model, bm.CPU_MODES['exact'], CPU, 1, inputs[0])
    assert np.abs(exact.call(inputs[0]) - first).max() < largest_difference(policy)


def test_nested_stages_count_for_themselves_only(monkeypatch):
    clock = [0.0]
    for name in ('perf_counter', 'process_time'):
        monkeypatch.setattr(measure.time, name, lambda: clock[0])

    class Work:
        def outer(self):
            clock[0] += 2.0
            self.inner()
            clock[0] += 1.0

        def inner(self):
            clock[0] += 4.0

    work = Work()
    timer = StageTimer(CPU)
    timer.watch('outer', work, 'outer')
    timer.watch('inner', work, 'inner')
    work.outer()
    work.inner()
    timer.finish_call()
    timer.stop()
    for clock_name in ('cpu', 'wall'):
        taken = {name: getattr(samples, clock_name) for name, samples in timer.samples.items()}
        assert taken == {'outer': [3.0], 'inner': [8.0]}
    assert 'outer' not in vars(work)


def test_flops_are_counted():
    a = torch.randn(64, 32)
    assert count_flops(lambda: a @ a.mT) == 2 * 64 * 64 * 32


@pytest.mark.parametrize('dtype', ('float32', 'bfloat16', 'int8'))
def test_matrix_rate_is_the_work_over_the_least_time(monkeypatch, dtype):
    times = iter([0.5, 0.25, *[1.0] * 100])
    made = []

    def timed_by_hand(call, device, samples):
        made.append(call())
        samples.cpu.append(next(times))

    monkeypatch.setattr(measure, 'timed', timed_by_hand)
    monkeypatch.setitem(measure.MATRIX_SIDE, 'cpu', 64)
    assert matrix_rate(CPU, dtype) == 2 * 64**3 / 0.25
    assert all(product.shape == (64, 64) for product in made)
    assert len(made) >= measure.MATRIX_REPEATS


def test_peak_memory_sees_what_was_freed_again():
    memory = PeakMemory(CPU)
    before = memory.bytes()
    with mmap.mmap(-1, 50_000_000) as block:  # new pages, whatever the heap has left
        block.write(bytes(range(1, 251)) * 200_000)
    assert 45e6 < memory.bytes() - before < 200e6
