# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The engine on the CPU: choice of device, int8 and its gate, and the GPU path without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from support.float32_rounding import BFLOAT16, float64_actions
from support.model_cases import relative_error
from support.policy_cases import (
    ONE_THREAD,
    alicia,
    inputs,
    needs_int8,
    network,
    observation,
    tensors,
)
from vla_adapter_ros.inference import engine as engine_module
from vla_adapter_ros.inference.cuda_graphs import (
    BUCKETS,
    CapturedForward,
    StaticInputs,
    bucket_of,
    compile_blocks,
    keep_compiled,
)
from vla_adapter_ros.inference.engine import DeviceError, Engine, EngineSettings
from vla_adapter_ros.inference.int8 import (
    LEVELS,
    Int8Linear,
    QuantisationError,
    action_error,
    check_actions,
    quantise,
)
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.inference.session import InferenceSession


@pytest.fixture(scope='module')
def exact():
    """What `network()` gives for a case in float64, and float32's bound on it."""
    known = {}

    def find(length=7, seed=0):
        if (length, seed) not in known:
            found, bound = float64_actions(network(), *tensors(inputs(length, seed)))
            known[length, seed] = found[0], bound
        return known[length, seed]

    return find


@pytest.mark.parametrize('dtype', ('float32', 'bfloat16'))
def test_engine_gives_the_networks_actions(exact, dtype):
    case = inputs()
    expected, bound = exact()
    actions = Engine(network(), EngineSettings('cpu', dtype, threads=1)).run(case)
    assert actions.shape == (8, 7)
    assert actions.dtype == np.float32
    bound *= 1 if dtype == 'float32' else BFLOAT16
    assert relative_error(actions, expected) < bound


@pytest.mark.parametrize(('capability', 'dtype'), (((7, 2), 'float16'), ((8, 7), 'bfloat16')))
def test_auto_is_float32_on_the_cpu_and_16_bits_on_cuda(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert EngineSettings().resolved() == (torch.device('cpu'), 'float32')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: capability)
    assert EngineSettings().resolved() == (torch.device('cuda'), dtype)


@pytest.mark.parametrize(
    ('settings', 'complaint'),
    (
        ({'device': 'tpu'}, "device: got 'tpu', expected auto, cpu, cuda or cuda:N"),
        ({'device': 'cuda:7'}, "device: got 'cuda:7', this machine has cpu"),
        ({'device': 'cpu', 'dtype': 'fp8'}, "dtype: got 'fp8', expected one of"),
    ),
)
def test_impossible_settings_are_refused_with_what_there_is(settings, complaint):
    with pytest.raises(DeviceError, match=complaint):
        Engine(network(), EngineSettings(**settings))


def test_int8_on_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(DeviceError, match='CPU only'):
        EngineSettings('cuda', 'int8').resolved()


def test_actions_that_float16_cannot_hold_are_refused_at_the_warm_up():
    model = network()
    with torch.no_grad():
        model.decoder.embed_tokens.weight.mul_(1e6)
    engine = Engine(model, EngineSettings('cpu', 'float16', threads=1))
    with pytest.raises(DeviceError, match='float16 gives actions that are not finite'):
        engine.prepare([inputs()])


def test_threads_leave_a_core_to_the_robot(monkeypatch):
    monkeypatch.setattr('os.sched_getaffinity', lambda _: range(8))
    before = torch.get_num_threads()
    try:
        assert EngineSettings().apply_threads() == torch.get_num_threads() == 7
        assert EngineSettings(threads=2).apply_threads() == torch.get_num_threads() == 2
        monkeypatch.setattr('os.sched_getaffinity', lambda _: range(1))
        assert EngineSettings().apply_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_int8_is_refused_where_its_products_saturate():
    """oneDNN without VNNI, in a process of its own: the instruction set is chosen once."""
    code = (
        'from vla_adapter_ros.inference.engine import EngineSettings\n'
        "EngineSettings('cpu', 'int8').resolved()"
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'ONEDNN_MAX_CPU_ISA': 'AVX2'}, capture_output=True, text=True,
    )  # fmt: skip
    assert 'DeviceError: dtype: int8 needs a CPU with VNNI or AMX' in done.stderr


