# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Exported policies act as the network does, for every prompt length that fits."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from support.model_cases import small_config
from support.policy_cases import ONE_THREAD, alicia
from support.variants import VARIANTS
from support.variants import policy as variant_policy
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.inference import export as exporting
from vla_adapter_ros.inference.export import (
    difference,
    drawn_noise,
    export,
    fitting,
    main,
    reference_actions,
    tensors,
)
from vla_adapter_ros.inference.export_formats import EXTENSIONS, FORMATS
from vla_adapter_ros.inference.exportable import ExportablePolicy
from vla_adapter_ros.inference.exported import (
    EXPORT_FILE,
    OPENERS,
    ExportedPolicy,
    ExportError,
    engine_inputs,
    open_policy,
)
from vla_adapter_ros.inference.int8 import ActionError, action_error
from vla_adapter_ros.inference.packed_linear import unpack
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.inference.simple_policies import shipped_checkpoint
from vla_adapter_ros.model import precision
from vla_adapter_ros.model.precision import attention
from vla_adapter_ros.preflight.checks import PASS
from vla_adapter_ros.preflight.files import PreflightSettings, check_checkpoint, check_latency
from vla_adapter_ros.processing.statistics import Normaliser
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.server.policy_thread import served_by

TOKENS = 24
ENGINES = {
    'onnx': ('onnx', 'onnxscript', 'onnxruntime'),
    'openvino': ('onnx', 'onnxscript', 'openvino'),
    'aoti': (),
}


@pytest.fixture(scope='module')
def policy():
    """An untrained policy whose images are cropped."""
    config = small_config(num_images=2, action_dim=7, proprio_dim=7)
    config = config.replace(language=replace(config.language, vocab_size=512))
    policy = Policy.random(alicia(), config=config, settings=ONE_THREAD)
    assert policy.pipeline.config.images.crop_area < 1
    return policy


@pytest.fixture(scope='module')
def cases(policy):
    """Inputs of exported files with prompts of several lengths, and the network's actions."""
    observations = [
        policy.example_observation(text, seed)
        for seed, text in enumerate(fitting(policy, TOKENS))
    ]
    assert len({len(policy.pipeline.prompt_ids(o.instruction)) for o in observations}) == 3
    expected = [policy.engine.run(policy.pipeline(o)) for o in observations]
    inputs = [engine_inputs(policy.pipeline, o, TOKENS) for o in observations]
    return inputs, expected, observations


@pytest.fixture(scope='module')
def module(policy, cases):
    unpack(policy.engine.model)
    return ExportablePolicy(policy.engine.model, policy.pipeline, actions_of(policy))


def actions_of(policy):
    return Normaliser(policy.statistics.action, policy.pipeline.config.normalisation)


@torch.no_grad()
def test_the_module_takes_raw_inputs_and_gives_the_networks_actions(policy, cases, module):
    inputs, expected, observations = cases
    for case, seen in zip(inputs, observations, strict=True):
        pixels = module.pixels(tensors(case)['images'])
        np.testing.assert_array_equal(pixels[0], policy.pipeline(seen).pixel_values)
    error = difference(lambda case: module(**tensors(case)).numpy(), inputs, expected,
                       actions_of(policy))  # fmt: skip
    assert error.cosine > 0.99999
    assert error.largest < 1e-3


@pytest.mark.slow(reason="loads torch's tracer: 4 s")
@torch.no_grad()
def test_one_traced_program_serves_every_prompt_length(policy, cases, module):
    inputs, expected, _ = cases
    program = torch.export.export(module, (), kwargs=tensors(inputs[0]), strict=False).module()
    error = difference(lambda case: program(**tensors(case)).numpy(), inputs, expected,
                       actions_of(policy))  # fmt: skip
    assert error.cosine > 0.99999


