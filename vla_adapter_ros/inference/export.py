# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Export a checkpoint for other engines: ONNX, OpenVINO, or a compiled torch package.

    python -m vla_adapter_ros.weights.export CKPT --format onnx --output exported/reach

The result is compared with the network before its folder appears. `policy.json` in it says what
goes in and comes out; the tokenizer lies beside it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.engine import DTYPES
from vla_adapter_ros.inference.export_formats import EXTENSIONS, FORMATS
from vla_adapter_ros.inference.exportable import ExportablePolicy
from vla_adapter_ros.inference.exported import (
    EXPORT_FILE,
    NOISE,
    Arrays,
    ExportError,
    engine_inputs,
    sha256_of,
)
from vla_adapter_ros.inference.int8 import MIN_COSINE, ActionError, action_error
from vla_adapter_ros.inference.packed_linear import unpack
from vla_adapter_ros.inference.policy import WARM_UP_INSTRUCTION, Policy
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.processing.statistics import Normaliser
from vla_adapter_ros.weights.files import make_folder, write_json
from vla_adapter_ros.weights.metadata import software_versions
from vla_adapter_ros.weights.tensors import is_finite

PROMPT_TOKENS = 64
# Of different lengths: the prompt length must not be part of the file.
INSTRUCTIONS = ('pick', WARM_UP_INSTRUCTION, f'{WARM_UP_INSTRUCTION} and then open the gripper')