@needs_int8
def test_int8_linear_adds_its_products_exactly():
    torch.manual_seed(0)
    linear = torch.nn.Linear(256, 48, bias=False)
    with torch.no_grad():
        linear.weight[0], linear.weight[1] = 1.0, -1.0
    layer = Int8Linear(linear)
    x = torch.randint(-LEVELS, LEVELS + 1, (5, 256)).float()
    x[:, 0] = LEVELS  # so that a row's scale is one
    x[0] = LEVELS
    weight = (linear.weight / layer.scale[:, None]).round()
    expected = (x.double() @ weight.double().t()) * layer.scale
    torch.testing.assert_close(layer(x).double(), expected, rtol=1e-6, atol=0)


def quantisation_error(linear, x):
    """Relative error of a row's outputs to be expected: both operands are rounded to integers.

    Rounding to steps of size s has variance s²/12; errors are independent, so their shares of
    the mean squares add up.
    """
    shares = 0.0
    for operand in (x.float(), linear.weight.detach()):
        step = operand.abs().amax(-1, keepdim=True) / LEVELS
        shares = shares + (step**2 / 12).mean() / operand.square().mean()
    return float(shares) ** 0.5


@needs_int8
@pytest.mark.parametrize('dtype', (torch.float32, torch.bfloat16))
@pytest.mark.parametrize('shape', ((5, 64), (2, 31, 64), (1, 64)))
def test_int8_linear_is_close_to_the_float_layer(dtype, shape):
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 48)
    x = torch.randn(shape).to(dtype)
    result = Int8Linear(linear)(x)
    expected = linear(x.float())
    assert result.dtype == dtype
    assert result.shape == expected.shape
    error = (result.float() - expected).norm() / expected.norm()
    rounding = torch.finfo(dtype).eps / 2  # of the result to its own dtype
    assert error < 1.5 * quantisation_error(linear, x) + rounding


@needs_int8
def test_int8_linear_keeps_precision_beside_an_outlier_token_and_without_bias():
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 48, bias=False)
    x = torch.randn(4, 64)
    x[0] *= 1e4
    x[1] = 0.0
    result, expected = Int8Linear(linear)(x), linear(x)
    assert (result[1] == 0).all()
    for row in (0, 2, 3):
        error = (result[row] - expected[row]).norm() / expected[row].norm()
        # One row has 48 results only: more scatter than a batch.
        assert error < 2 * quantisation_error(linear, x[row])


@needs_int8
def test_quantise_replaces_backbone_layers_only():
    model = network()
    count = quantise(model, keep=('down_proj',))
    replaced = {n for n, m in model.named_modules() if isinstance(m, Int8Linear)}
    assert len(replaced) == count > 20
    assert {name.split('.')[0] for name in replaced} == {
        'vision_backbone', 'projector', 'language_model'
    }  # fmt: skip
    assert not any('down_proj' in name for name in replaced)


@needs_int8
def test_int8_engine_reports_its_action_error():
    engine = Engine(network(), EngineSettings('cpu', 'int8', threads=1))
    examples = [inputs(seed=s) for s in range(3)]
    reference = np.stack([engine.run(case) for case in examples])
    engine.prepare(examples)
    assert engine.int8_error.cosine > 0.995
    assert f'action cosine {engine.int8_error.cosine:.5f}' in str(engine.int8_error)
    actions = np.stack([engine.run(case) for case in examples])
    assert action_error(actions, reference) == engine.int8_error
    assert 0 < engine.int8_error.largest <= 0.05


@needs_int8
def test_int8_that_changes_actions_is_refused(tmp_path):
    # The last layer of random policies spreads tiny differences over the range, errors too.
    Policy.random(alicia(), settings=ONE_THREAD).save(tmp_path)
    gate = r'cosine 0\.\d+, .*; a cosine of at least 0\.995 and an error of at most 0\.05 are'
    with pytest.raises(QuantisationError, match=gate):
        Policy.from_pretrained(tmp_path, device='cpu', dtype='int8', threads=1)


@pytest.mark.parametrize('bad', (np.full((8, 7), np.nan), -np.ones((8, 7)), np.zeros((8, 7))))
def test_action_check_refuses_not_a_number_and_other_directions(bad):
    with pytest.raises(QuantisationError):
        check_actions(bad, np.ones((8, 7)))


@needs_int8
def test_int8_is_refused_for_one_action_that_is_off_as_auto_refuses_it(monkeypatch):
    """One action in 56 off by 0.06 leaves the cosine at 0.9999: it is the error that counts."""
    reference = np.ones((8, 7))
    actions = reference.copy()
    actions[3, 2] += 0.06
    assert action_error(actions, reference).cosine > 0.999
    engine = Engine(network(), EngineSettings('cpu', 'int8', threads=1))
    given = iter((reference, actions))
    monkeypatch.setattr(Engine, 'run', lambda self, _: next(given))
    with pytest.raises(QuantisationError, match=r'largest error 0\.0600, .* at most 0\.05 are'):
        engine.prepare([inputs()])