@pytest.mark.parametrize('mode', ('bounds_q99', 'bounds', 'normal'))
@pytest.mark.parametrize('zero_constant', (True, False))
def test_affine_and_limits_are_what_the_normaliser_does(policy, mode, zero_constant):
    statistics = policy.statistics.proprio
    constant = np.arange(statistics.size) == 2
    statistics = replace(
        statistics,
        mask=np.arange(statistics.size) != 1,
        max=np.where(constant, statistics.min, statistics.max),
        q99=np.where(constant, statistics.q01, statistics.q99),
    )
    normaliser = Normaliser(statistics, mode, zero_constant)
    values = np.random.default_rng(0).uniform(-9, 9, (20, statistics.size))
    factor, offset = normaliser.affine()
    low, high = normaliser.limits()
    np.testing.assert_allclose(
        np.clip((values - offset) / factor, low, high), normaliser.normalise(values), atol=1e-6
    )
    np.testing.assert_allclose(values * factor + offset, normaliser.denormalise(values))


@pytest.fixture
def fake(monkeypatch):
    """A format that needs no engine; `fake.wrong` is added to the actions."""

    class Fake:
        wrong = 0.0

    def write(module, example, file, dtype):
        file.write_text(dtype)
        with torch.no_grad():
            return lambda inputs: module(**tensors(inputs)).detach().numpy() + Fake.wrong

    monkeypatch.setitem(exporting.FORMATS, 'onnx', write)
    return Fake


def error_of_precision(checkpoint, dtype):
    """Return by how much our own engine's actions change in `dtype`, for the export's inputs."""
    actions = []
    for name in ('float32', dtype):
        policy = Policy.from_pretrained(checkpoint, device='cpu', dtype=name, threads=1)
        actions.append([
            reference_actions(policy, policy.example_observation(text, seed), seed)
            for seed, text in enumerate(fitting(policy, 32))
        ])
    return action_error(np.stack(actions[1]), np.stack(actions[0]))


@pytest.mark.parametrize('dtype', ('float32', 'float16'))
def test_an_export_says_what_goes_in_and_comes_out(fake, tmp_path, capsys, dtype):
    folder = tmp_path / 'made/reach'
    checkpoint = str(shipped_checkpoint())
    options = ['--format', 'onnx', '--output', str(folder), '--dtype', dtype]
    assert main([checkpoint, *options, '--prompt-tokens', '32']) == 0
    about = json.loads((folder / EXPORT_FILE).read_text())
    error = ActionError(**about['difference'])
    assert f'onnx {dtype}, {error}' in capsys.readouterr().out
    # How much 16 bits change the actions depends on the weights: as much as in our own engine.
    assert error.mean <= 1.5 * error_of_precision(checkpoint, dtype).mean + 1e-5
    assert about['file'] == 'policy.onnx'
    assert (folder / 'policy.onnx').read_text() == dtype
    assert about['checkpoint'] == checkpoint
    assert about['inputs']['images'] == {'dtype': 'uint8', 'shape': [1, 2, 96, 96, 3]}
    assert about['inputs']['input_ids'] == {'dtype': 'int64', 'shape': [1, 32]}
    assert about['output']['actions']['shape'] == [1, 8, 7]
    assert about['preprocessing']['cameras'] == ['third_person', 'wrist']
    assert Tokenizer.from_directory(folder).pad_id == about['pad_id']
    assert main([checkpoint, *options]) == 1
    assert 'exists already' in capsys.readouterr().err


@pytest.fixture
def exported(fake, tmp_path, monkeypatch):
    """The shipped checkpoint, exported to the format without an engine: its own module runs it."""
    modules = []
    write = exporting.FORMATS['onnx']
    monkeypatch.setitem(
        exporting.FORMATS, 'onnx', lambda m, *rest: modules.append(m) or write(m, *rest)
    )
    export(shipped_checkpoint(), tmp_path / 'made', 'onnx', prompt_tokens=16)

    def opened(file, device, threads):
        assert file.is_file()
        return lambda inputs: modules[0](**tensors(inputs)).detach().numpy()

    monkeypatch.setitem(OPENERS, 'onnx', opened)
    return tmp_path / 'made'