def export(
    checkpoint: str | Path,
    output: Path,
    form: str,
    *,
    dtype: str = 'float32',
    prompt_tokens: int = PROMPT_TOKENS,
    min_cosine: float = MIN_COSINE,
    statistics_key: str | None = None,
) -> ActionError:
    """Write a checkpoint as one file of an engine, and check it against the network in float32.

    Args:
        checkpoint: directory or address on the Hub.
        output: folder to make; must not exist.
        form: `onnx`, `openvino` or `aoti`.
        dtype: precision of the weights, `float32`, `float16` or (aoti) `bfloat16`.
        prompt_tokens: longest prompt that the file takes.
        min_cosine: least cosine between its actions and those of the network.
        statistics_key: which statistics, if the checkpoint holds several.

    Returns:
        The difference found.

    Raises:
        ExportError: the format, precision or policy cannot be exported, a package is missing,
            or the actions differ; `output` is not made.
    """
    _check(output, form, dtype)
    policy = Policy.from_pretrained(
        checkpoint, device='cpu', dtype='float32', statistics_key=statistics_key
    )
    observations = [
        policy.example_observation(text, seed)
        for seed, text in enumerate(fitting(policy, prompt_tokens))
    ]
    expected = [reference_actions(policy, o, seed) for seed, o in enumerate(observations)]
    unpack(policy.engine.model)
    actions = Normaliser(policy.statistics.action, policy.pipeline.config.normalisation)
    model = policy.engine.model.to(DTYPES[dtype])
    _check_range(model, dtype)
    module = ExportablePolicy(model, policy.pipeline, actions).eval()
    inputs = [
        engine_inputs(policy.pipeline, o, prompt_tokens) | drawn_noise(policy, seed)
        for seed, o in enumerate(observations)
    ]
    make_folder(output.parent)
    partial = output.with_name(f'.{output.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        file = partial / f'policy.{EXTENSIONS[form]}'
        run = FORMATS[form](module, tensors(inputs[0]), file, dtype)
        error = difference(run, inputs, expected, actions)
        if not error.cosine >= min_cosine:
            raise ExportError(f'{form} {dtype}: {error}; at least {min_cosine} is required')
        policy.pipeline.tokenizer.save(partial)
        about = description(policy, module, inputs[0], dtype) | {'difference': asdict(error)}
        about |= {'format': form, 'file': file.name, 'sha256': sha256_of(file)}
        write_json(partial / EXPORT_FILE, about)
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return error


def _check(output: Path, form: str, dtype: str) -> None:
    if form not in FORMATS:
        raise ExportError(f'format: got {form!r}, expected one of {sorted(FORMATS)}')
    allowed = ['float32', 'float16', *(['bfloat16'] if form == 'aoti' else [])]
    if dtype not in allowed:
        raise ExportError(f'dtype: got {dtype!r}, expected for {form} one of {allowed}')
    if output.exists():
        raise ExportError(f'{output}: exists already')


def _check_range(model: torch.nn.Module, dtype: str) -> None:
    """Refuse weights that a narrower precision made infinite; some leave the actions finite."""
    for name, value in model.state_dict().items():
        if not is_finite(value):
            raise ExportError(f'dtype: {name} has values beyond {dtype}; use a wider one')


def fitting(policy: Policy, prompt_tokens: int) -> list[str]:
    """Return the instructions to compare with whose prompts fit; ExportError if none does."""
    lengths = {text: len(policy.pipeline.prompt_ids(text)) for text in INSTRUCTIONS}
    found = [text for text, length in lengths.items() if length <= prompt_tokens]
    if not found:
        raise ExportError(
            f'prompt_tokens: got {prompt_tokens}, the prompt of {INSTRUCTIONS[0]!r} has '
            f'{lengths[INSTRUCTIONS[0]]} already'
        )
    return found


def reference_actions(policy: Policy, observation: Observation, seed: int) -> np.ndarray:
    """Return the network's normalised actions (K, A); a diffusion policy draws from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return policy.engine.run(policy.pipeline(observation))


def drawn_noise(policy: Policy, seed: int) -> Arrays:
    """Return the input that a diffusion policy has more, as `reference_actions` draws it."""
    network = policy.engine.model.config
    if network.policy.kind != 'dit':
        return {}
    shape = (1, network.chunk_size, network.action_dim)
    return {NOISE: torch.randn(shape, generator=torch.Generator().manual_seed(seed)).numpy()}


def tensors(inputs: Arrays) -> dict[str, torch.Tensor]:
    """Return the inputs as tensors of their own."""
    return {name: torch.from_numpy(values.copy()) for name, values in inputs.items()}


def difference(
    run: Callable[[Arrays], np.ndarray],
    inputs: Sequence[Arrays],
    expected: Sequence[np.ndarray],
    actions: Normaliser,
) -> ActionError:
    """Return the error of an engine's actions against normalised ones of the network."""
    factor, offset = actions.affine()
    factor = np.where(factor == 0.0, 1.0, factor)
    got = np.stack([(run(case)[0].astype(np.float64) - offset) / factor for case in inputs])
    return action_error(got, np.stack(expected))


def description(
    policy: Policy, module: ExportablePolicy, inputs: Arrays, dtype: str
) -> dict[str, Any]:
    """Return what a program must know to run the file."""
    network = module.model.config
    shapes = {
        name: {'dtype': str(values.dtype), 'shape': list(values.shape)}
        for name, values in inputs.items()
    }
    return {
        'dtype': dtype,
        'inputs': shapes,
        'output': {
            'actions': {
                'dtype': 'float32', 'shape': [1, network.chunk_size, network.action_dim],
            }
        },
        'preprocessing': policy.pipeline.config.to_dict(),
        'statistics': policy.statistics.to_dict(),
        'pad_id': policy.pipeline.tokenizer.pad_id,
        'robot': None if policy.contract is None else policy.contract.to_dict(),
        'step_period': policy.step_period,
        'recipe': dict(policy.recipe),
        'checkpoint': policy.provenance['checkpoint'],
        'fingerprint': policy.provenance['fingerprint'],
        'versions': software_versions('torch', 'onnx', 'onnxruntime', 'openvino'),
    }


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.weights.export',
        description='Export a checkpoint for other engines, checked against the network.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('checkpoint', help='directory, or org/name on the Hub')
    add('--format', required=True, choices=sorted(FORMATS), help='engine')
    add('--output', type=Path, default=Path('exported'), help='folder to make')
    add('--dtype', default='float32', choices=('float32', 'float16', 'bfloat16'),
        help='precision of the weights; bfloat16: aoti only')
    add('--prompt-tokens', type=int, default=PROMPT_TOKENS, help='longest prompt')
    add('--min-cosine', type=float, default=MIN_COSINE,
        help='refuse if the actions differ more from those of the network in float32')
    add('--statistics-key', help='which statistics, if the checkpoint holds several')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        error = export(
            options.checkpoint,
            options.output,
            options.format,
            dtype=options.dtype,
            prompt_tokens=options.prompt_tokens,
            min_cosine=options.min_cosine,
            statistics_key=options.statistics_key,
        )
    except VLAAdapterError as problem:
        print(f'error: {problem}', file=sys.stderr)
        return 1
    print(f'{options.output}: {options.format} {options.dtype}, {error}')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