@needs_int8
def test_int8_policy_of_a_checkpoint_is_checked_on_loading(tmp_path):
    policy = Policy.random(alicia(), settings=ONE_THREAD)
    last = policy.engine.model.policy.network.fc2
    with torch.no_grad():  # undo the spread of random policies, which magnifies every error
        last.weight.mul_(0.01)
        last.bias.add_(0.5)
    policy.save(tmp_path)
    loaded = Policy.from_pretrained(tmp_path, device='cpu', dtype='int8', threads=1)
    assert loaded.engine.int8_error is not None
    provenance = loaded.predict(observation()).provenance
    assert provenance['dtype'] == 'int8'
    assert 'action cosine' in provenance['int8_error']
    assert any(isinstance(m, Int8Linear) for m in loaded.engine.model.modules())


@pytest.mark.parametrize(
    ('length', 'bucket'), ((1, 16), (16, 16), (17, 32), (48, 48), (577, None))
)
def test_buckets(length, bucket):
    assert bucket_of(length) == bucket
    assert list(BUCKETS) == sorted(BUCKETS)


@pytest.mark.slow(reason='several networks; batches are padded in another test')
def test_padding_to_a_bucket_changes_no_action(exact):
    model = network()
    engine = Engine(model, ONE_THREAD)
    buffers = StaticInputs(engine.session, 16, inputs(7), torch.device('cpu'))
    addresses = [tensor.data_ptr() for tensor in buffers.prompt.tensors()]
    # A longer prompt first: nothing of it may be left in the buffers.
    for length, seed in ((16, 1), (5, 2), (7, 3), (7, 4)):
        case = inputs(length, seed)
        buffers.load([case])
        padded = engine.session(buffers.pixel_values, buffers.prompt, buffers.proprio)
        expected, bound = exact(length, seed)
        assert relative_error(padded[0], expected) < bound
        assert relative_error(engine.run(case), expected) < bound
    assert addresses == [tensor.data_ptr() for tensor in buffers.prompt.tensors()]


BATCH = ((7, 0), (12, 1), (3, 2), (7, 1))  # lengths of prompts, and seeds


@pytest.mark.parametrize('rows', (BATCH, BATCH[::-1], BATCH[:1] * 2))
def test_observations_of_a_batch_get_the_actions_they_get_alone(exact, rows):
    actions = Engine(network(), ONE_THREAD).run_many([inputs(*row) for row in rows])
    assert actions.shape == (len(rows), 8, 7)
    for row, chunk in zip(rows, actions, strict=True):
        expected, bound = exact(*row)
        assert relative_error(chunk, expected) < bound


def test_a_graph_for_batches_takes_fewer_and_other_prompts(exact):
    engine = Engine(network(), ONE_THREAD)
    buffers = StaticInputs(engine.session, 16, inputs(7), torch.device('cpu'), batch=3)
    addresses = [tensor.data_ptr() for tensor in buffers.prompt.tensors()]
    for rows in (BATCH[:3], BATCH[1:2], BATCH[2:]):
        buffers.load([inputs(*row) for row in rows])
        actions = engine.session(buffers.pixel_values, buffers.prompt, buffers.proprio)
        assert len(actions) == 3
        for row, chunk in zip(rows, actions):
            expected, bound = exact(*row)
            assert relative_error(chunk, expected) < bound
    assert addresses == [tensor.data_ptr() for tensor in buffers.prompt.tensors()]


def test_every_instruction_is_prepared_once(exact, monkeypatch):
    engine = Engine(network(), ONE_THREAD)
    prepared = []
    prompt = engine.session.prompt
    monkeypatch.setattr(engine.session, 'prompt', lambda *a: prepared.append(a) or prompt(*a))
    first = engine.run(inputs(seed=1))
    for case in (inputs(seed=1), inputs(seed=2), inputs(seed=1)):
        engine.run(case)
    assert len(prepared) == 2
    expected, bound = exact(seed=1)
    for actions in (first, engine.run(inputs(seed=1))):
        assert relative_error(actions, expected) < bound