def test_an_exported_policy_acts_as_its_checkpoint(exported, caplog):
    policy = open_policy(exported, threads=1)
    checkpoint = open_policy(shipped_checkpoint(), device='cpu', dtype='float32', threads=1)
    assert isinstance(policy, ExportedPolicy)
    assert isinstance(checkpoint, Policy)
    seen = checkpoint.example_observation('push the red block left')
    assert np.array_equal(policy.example_observation('push the red block left').images['wrist'],
                          seen.images['wrist'])  # fmt: skip
    mine, theirs = policy.predict(seen), checkpoint.predict(seen)
    np.testing.assert_allclose(mine.actions, theirs.actions, atol=1e-4)
    assert (policy.contract, policy.step_period, policy.chunk_size) == (
        checkpoint.contract, checkpoint.step_period, checkpoint.chunk_size,
    )  # fmt: skip
    assert policy.unknown_words('pick up the zebra') == ['zebra']
    assert mine.provenance['fingerprint'] == theirs.provenance['fingerprint']
    assert mine.provenance['engine'] == 'onnx'
    assert policy.recipe == checkpoint.recipe and policy.recipe['data']['datasets']
    assert served_by(policy).is_same_policy(served_by(checkpoint))
    policy.warm_up()
    other = replace(seen, instruction='pick up the block')
    for _ in range(2):  # its file takes one at a time
        chunks = policy.predict_many([seen, other])
        np.testing.assert_array_equal(chunks[0].actions, mine.actions)
        np.testing.assert_array_equal(chunks[1].actions, policy.predict(other).actions)
    assert [r.message for r in caplog.records] == [
        'exported policies take one observation at a time: no batches'
    ]
    with pytest.raises(ExportError, match=r'prompt has \d+ tokens, the exported file takes 16'):
        policy.predict(replace(seen, instruction='push the red block left ' * 4))


def test_an_exported_diffusion_policy_starts_each_chunk_from_other_noise(exported, monkeypatch):
    about = json.loads((exported / EXPORT_FILE).read_text())
    about['inputs']['noise'] = {'dtype': 'float32', 'shape': about['output']['actions']['shape']}
    (exported / EXPORT_FILE).write_text(json.dumps(about))
    drawn = []

    def run(inputs):
        drawn.append(inputs['noise'])
        return np.zeros_like(inputs['noise'])

    monkeypatch.setitem(OPENERS, 'onnx', lambda *_: run)
    policy = open_policy(exported, threads=1)
    for _ in range(2):
        policy.predict(policy.example_observation('push the red block left'))
    assert [list(noise.shape) for noise in drawn] == [about['inputs']['noise']['shape']] * 2
    assert drawn[0].dtype == np.float32
    assert not np.array_equal(*drawn)


def test_preflight_reads_an_export(exported):
    settings = PreflightSettings('alicia_d_sim', str(exported), 'cpu', model_runs=2)
    assert [c.verdict for c in check_checkpoint(settings)] == [PASS, PASS]
    assert 'dtype float32' in check_latency(settings).detail


@pytest.mark.parametrize(
    ('options', 'complaint'),
    (
        ({'dtype': 'bfloat16'}, "dtype: got 'bfloat16', .* was exported with 'float32'"),
        ({'statistics_key': 'libero'}, "statistics: got 'libero', .* was exported with"),
    ),
)
def test_what_an_export_has_fixed_cannot_be_changed(exported, options, complaint):
    with pytest.raises(ExportError, match=complaint):
        open_policy(exported, **options)


