# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The modes of running one network that the benchmark compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vla_adapter_ros.architecture.config import PolicyConfig
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.benchmark_openvino import PACKAGES, is_installed, openvino_call
from vla_adapter_ros.evaluation.measure import StageTimer, count_flops
from vla_adapter_ros.inference.engine import DTYPES, Engine, EngineSettings
from vla_adapter_ros.inference.int8 import INT8_NEEDS, int8_works, quantise
from vla_adapter_ros.inference.packed_linear import unpack
from vla_adapter_ros.inference.reference import ReferenceForward
from vla_adapter_ros.inference.session import InferenceSession
from vla_adapter_ros.model import VLAAdapter, VLAAdapterConfig
from vla_adapter_ros.processing.pipeline import ModelInputs

# LIBERO prompts have 41 to 56 tokens; a plain instruction of our own about ten.
PROMPT_LENGTHS = {'full': 48, 'tiny': 10}
POOL = (1 << 22) + 1  # odd, so that rows of large layers differ


class BenchmarkError(VLAAdapterError):
    """A mode that this device does not have, or an unknown one."""


@dataclass(frozen=True)
class Mode:
    """One mode of running the network.

    Attributes:
        dtype: precision.
        upstream: as the released code runs it, dead computation included.
        graph: as a CUDA graph.
        compile: with compiled blocks.
        openvino: in OpenVINO, an optional package.
        about: short description.
    """

    dtype: str
    upstream: bool = False
    graph: bool = False
    compile: bool = False
    openvino: bool = False
    about: str = ''


# In the order they run: the network is converted in place, from wide to narrow.
CPU_MODES = {
    'upstream': Mode('float32', upstream=True, about='as the released code computes'),
    'exact': Mode('float32', about='the same numbers without dead computation'),
    'openvino': Mode('float32', openvino=True, about='the same network in OpenVINO'),
    'openvino-bf16': Mode('bfloat16', openvino=True, about='OpenVINO in bfloat16'),
    'bf16': Mode('bfloat16', about='exact path in bfloat16'),
    'int8': Mode('int8', about='exact path, 8-bit linear layers in the backbone'),
}
CUDA_MODES = {
    'upstream': Mode('bfloat16', upstream=True, about='as the released code computes'),
    'exact': Mode('bfloat16', about='without dead computation, eager'),
    'graph': Mode('bfloat16', graph=True, about='as one CUDA graph'),
    'compiled': Mode('bfloat16', graph=True, compile=True, about='compiled blocks, CUDA graph'),
}


def modes_for(
    device: torch.device, names: list[str] | None, openvino: bool = False
) -> dict[str, Mode]:
    """Return the modes to run: those named, or all of ours that run here and with `openvino` its.

    Raises:
        BenchmarkError: this device does not have one of the names, or OpenVINO is not installed.
    """
    known = CUDA_MODES if device.type == 'cuda' else CPU_MODES
    if unknown := sorted(set(names or []) - set(known)):
        raise BenchmarkError(f'modes: got {unknown}, {device.type} has {list(known)}')
    chosen = {
        name: mode
        for name, mode in known.items()
        if name in (names or []) or (mode.openvino and openvino) or not (names or mode.openvino)
    }
    if 'int8' in chosen and not int8_works():
        if names:
            raise BenchmarkError(f'modes: int8 needs {INT8_NEEDS}')
        del chosen['int8']
    if any(mode.openvino for mode in chosen.values()) and not is_installed():
        raise BenchmarkError(f'OpenVINO: run: pip install {" ".join(PACKAGES)}')
    return chosen


def network_config(size: str, policy: str) -> VLAAdapterConfig:
    """Return the configuration of a benchmark network: `full` or `tiny`, `pro` or `original`."""
    if size == 'full':
        return VLAAdapterConfig.full(policy)
    heads = VLAAdapterConfig.tiny().policy.heads
    return VLAAdapterConfig.tiny(policy=PolicyConfig(kind=policy, heads=heads))


@torch.no_grad()
def random_network(config: VLAAdapterConfig, device: torch.device, seed: int = 0) -> VLAAdapter:
    """Return a float32 network with random weights of trained size, quickly.

    Layers keep the scale of their inputs (variance 1 / fan-in), so that precision is put to a
    fair test. Layers share values; for speed and precision that is the same.
    """
    model = VLAAdapter.from_config(config, device='meta').to_empty(device='cpu')
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randn(POOL, generator=generator)
    for index, (name, parameter) in enumerate(model.named_parameters()):
        flat = parameter.view(-1)
        for begin in range(0, len(flat), POOL):
            part = flat[begin : begin + POOL]
            start = (index * 7919) % (POOL + 1 - len(part))
            part.copy_(pool[start : start + len(part)])
        if parameter.dim() > 1 and 'embed' not in name:
            parameter.mul_(parameter[0].numel() ** -0.5)
        elif name.endswith(('norm.weight', 'norm1.weight', 'norm2.weight', 'scale_factor')):
            parameter.mul_(0.1).add_(1.0)
        else:
            parameter.mul_(0.1)
    return model.to(device).eval()