@pytest.mark.parametrize('absorb', [True, False], ids=['as on a CPU', 'as on a GPU'])
def test_blocks_compile_as_whole_graphs_and_give_the_same_actions(exact, absorb):
    model, case = network(), inputs()
    engine = Engine(model, ONE_THREAD)
    engine.session = InferenceSession(model, absorb=absorb)
    # The backend 'eager' compiles nothing but traces everything: a break in a graph is an error.
    towers = model.vision_backbone.towers
    blocks = [model.decoder.layers, model.policy.network.blocks, *(t.blocks for t in towers)]
    assert compile_blocks(model, backend='eager') == sum(map(len, blocks))
    expected, bound = exact()
    assert relative_error(engine.run(case), expected) < bound


def test_a_call_compiles_nothing():
    compiled = []

    def backend(graph, _):
        compiled.append(graph)
        return graph

    engine = Engine(network(), ONE_THREAD)
    compile_blocks(engine.model, backend)
    engine._compiled = True  # as on a GPU
    engine.run(inputs(33))  # longer than any captured graph
    assert not compiled
    engine._compiled = False
    engine.run(inputs(34))
    assert compiled


def test_views_are_cropped_and_normalised_by_the_engine():
    policy = Policy.random(alicia(), settings=ONE_THREAD)
    assert policy.pipeline.config.images.crop_area < 1
    seen = policy.example_observation('lift the cube', 3)
    wanted = policy.engine.run(policy.pipeline(seen))
    policy.engine.take_views(policy.pipeline.config.images)  # as a policy on a GPU does
    policy.pipeline.views_only = True
    views = policy.pipeline(seen)
    assert views.pixel_values.dtype == np.uint8
    np.testing.assert_array_equal(policy.engine.run(views), wanted)
    buffers = StaticInputs(policy.engine.session, 32, views, torch.device('cpu'))
    buffers.load([views])
    assert torch.equal(buffers.pixel_values[0], torch.from_numpy(views.pixel_values))


class FakeGraph:
    """Stands for a captured graph, on the CPU."""

    made: list[tuple[int, int]]

    def __init__(self, session, length, example, device, batch):
        self.length, self.batch = length, batch
        self.made.append((length, batch))

    fits = CapturedForward.fits

    def run(self, inputs):
        lengths = [float(len(row.input_ids)) for row in inputs]
        return np.ones((len(inputs), 8, 7)) * np.array(lengths)[:, None, None]


def test_graphs_are_captured_at_the_start_and_none_by_a_call(monkeypatch):
    monkeypatch.setattr(engine_module, 'CapturedForward', FakeGraph)
    FakeGraph.made = []
    engine = Engine(network(), ONE_THREAD)
    engine.device = torch.device('cuda')  # from here on; the network is on the CPU
    engine.prepare([inputs(3), inputs(12)], batch=3)
    assert bucket_of(12 + engine_module.SPARE_TOKENS) == 32
    assert FakeGraph.made == [(32, 1), (32, 3)]
    assert float(engine.run(inputs(32))[0, 0]) == 32.0
    assert engine.run_many([inputs(32), inputs(5)])[:, 0, 0].tolist() == [32.0, 5.0]
    engine.device = torch.device('cpu')
    longer = engine.run_many([inputs(33), inputs(5)])
    more = engine.run_many([inputs(5)] * 4)
    assert max(abs(longer).max(), abs(more).max()) < 5
    assert len(FakeGraph.made) == 2


def test_compiled_kernels_outlive_a_reboot_unless_their_place_is_chosen(monkeypatch, tmp_path):
    # A second of import, which every worker would take to collect this file.
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.delenv('TORCHINDUCTOR_CACHE_DIR', raising=False)
    keep_compiled()
    assert cache_dir() == str(tmp_path / 'vla_adapter_ros' / 'inductor')
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path / 'mine'))
    keep_compiled()
    assert cache_dir() == str(tmp_path / 'mine')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
@pytest.mark.parametrize('compile', (False, True))
def test_cuda_graph_gives_the_cpu_actions(exact, compile):
    case = inputs()
    engine = Engine(network(), EngineSettings('cuda', 'float32', compile))
    engine.prepare([case])
    assert engine._captured
    for seed in (0, 1):
        expected, bound = exact(seed=seed)
        assert relative_error(engine.run(inputs(seed=seed)), expected) < bound


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_cuda_graph_of_a_batch_gives_the_cpu_actions(exact):
    engine = Engine(network(), EngineSettings('cuda', 'float32'))
    engine.prepare([inputs(12)], batch=4)
    assert [graph.batch for graph in engine._captured] == [1, 4]
    for rows in (BATCH, BATCH[1:]):
        for row, chunk in zip(rows, engine.run_many([inputs(*row) for row in rows]), strict=True):
            expected, bound = exact(*row)
            assert relative_error(chunk, expected) < bound