def test_damaged_exports_are_named(exported):
    about = json.loads((exported / EXPORT_FILE).read_text())
    (exported / 'policy.onnx').unlink()
    with pytest.raises(CheckpointError, match='policy.onnx: no such file'):
        open_policy(exported)
    odd = ({'format': 'caffe'}, {'sha256': None}, {'inputs': 1})
    for broken in ({'format': 'onnx'}, *(about | change for change in odd)):
        (exported / EXPORT_FILE).write_text(json.dumps(broken))
        with pytest.raises(CheckpointError, match='policy.json: not written by this release'):
            open_policy(exported)


@pytest.mark.parametrize('change', ('changed', 'added', 'missing'))
def test_weights_that_are_not_those_exported_are_refused(exported, change):
    """The export refused weights out of range; others may have come since, which no one read."""
    weights = exported / 'policy.onnx.data'
    about = json.loads((exported / EXPORT_FILE).read_text())
    assert list(about['sha256']) == ['policy.onnx']
    if change == 'changed':
        weights = exported / 'policy.onnx'
        content = bytearray(weights.read_bytes())
        content[0] ^= 1
        weights.write_bytes(content)
    elif change == 'added':
        weights.write_bytes(b'')
    else:
        about['sha256'][weights.name] = about['sha256']['policy.onnx']
        (exported / EXPORT_FILE).write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=f'{weights.name}: missing, added or changed since'):
        open_policy(exported)


def test_an_export_that_acts_differently_leaves_nothing(fake, tmp_path):
    fake.wrong = 1.0
    with pytest.raises(ExportError, match=r'onnx float32: action cosine .* 0\.995 is required'):
        export(shipped_checkpoint(), tmp_path / 'made', 'onnx', prompt_tokens=32)
    fake.wrong = np.nan
    with pytest.raises(ExportError, match='action cosine nan'):
        export(shipped_checkpoint(), tmp_path / 'made', 'onnx', prompt_tokens=32)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('changes', 'complaint'),
    (
        ({'form': 'tflite'}, "format: got 'tflite', expected one of"),
        ({'dtype': 'bfloat16'}, r"dtype: got 'bfloat16', expected for onnx one of \['float32'"),
        ({'prompt_tokens': 2}, "the prompt of 'pick' has . already"),
    ),
)
def test_what_cannot_be_exported_is_refused(tmp_path, changes, complaint):
    with pytest.raises(ExportError, match=complaint):
        export(shipped_checkpoint(), tmp_path / 'made', **{'form': 'onnx', **changes})
    assert not (tmp_path / 'made').exists()


def test_a_missing_engine_is_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(ExportError, match='pip install onnx onnxscript onnxruntime'):
        export(shipped_checkpoint(), tmp_path / 'made', 'onnx', prompt_tokens=32)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('causal', (False, True))
def test_exports_hold_no_attention_with_as_many_queries_as_heads(monkeypatch, causal):
    """Such attention OpenVINO's CPU engine computes wrongly: here a released policy's."""
    query, key, value = (torch.randn(2, 8, n, 4) for n in (8, 21, 21))
    wanted = attention(query, key, value, causal)
    seen = []
    plain = torch.nn.functional.scaled_dot_product_attention

    def watched(query, *rest, **options):
        seen.append(query.shape)
        return plain(query, *rest, **options)

    monkeypatch.setattr(torch.nn.functional, 'scaled_dot_product_attention', watched)
    monkeypatch.setattr(precision, '_exporting', lambda: True)
    torch.testing.assert_close(attention(query, key, value, causal), wanted)
    assert seen == [(2, 8, 9, 4)]
    attention(query[:, :4], key[:, :4], value[:, :4])
    assert seen[1:] == [(2, 4, 8, 4)]


KINDS = {
    'original': {'kind': 'original'},
    'oft': {'kind': 'oft', 'heads': 8},
    'dit': {'kind': 'dit'},
    'released tables': {'rope_precision': 'bfloat16'},
}