def random_inputs(config: VLAAdapterConfig, length: int, seed: int) -> ModelInputs:
    """Return made-up inputs; the prompt depends on the length alone, as one instruction does."""
    random = np.random.default_rng(seed)
    shape = (config.channels_per_image * config.num_images, config.image_size, config.image_size)
    return ModelInputs(
        random.standard_normal(shape).astype(np.float32),
        np.random.default_rng(length).integers(0, config.language.vocab_size, length),
        random.uniform(-1, 1, config.proprio_dim).astype(np.float32),
    )


@dataclass(frozen=True)
class Running:
    """A network brought into a mode.

    Attributes:
        call: from inputs to normalised actions; the measured function.
        watch: makes a timer watch the stages.
        flop: floating-point operations of a call, of its matrix products and attentions.
    """

    call: Callable[[ModelInputs], np.ndarray]
    watch: Callable[[StageTimer], None]
    flop: int


def start_mode(
    model: VLAAdapter, mode: Mode, device: torch.device, threads: int, example: ModelInputs,
    folder: Path | None = None,
) -> Running:  # fmt: skip
    """Bring the network into a mode, in place. Any mode but int8 can follow any but int8.

    OpenVINO needs a `folder` for its file, the same for all of its modes.

    Raises:
        BenchmarkError: a mode of OpenVINO without a folder.
    """
    unpack(model)
    flop = _flop(model.config, mode.upstream, example, absorb=device.type == 'cpu')
    if mode.upstream:
        form = ReferenceForward(model.to(device, DTYPES[mode.dtype]))
        return Running(
            _upstream_call(form, device), lambda timer: _watch_upstream(timer, form), flop
        )
    if mode.openvino:
        if folder is None:
            raise BenchmarkError('OpenVINO: needs a folder for its file')
        call = openvino_call(model, mode.dtype, threads, example, folder)
        return Running(call, lambda timer: None, flop)
    engine = Engine(model, EngineSettings(str(device), mode.dtype, mode.compile, threads))
    if mode.dtype == 'int8':
        # Not through the engine's gate: here the error is reported, whatever it is.
        quantise(engine.model)
    if mode.graph:
        engine.prepare([example])
    return Running(engine.run, lambda timer: _watch_session(timer, engine), flop)


@torch.inference_mode()
def _flop(
    config: VLAAdapterConfig, upstream: bool, example: ModelInputs, absorb: bool
) -> int:
    """Count on the meta device: torch's counter misses attention and packed layers on the CPU.

    Causal attention counts in full.
    """
    model = VLAAdapter.from_config(config, device='meta')
    pixels = torch.empty(1, *example.pixel_values.shape, device='meta')
    ids = torch.empty(1, len(example.input_ids), dtype=torch.long, device='meta')
    proprio = torch.empty(1, *example.proprio.shape, device='meta')
    if upstream:
        form = ReferenceForward(model)
        return count_flops(lambda: form(pixels, ids, proprio))
    session = InferenceSession(model, streams=False, absorb=absorb)
    return count_flops(lambda: session(pixels, session.prompt(ids), proprio))


def _upstream_call(
    form: ReferenceForward, device: torch.device
) -> Callable[[ModelInputs], np.ndarray]:
    def call(inputs: ModelInputs) -> np.ndarray:
        arrays = (inputs.pixel_values, np.array(inputs.input_ids), inputs.proprio)
        tensors: list[Tensor] = [torch.from_numpy(array)[None].to(device) for array in arrays]
        return form(*tensors)[0].float().cpu().numpy()

    return call


def _watch_towers(timer: StageTimer, model: VLAAdapter) -> None:
    for name, tower in zip(('vision 1', 'vision 2'), model.vision_backbone.towers):
        timer.watch(name, tower, 'forward')
    timer.watch('projector', model.projector, 'forward')


def _watch_upstream(timer: StageTimer, form: ReferenceForward) -> None:
    _watch_towers(timer, form.model)
    timer.watch('language', form, 'decode')
    # What `language` does beside the decoder: the head over every token, and gathering states.
    timer.watch('head, states', form, 'language')
    timer.watch('policy', form, 'policy')


def _watch_session(timer: StageTimer, engine: Engine) -> None:
    _watch_towers(timer, engine.model)
    timer.watch('language', engine.model.decoder, 'forward')
    timer.watch('policy', engine.session.policy, 'run')
