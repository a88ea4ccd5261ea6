# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Is this machine ready to run this checkpoint on this robot? The checks that need no ROS.

    python -m vla_adapter_ros.preflight.files --robot alicia_d --checkpoint runs/pick/best

`ros2 run vla_adapter_ros preflight` runs them too and then checks the live topics. Neither moves
anything.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import numpy as np

import vla_adapter_ros
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.chunk import PRECISIONS
from vla_adapter_ros.inference.exported import EXPORT_FILE, is_exported
from vla_adapter_ros.inference.simple_policies import shipped_checkpoint
from vla_adapter_ros.preflight.checks import (
    FAIL,
    PASS,
    SKIP,
    WARN,
    Check,
    exit_code,
    run_check,
    table,
)
from vla_adapter_ros.preflight.memory import check_gpu_memory, check_memory, stored_bytes
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract
from vla_adapter_ros.weights.directory import missing_statistics, read_checkpoint_metadata
from vla_adapter_ros.weights.files import read_json_object
from vla_adapter_ros.weights.released import model_folder

# Import name of a distribution, where they differ.
_MODULES = {
    'opencv-python-headless': 'cv2',
    'pillow': 'PIL',
    'pin': 'pinocchio',
    'PyYAML': 'yaml',
}
_MIN_PYTHON = (3, 10)
_GIB = float(1 << 30)


@dataclass(frozen=True)
class PreflightSettings:
    """Settings of the checks.

    Attributes:
        robot: contract, by name or path.
        checkpoint: directory or address on the Hub; '': the one that ships.
        device: as for the policy node.
        dtype: as for the policy node.
        threads: as for the policy node.
        model_runs: timed inferences; 0: the model is not run.
    """

    robot: str = 'alicia_d'
    checkpoint: str = ''
    device: str = 'auto'
    dtype: str = 'auto'
    threads: int = 0
    model_runs: int = 10


def file_checks(settings: PreflightSettings) -> list[Check]:
    """Return the results of all checks that need no ROS."""
    checks = machine_checks(settings)
    fits = run_check('checkpoint', lambda: check_checkpoint(settings))
    checks += fits
    if fits[0].verdict == FAIL:
        rest = ('memory', 'GPU memory', 'model latency')
        return [*checks, *(Check(name, SKIP, 'no checkpoint') for name in rest)]
    # Looked up once: a branch on the Hub may move meanwhile.
    settings = replace(settings, checkpoint=str(_directory(settings)))
    checks += run_check('memory', lambda: check_main_memory(settings))
    checks += run_check('GPU memory', lambda: check_gpu_memory(*_placed(settings)))
    return checks + run_check('model latency', lambda: check_latency(settings))


def machine_checks(settings: PreflightSettings) -> list[Check]:
    """Return the results of the checks that need no checkpoint."""
    checks = run_check('interpreter', check_interpreter)
    checks += run_check('packages', check_packages)
    checks += run_check('device', lambda: check_device(settings))
    return checks + run_check('robot contract', lambda: check_contract(settings))


def check_interpreter(running: Sequence[int] = sys.version_info) -> Check:
    """Check the Python version and name the interpreter: a wrong one is the usual mistake."""
    text = f'Python {".".join(map(str, running[:3]))} on {platform.machine()}, {sys.executable}'
    if tuple(running[:2]) < _MIN_PYTHON:
        minimum = '.'.join(map(str, _MIN_PYTHON))
        return Check('interpreter', FAIL, f'{text}; at least {minimum} is required')
    return Check('interpreter', PASS, text)