def exportable(policy):
    """The network that is exported, inputs of it, and what the plain network gives for them."""
    texts = enumerate(fitting(policy, 48))
    seen = [policy.example_observation(text, seed) for seed, text in texts]
    expected = [reference_actions(policy, o, seed) for seed, o in enumerate(seen)]
    unpack(policy.engine.model)
    inputs = [
        engine_inputs(policy.pipeline, o, 48) | drawn_noise(policy, seed)
        for seed, o in enumerate(seen)
    ]
    module = ExportablePolicy(policy.engine.model, policy.pipeline, actions_of(policy)).eval()
    return module, inputs, expected


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('traced', [
    False, pytest.param(True, marks=pytest.mark.slow(reason="loads torch's tracer: 4 s each")),
])  # fmt: skip
@torch.no_grad()
def test_every_kind_of_policy_acts_as_the_network(policy, kind, traced):
    network = policy.engine.model.config
    network = network.replace(policy=replace(network.policy, **KINDS[kind]))
    other = Policy.random(alicia(), config=network, settings=ONE_THREAD)
    run, inputs, expected = exportable(other)
    assert ('noise' in inputs[0]) == (kind == 'dit')
    if traced:
        run = torch.export.export(run, (), kwargs=tensors(inputs[0]), strict=False).module()
    error = difference(lambda case: run(**tensors(case)).numpy(), inputs, expected,
                       actions_of(other))  # fmt: skip
    assert error.cosine > 0.99999


EXPORTED = {name: changes for name, changes in VARIANTS.items() if 'camera' not in name}
EXPORTED['as many heads as actions'] = variant_policy(heads=8)  # see `attention`


@pytest.mark.slow(reason='half a minute each; without the engines they are skipped')
@pytest.mark.parametrize('name', EXPORTED)
def test_every_variant_acts_the_same_in_other_engines(tmp_path, name):
    for package in (*ENGINES['onnx'], *ENGINES['openvino']):
        pytest.importorskip(package)
    network = small_config(**EXPORTED[name], num_images=2, action_dim=7, proprio_dim=7)
    network = network.replace(language=replace(network.language, vocab_size=512))
    made = Policy.random(alicia(), config=network, settings=ONE_THREAD)
    module, inputs, expected = exportable(made)
    for form in ('onnx', 'openvino'):
        file = tmp_path / f'policy.{EXTENSIONS[form]}'
        run = FORMATS[form](module, tensors(inputs[0]), file, 'float32')
        error = difference(run, inputs, expected, actions_of(made))
        print(f'{name}, {form}: {error}')
        assert error.cosine > 0.99999


@pytest.mark.slow(reason='compiles a network: half a minute to two minutes an engine')
@pytest.mark.parametrize(
    ('form', 'dtype'),
    [('aoti', 'float32'), *((f, d) for f in ('onnx', 'openvino') for d in ('float32', 'float16'))],
)
def test_every_engine_gives_the_networks_actions(tmp_path, form, dtype):
    for name in ENGINES[form]:
        if find_spec(name) is None:
            pytest.skip(f'{name} is not installed')
    error = export(
        shipped_checkpoint(), tmp_path / 'made', form, dtype=dtype, prompt_tokens=32
    )
    assert error.cosine > (0.999999 if dtype == 'float32' else 0.999)
    policy = open_policy(tmp_path / 'made', threads=1)
    policy.warm_up()
    checkpoint = open_policy(shipped_checkpoint(), device='cpu', dtype='float32', threads=1)
    seen = checkpoint.example_observation('push the red block left')
    tolerance = 1e-4 if dtype == 'float32' else 2e-2
    actions = policy.predict(seen).actions
    np.testing.assert_allclose(actions, checkpoint.predict(seen).actions, atol=tolerance)
    with pytest.raises(ExportError, match="device: got 'tpu'"):
        open_policy(tmp_path / 'made', device='tpu')


def test_the_command_is_beside_those_on_weights():
    done = subprocess.run(
        [sys.executable, '-m', 'vla_adapter_ros.weights.export', '--help'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith('usage: python -m vla_adapter_ros.weights.export ')
