# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies that `inference.export` wrote, run by their engine: onnxruntime, OpenVINO or torch."""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.errors import CheckpointError, VLAAdapterError
from vla_adapter_ros.inference.chunk import PipelinePolicy
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.processing.pipeline import InputPipeline, ProcessingConfig
from vla_adapter_ros.processing.statistics import Statistics
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.weights.files import read_json_object

EXPORT_FILE = 'policy.json'
OUTPUT = 'actions'
NOISE = 'noise'  # input of diffusion policies
HASHED_BYTES = 1 << 20  # read at a time
Arrays = dict[str, np.ndarray]
Run = Callable[[Arrays], np.ndarray]
_log = logging.getLogger(__name__)


class ExportError(VLAAdapterError):
    """A policy cannot be exported or run, or what came out is not the policy."""


def is_exported(directory: str | Path) -> bool:
    """Return whether a folder holds an exported policy."""
    return (Path(directory).expanduser() / EXPORT_FILE).is_file()


class ExportedPolicy(PipelinePolicy):
    """An exported policy. One thread at a time may predict.

    Args:
        folder: that `inference.export` made.
        device: `auto` or `cpu`; also `cuda` (onnx), `gpu` and `npu` (openvino).
        threads: CPU threads; 0: the engine decides.

    Raises:
        CheckpointError: files are missing or damaged.
        ExportError: the engine is not installed, or has no such device.
    """

    def __init__(self, folder: str | Path, device: str = 'auto', threads: int = 0) -> None:
        folder = Path(folder).expanduser()
        about = read_json_object(folder / EXPORT_FILE)
        try:
            open_file = OPENERS[about['format']]
            file, sums = folder / about['file'], dict(about['sha256'])
            processing = ProcessingConfig.from_dict(about['preprocessing'])
            statistics = Statistics.from_dict(about['statistics'])
            contract = RobotContract.from_dict(about['robot']) if about['robot'] else None
            self.step_period = float(about['step_period'])
            self.prompt_tokens = int(about['inputs']['input_ids']['shape'][1])
            self.recipe = dict(about.get('recipe') or {})
            chunk = tuple(map(int, about['output'][OUTPUT]['shape']))
            self.chunk_size = chunk[1]
            self._noise_shape = chunk if NOISE in about['inputs'] else None
            origin = {key: str(about[key]) for key in ('checkpoint', 'fingerprint', 'dtype')}
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise CheckpointError(
                f'{folder / EXPORT_FILE}: not written by this release, {error!r}; export it again'
            ) from error
        self.contract, self.statistics = contract, statistics
        self.pipeline = InputPipeline(processing, Tokenizer.from_directory(folder), statistics)
        if not file.is_file():
            raise CheckpointError(f'{file}: no such file')
        _check_unchanged(file, sums)
        self._run = open_file(file, device, threads)
        self._told = False
        self._random = np.random.default_rng()
        self.provenance = {
            **origin,
            'exported': str(folder.resolve()),
            'engine': about['format'],
            'statistics': statistics.key,
            'device': device,
        }

    def _prepare(self, observation: Observation) -> Arrays:
        inputs = engine_inputs(self.pipeline, observation, self.prompt_tokens)
        if self._noise_shape is not None:
            inputs[NOISE] = self._random.standard_normal(self._noise_shape, np.float32)
        return inputs

    def _infer(self, inputs: Sequence[Arrays]) -> np.ndarray:
        if len(inputs) > 1 and not self._told:
            self._told = True
            _log.warning('exported policies take one observation at a time: no batches')
        return np.concatenate([self._run(row).astype(np.float64) for row in inputs])

    def warm_up(self, *, batch: int = 1) -> None:
        """Run one synthetic observation, since the first call of an engine is slower.

        Args:
            batch: has no effect.

        Raises:
            ExportError: the actions are not finite.
        """
        if not np.isfinite(self.predict(self.example_observation('pick')).actions).all():
            file = self.provenance['exported']
            raise ExportError(f'{file}: {self.provenance["engine"]} gives actions not finite')


def sha256_of(file: Path) -> dict[str, str]:
    """Return the SHA-256 of an exported file and of those with its weights, by name."""
    sums = {}
    for path in sorted(file.parent.glob(f'{file.stem}.*')):
        if path.name != EXPORT_FILE:
            digest = hashlib.sha256()
            with path.open('rb') as opened:
                while block := opened.read(HASHED_BYTES):
                    digest.update(block)
            sums[path.name] = digest.hexdigest()
    return sums


def _check_unchanged(file: Path, expected: Mapping[str, str]) -> None:
    """Refuse weights that are not those whose range and actions the export checked.

    Reading the values themselves would need each engine's own format.
    """
    found = sha256_of(file)
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            raise CheckpointError(
                f'{file.with_name(name)}: missing, added or changed since the export (SHA-256 in '
                f'{EXPORT_FILE}); export it again'
            )