def required_packages() -> dict[str, str]:
    """Return distribution → minimum version, as in requirements/core.txt."""
    package = Path(vla_adapter_ros.__file__).parent
    # Installed by colcon inside the module; in a checkout beside it; pip keeps it as metadata.
    for folder in (package, package.parent):
        file = folder / 'requirements' / 'core.txt'
        if file.is_file():
            lines: Sequence[str] = file.read_text().splitlines()
            break
    else:
        lines = [line for line in requires('vla_adapter_ros') or () if 'extra ==' not in line]
    found = (re.match(r'([\w.-]+)[^#]*?>=\s*([\d.]+)', line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def check_packages(required: Mapping[str, str] | None = None) -> list[Check]:
    """Check that the required libraries are present, new enough, and can be imported."""
    bad, seen = [], []
    for name, minimum in (required_packages() if required is None else required).items():
        module = _MODULES.get(name, name)
        try:
            importlib.import_module(module)
            found = version(name)
        except PackageNotFoundError:
            # Debian's packages have other distribution names; that it can be imported counts.
            found = str(getattr(sys.modules[module], '__version__', '?'))
        except Exception as error:
            bad.append(f'{name} cannot be imported ({str(error).splitlines()[0]})')
            continue
        if _numbers(found) < _numbers(minimum):
            bad.append(f'{name} {found} is older than {minimum}')
        seen.append(f'{name} {found}')
    if bad:
        hint = f'run `{sys.executable} -m pip install -r requirements/core.txt`'
        return [Check('packages', FAIL, f'{"; ".join(bad)}; {hint}')]
    return [Check('packages', PASS, ', '.join(seen))]


def check_device(settings: PreflightSettings) -> Check:
    """Check that the device and precision exist on this machine."""
    import torch

    from vla_adapter_ros.inference.engine import EngineSettings

    device, dtype = EngineSettings(
        settings.device, settings.dtype, threads=settings.threads
    ).resolved()
    if device.type == 'cuda':
        free, total = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_name(device)
        text = f'{name}, {dtype}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free'
        return Check('device', PASS, text)
    cores = len(os.sched_getaffinity(0))
    chosen = 'dtype chosen on loading' if settings.dtype == 'auto' else dtype
    text = f'CPU with {cores} cores, {chosen}'
    if settings.device == 'auto' and torch.version.cuda:
        return Check(
            'device', WARN, f'{text}: torch is built for CUDA but sees no GPU; check `nvidia-smi`'
        )
    return Check('device', PASS, text)


def check_contract(settings: PreflightSettings) -> Check:
    """Check that the robot contract can be read."""
    contract = resolve_contract(settings.robot)
    cameras = ', '.join(f'{n} {c.width}×{c.height}' for n, c in contract.cameras.items())
    return Check(
        'robot contract', PASS,
        f'{contract.name}: {contract.action_dim - 1} joints, {contract.action_space}, step'
        f' {contract.step_period:g} s, front end {contract.front_end.kind}, {cameras}',
    )


def check_checkpoint(settings: PreflightSettings) -> list[Check]:
    """Check that the checkpoint is complete and fits the robot contract."""
    directory = _directory(settings)
    if is_exported(directory):
        about = read_json_object(directory / EXPORT_FILE)
        robot, statistics = about.get('robot'), about.get('statistics')
        lacking = f'{EXPORT_FILE} has no dataset statistics; export the checkpoint again'
    else:
        metadata = read_checkpoint_metadata(directory)
        robot, statistics = metadata.robot, metadata.statistics
        lacking = missing_statistics(directory)
    checks = [
        Check('checkpoint', PASS, f'{directory}, {stored_bytes(directory) / _GIB:.2f} GiB')
    ]
    if not statistics:
        checks.append(Check('statistics', FAIL, lacking))
    if not robot:
        checks.append(
            Check('contract match', WARN,
                  'the checkpoint names no robot (an official one): it cannot be compared')
        )
        return checks
    contract = resolve_contract(settings.robot)
    trained_for = RobotContract.from_dict(robot, 'robot in the checkpoint')
    differences = contract.differences(trained_for)
    if differences:
        text = f'{"; ".join(differences)}; use the contract it was trained with'
        return [*checks, Check('contract match', FAIL, text)]
    return [*checks, Check('contract match', PASS, 'the checkpoint was trained for this robot')]


def check_main_memory(settings: PreflightSettings) -> Check:
    """Check free main memory; `auto` on a CPU needs that of float32, whatever it then takes."""
    directory, device, dtype = _placed(settings)
    check = check_memory(directory, device, dtype)
    if settings.dtype != 'auto' or device != 'cpu' or is_exported(directory):
        return check
    text = f'{check.detail}; dtype auto loads {dtype} first, faster ones are measured at the start'
    return replace(check, detail=text)


def check_latency(settings: PreflightSettings) -> Check:
    """Run the model on generated observations and compare with the step period."""
    if settings.model_runs <= 0:
        return Check('model latency', SKIP, 'not measured (--model-runs 0)')
    from vla_adapter_ros.inference.exported import open_policy
    from vla_adapter_ros.inference.policy import WARM_UP_INSTRUCTION

    policy = open_policy(
        _directory(settings), device=settings.device, dtype=settings.dtype,
        threads=settings.threads,
    )
    policy.warm_up()
    times = []
    for seed in range(settings.model_runs):
        observation = policy.example_observation(WARM_UP_INSTRUCTION, seed)
        start = time.perf_counter()
        policy.predict(observation)
        times.append(time.perf_counter() - start)
    check = check_inference_times(times, policy.step_period, policy.chunk_size)
    dtype = policy.provenance.get('dtype_because', policy.provenance['dtype'])
    return replace(check, detail=f'{check.detail}; dtype {dtype}')


def check_inference_times(times: Sequence[float], step_period: float, chunk_size: int) -> Check:
    """Return the verdict on inference times [s].

    A chunk's first steps have passed when it arrives. Motion is continuous as long as a chunk
    arrives before the previous one ends, and the fewer steps pass, the newer its observations.
    """
    median, p95 = np.percentile(times, [50, 95])
    lost = int(np.ceil(p95 / step_period))
    text = (
        f'median {median * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms of {len(times)} runs; step period'
        f' {step_period * 1e3:.0f} ms'
    )
    if p95 > step_period * chunk_size:
        return Check(
            'model latency', FAIL,
            f'{text}: a chunk of {chunk_size} steps ends before the next one is ready, so the arm'
            f' stops between chunks; use a GPU, int8, or a smaller backbone',
        )
    if lost > 1:
        return Check(
            'model latency', WARN,
            f'{text}: {lost} of {chunk_size} steps of each chunk have passed when it is ready',
        )
    return Check('model latency', PASS, text)


def _placed(settings: PreflightSettings) -> tuple[Path, str, str]:
    """Return directory, device and precision of the checkpoint; `auto`'s is that loaded first."""
    from vla_adapter_ros.inference.engine import EngineSettings

    device, dtype = EngineSettings(settings.device, settings.dtype).resolved()
    return _directory(settings), str(device), dtype


def _directory(settings: PreflightSettings) -> Path:
    directory = settings.checkpoint or shipped_checkpoint()
    if directory is None:
        raise VLAAdapterError('no checkpoint ships with this installation; pass --checkpoint')
    return model_folder(directory)


def _numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: 2.13.0+cpu → (2, 13, 0)."""
    numbers = []
    for part in text.split('+')[0].split('.'):
        digits = ''.join(c for c in part if c.isdigit())
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the file checks."""
    default = PreflightSettings()
    parser.add_argument(
        '--robot', default=default.robot, help='robot contract: name or YAML file (%(default)s)'
    )
    parser.add_argument(
        '--checkpoint', default='', help='checkpoint directory (the one that ships)'
    )
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, … (auto)')
    parser.add_argument(
        '--dtype', default='auto', choices=PRECISIONS,
        help='precision (%(default)s)',
    )
    parser.add_argument('--threads', type=int, default=0, help='CPU threads; 0: all cores but one')
    parser.add_argument(
        '--model-runs', type=int, default=default.model_runs,
        help='timed inferences; 0: do not run the model (%(default)s)',
    )
    parser.add_argument('--json', metavar='FILE', help='also write the results to FILE')
    parser.add_argument('--no-colour', action='store_true', help='plain text')


def settings_from(arguments: argparse.Namespace) -> PreflightSettings:
    """Return the settings of parsed arguments."""
    return PreflightSettings(
        arguments.robot, arguments.checkpoint, arguments.device, arguments.dtype,
        arguments.threads, arguments.model_runs,
    )


def report(checks: list[Check], arguments: argparse.Namespace) -> int:
    """Print the table, write the JSON file if requested, return the exit code."""
    print(table(checks, colour=sys.stdout.isatty() and not arguments.no_colour))
    if arguments.json:
        data = {'ready': not exit_code(checks), 'checks': [c.to_dict() for c in checks]}
        Path(arguments.json).write_text(json.dumps(data, indent=2, ensure_ascii=False) + '\n')
    return exit_code(checks)


def main(words: Sequence[str] | None = None) -> int:
    """Run the checks that need no ROS."""
    parser = argparse.ArgumentParser(
        prog='preflight', description='Check interpreter, packages, device, checkpoint against'
        ' contract, memory and model latency. Nothing moves. Exit code 0: ready, 1: not ready.',
    )
    add_arguments(parser)
    arguments = parser.parse_args(words)
    return report(file_checks(settings_from(arguments)), arguments)


if __name__ == '__main__':
    sys.exit(main())