def engine_inputs(
    pipeline: InputPipeline, observation: Observation, prompt_tokens: int
) -> Arrays:
    """Return the inputs of an exported file for an observation, by their names.

    Raises:
        ObservationError: the observation does not fit.
        ExportError: the prompt is longer than `prompt_tokens`.
    """
    ids = pipeline.prompt_ids(observation.instruction)
    if len(ids) > prompt_tokens:
        raise ExportError(
            f'instruction: its prompt has {len(ids)} tokens, the exported file takes '
            f'{prompt_tokens}; export with --prompt-tokens {len(ids)}'
        )
    padded = np.full((1, prompt_tokens), pipeline.tokenizer.pad_id, np.int64)
    padded[0, : len(ids)] = ids
    pipeline.normalised_proprio(observation.proprioception)  # for its checks
    return {
        'images': np.stack(pipeline.config.views(observation))[None],
        'input_ids': padded,
        'prompt_length': np.array([len(ids)], np.int64),
        'proprioception': np.asarray(observation.proprioception, np.float32)[None],
    }


def needed(names: str, *modules: str) -> list[Any]:
    """Import optional packages; ExportError with the command that installs them."""
    try:
        return [importlib.import_module(module) for module in modules]
    except ImportError as error:
        raise ExportError(f'{error}; run: pip install {names}') from error


def _chosen(engine: str, device: str, known: Mapping[str, Any]) -> Any:
    if device not in known:
        raise ExportError(f'device: got {device!r}, {engine} has {sorted(known)} here')
    return known[device]


def open_onnx(file: Path, device: str = 'auto', threads: int = 0) -> Run:
    """Return a function that runs an ONNX file."""
    (runtime,) = needed('onnxruntime', 'onnxruntime')
    cpu, cuda = ['CPUExecutionProvider'], ['CUDAExecutionProvider', 'CPUExecutionProvider']
    has_cuda = cuda[0] in runtime.get_available_providers()
    known = {'auto': cuda if has_cuda else cpu, 'cpu': cpu} | ({'cuda': cuda} if has_cuda else {})
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; float16 on a CPU warns of every node it converts
    session = runtime.InferenceSession(
        str(file), options, providers=_chosen('onnxruntime', device, known)
    )
    return lambda inputs: session.run([OUTPUT], inputs)[0]


def open_openvino(
    file: Path, device: str = 'auto', threads: int = 0, precision: str = 'f32'
) -> Run:
    """Return a function that runs OpenVINO's IR; on a CPU it computes in `precision`."""
    (openvino,) = needed('openvino', 'openvino')
    core = openvino.Core()
    known = {name.split('.')[0].lower(): name for name in core.available_devices}
    name = _chosen('openvino', device, {'auto': 'CPU'} | known)
    settings: dict[str, Any] = {}
    if name == 'CPU':
        # As compared at the export; the CPU would choose bfloat16 where it has it.
        settings['INFERENCE_PRECISION_HINT'] = precision
        if threads:
            settings['INFERENCE_NUM_THREADS'] = threads
    compiled = core.compile_model(file, name, settings)
    return lambda inputs: compiled(inputs)[OUTPUT]


def open_aoti(file: Path, device: str = 'auto', threads: int = 0) -> Run:
    """Return a function that runs a package of compiled torch code."""
    import torch

    _chosen('aoti', device, {'auto': 'cpu', 'cpu': 'cpu'})
    if threads:
        torch.set_num_threads(threads)
    package = torch._inductor.aoti_load_package(str(file))

    def run(inputs: Arrays) -> np.ndarray:
        return package(**{name: torch.from_numpy(value) for name, value in inputs.items()}).numpy()

    return run


OPENERS: dict[str, Callable[[Path, str, int], Run]] = {
    'onnx': open_onnx,
    'openvino': open_openvino,
    'aoti': open_aoti,
}


def open_policy(
    directory: str | Path,
    *,
    device: str = 'auto',
    dtype: str = 'auto',
    compile: bool = False,
    threads: int = 0,
    statistics_key: str | None = None,
) -> PipelinePolicy:
    """Return the policy of a checkpoint or of an export, whose precision is fixed.

    Raises:
        VLAAdapterError: it cannot be loaded, see `Policy.from_pretrained` and `ExportedPolicy`.
    """
    if not is_exported(directory):
        from vla_adapter_ros.inference.policy import Policy

        return Policy.from_pretrained(
            directory,
            device=device,
            dtype=dtype,
            compile=compile,
            threads=threads,
            statistics_key=statistics_key,
        )
    policy = ExportedPolicy(directory, device, threads)
    for name, got in (('dtype', dtype), ('statistics', statistics_key)):
        fixed = policy.provenance[name]
        if got not in (None, 'auto', fixed):
            raise ExportError(f'{name}: got {got!r}, {directory} was exported with {fixed!r}')
    return policy
