# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Speed of the network on this machine: plain and fast paths side by side, in one run.

    python -m vla_adapter_ros.evaluation.benchmark --config full --threads 1 --json speed.json

Weights and inputs are random: speed does not depend on them. On the CPU, ratios are of this
process's CPU time, which neighbours on the machine change little; on a GPU of wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.errors import VLAAdapterError

if TYPE_CHECKING:  # torch loads when the benchmark starts, not for --help
    from vla_adapter_ros.evaluation.benchmark_modes import Mode, Running
    from vla_adapter_ros.evaluation.measure import Samples

BYTES_PER_GB = 1e9
INPUTS = 3
CAMERA_IMAGE = (480, 640, 3)
PREPROCESSING_REPEATS = 20
# On these depend the ratios of narrow precisions. AMX: matrix units.
CPU_FEATURES = ('amx_bf16', 'amx_int8', 'avx512_bf16', 'avx512_vnni', 'avx_vnni')


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    result = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.evaluation.benchmark',
        description='Latency per stage and in total, memory and arithmetic of the network, '
        'for each mode of running it, side by side.',
        epilog='Modes on a CPU: upstream, exact, openvino, openvino-bf16, bf16, int8. On CUDA: '
        'upstream, exact, graph, compiled. Full size needs about 8 GB of memory and, on one CPU '
        'core, a minute a repeat.',
    )
    add = result.add_argument
    add('--config', choices=('tiny', 'full'), default='tiny', help='size of the network: tiny '
        '(96 px, a few MB) or full (the released one); default: %(default)s')  # fmt: skip
    add('--policy', choices=('pro', 'original'), default='pro',
        help='action policy; default: %(default)s, as in the released checkpoints')  # fmt: skip
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1, …; default: %(default)s')
    add('--threads', type=_positive, default=1, help='CPU threads; default: %(default)s, whose '
        'CPU time neighbours disturb least')  # fmt: skip
    add('--repeats', type=_positive, default=5, help='calls per mode; default: %(default)s')
    add('--modes', nargs='+', metavar='MODE', help='only these modes; default: all of the '
        'device but those of OpenVINO')  # fmt: skip
    add('--openvino', action='store_true', help="also OpenVINO's modes (pip install '.[export]'); "
        'converting the full network takes minutes and 11 GB')  # fmt: skip
    add('--loading', action='store_true', help='also write a bfloat16 checkpoint to a temporary '
        'folder and measure loading it')  # fmt: skip
    add('--json', type=Path, metavar='FILE', help='also write the results here')
    add('--quiet', action='store_true', help='no progress bar')
    return result


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'got {text}, expected at least 1')
    return value


def run_benchmark(options: argparse.Namespace) -> dict[str, Any]:
    """Run what `options` ask for and return the results as plain data.

    Raises:
        VLAAdapterError: a device or mode does not exist.
    """
    from tqdm import tqdm

    from vla_adapter_ros.evaluation import benchmark_modes as bm
    from vla_adapter_ros.inference.engine import EngineSettings
    from vla_adapter_ros.inference.int8 import INT8_NEEDS

    settings = EngineSettings(options.device, threads=options.threads)
    device, _ = settings.resolved()
    modes = bm.modes_for(device, options.modes, options.openvino)
    settings.apply_threads()
    config = bm.network_config(options.config, options.policy)
    model = bm.random_network(config, device)
    length = bm.PROMPT_LENGTHS[options.config]
    inputs = [bm.random_inputs(config, length, seed) for seed in range(INPUTS)]
    calls = len(modes) * (options.repeats + INPUTS)
    results: dict[str, Any] = {'machine': _machine(device, options.threads)}
    results |= {'config': options.config, 'policy': options.policy, 'prompt_tokens': length}
    results['parameters'] = sum(p.numel() for p in model.parameters())
    results['preprocessing'] = _preprocessing(config.image_size)
    runs = _Runs(options.repeats, device)
    bar = tqdm(total=calls, unit='call', disable=options.quiet, file=sys.stderr)
    with bar, tempfile.TemporaryDirectory() as folder:
        for name, mode in modes.items():
            bar.set_description(name)
            running = bm.start_mode(
                model, mode, device, options.threads, inputs[0], Path(folder)
            )
            runs.measure(name, mode, running, inputs, bar.update)
            del running  # two engines of the full network need not fit beside each other
    results['modes'] = runs.finish()
    if device.type == 'cpu' and not (options.modes or 'int8' in modes):
        results['left_out'] = {'int8': f'needs {INT8_NEEDS}'}
    if options.loading:
        from vla_adapter_ros.evaluation.loading import measure_loading

        results['loading'] = measure_loading(model)
    return results


def _preprocessing(size: int) -> dict[str, dict[str, float]]:
    """Measure the preprocessing of one camera image, on the host."""
    from dataclasses import replace

    import numpy as np
    import torch

    from vla_adapter_ros.evaluation.measure import Samples, timed
    from vla_adapter_ros.processing.images import OWN_IMAGES, ImageConfig, preprocess

    image = np.random.default_rng(0).integers(0, 256, CAMERA_IMAGE, dtype=np.uint8)
    results = {}
    for name, images in (('own', OWN_IMAGES), ('official', ImageConfig())):
        images = replace(images, size=size)
        preprocess(image, images)
        samples = Samples()
        for _ in range(PREPROCESSING_REPEATS):
            timed(lambda images=images: preprocess(image, images), torch.device('cpu'), samples)
        results[name] = samples.summary()
    return results


class _Runs:
    """Measures modes one after the other and relates them to the first one."""

    def __init__(self, repeats: int, device: Any) -> None:
        self._repeats = repeats
        self._device = device
        self._clock = 'cpu' if device.type == 'cpu' else 'wall'
        self._rates: dict[str, float] = {}
        self._reference: Any = None
        self.results: dict[str, dict[str, Any]] = {}

    def measure(
        self, name: str, mode: Mode, running: Running, inputs: list, tick: Callable[[], object]
    ) -> None:
        """Measure one mode and keep its results under `name`."""
        import numpy as np

        from vla_adapter_ros.evaluation import measure as ms
        from vla_adapter_ros.inference.int8 import action_error

        memory = ms.PeakMemory(self._device)
        actions = []
        for case in inputs:  # also the warm-up
            actions.append(running.call(case))
            tick()
        actions = np.stack(actions)
        if self._reference is None:
            self._reference = actions
        timer = ms.StageTimer(self._device)
        if not mode.graph:
            running.watch(timer)
        total = ms.Samples()
        for repeat in range(self._repeats):
            case = inputs[repeat % INPUTS]
            ms.timed(lambda case=case: running.call(case), self._device, total)
            timer.finish_call()
            tick()
        timer.stop()
        error = action_error(actions, self._reference)
        self.results[name] = {
            'about': mode.about,
            'dtype': mode.dtype,
            'total': total.summary(),
            'stages': {stage: samples.summary() for stage, samples in timer.samples.items()},
            'calls_per_second': 1e3 / total.summary()['wall_p50_ms'],
            'peak_memory_gb': memory.bytes() / BYTES_PER_GB,
            'gflop': running.flop / 1e9,
            'matrix_rate_fraction': self._fraction(mode.dtype, running.flop, total),
            'action_cosine': error.cosine,
            'action_largest_error': error.largest,
        }

    def _fraction(self, dtype: str, flop: int, total: Samples) -> float:
        """Return the fraction of the device's own matrix product rate that a call reaches."""
        from vla_adapter_ros.evaluation.measure import matrix_rate

        if dtype not in self._rates:
            self._rates[dtype] = matrix_rate(self._device, dtype)
        seconds = total.summary()[f'{self._clock}_p50_ms'] / 1e3
        return flop / seconds / self._rates[dtype]

    def finish(self) -> dict[str, dict[str, Any]]:
        """Return the results, with ratios to the first mode."""
        if not self.results:
            return {}
        key = f'{self._clock}_p50_ms'
        baseline = next(iter(self.results.values()))['total'][key]
        for result in self.results.values():
            result['ratio'] = result['total'][key] / baseline
            result['ratio_of'] = key
            result['matrix_rate_gops'] = self._rates[result['dtype']] / 1e9
        return self.results


def _machine(device: Any, threads: int) -> dict[str, Any]:
    import torch

    cpu = _cpuinfo()
    name = cpu.get('model name') or platform.processor() or platform.machine()
    flags = cpu.get('flags', '').split()
    if device.type == 'cuda':
        name = torch.cuda.get_device_name(device)
    return {
        'device': str(device),
        'name': name,
        'cores': os.cpu_count(),
        'threads': threads,
        'features': [flag for flag in CPU_FEATURES if flag in flags],
        'torch': torch.__version__,
    }


def _cpuinfo() -> dict[str, str]:
    """Return what Linux says of the first core."""
    file = Path('/proc/cpuinfo')
    first = file.read_text().partition('\n\n')[0] if file.is_file() else ''
    pairs = (line.partition(':') for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def table(results: dict[str, Any]) -> str:
    """Return the results as a readable table."""
    machine = results['machine']
    clock = 'cpu' if machine['device'] == 'cpu' else 'wall'
    millions = results['parameters'] / 1e6
    lines = [
        f'{results["config"]} network, {results["policy"]} policy, {millions:.0f} M parameters, '
        f'{results["prompt_tokens"]} prompt tokens',
        f'{machine["name"]} ({machine["device"]}), {machine["threads"]} thread(s), '
        f'torch {machine["torch"]}; times in ms, of {"CPU" if clock == "cpu" else "wall clock"}',
        f'of {", ".join(CPU_FEATURES)} the CPU has: {", ".join(machine["features"]) or "none"}',
        '',
    ]
    modes = results['modes']
    stages = list(dict.fromkeys(s for mode in modes.values() for s in mode['stages']))
    head = ['mode', *stages, 'p50', 'p95', 'p99', 'ratio', 'calls/s', 'GB', 'GFLOP', 'of peak']
    rows = [[*head, 'cosine']]
    for name, mode in modes.items():
        total = [mode['total'][f'{clock}_p{p}_ms'] for p in (50, 95, 99)]
        parts = [mode['stages'].get(s, {}).get(f'{clock}_p50_ms') for s in stages]
        rows.append(
            [
                name,
                *('-' if part is None else _number(part) for part in parts),
                *(_number(value) for value in total),
                f'{mode["ratio"]:.3f}',
                f'{mode["calls_per_second"]:.2f}',
                f'{mode["peak_memory_gb"]:.2f}',
                f'{mode["gflop"]:.1f}',
                f'{100 * mode["matrix_rate_fraction"]:.0f} %',
                f'{mode["action_cosine"]:.5f}',
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines += ['  '.join(c.rjust(w) for c, w in zip(row, widths)) for row in rows]
    lines += [f'{name}: left out, {why}' for name, why in results.get('left_out', {}).items()]
    own, official = (results['preprocessing'][n]['cpu_p50_ms'] for n in ('own', 'official'))
    lines.append(
        f'preprocessing of a 640x480 image: {own:.1f} ms, with the official JPEG round trip '
        f'{official:.1f} ms'
    )
    for load in results.get('loading', []):
        lines.append(
            f'loading as {load["dtype"]}: {load["seconds"]:.1f} s, peak {load["peak_gb"]:.2f} GB '
            f'for {load["weights_gb"]:.2f} GB of weights ({load["ratio"]:.2f}); '
            f'{load["start_gb"]:.2f} GB before'
        )
    return '\n'.join(lines)


def _number(value: float) -> str:
    return f'{value:.0f}' if value >= 100 else f'{value:.2f}'


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parser().parse_args(arguments)
    try:
        results = run_benchmark(options)
    except VLAAdapterError as error:
        print(f'benchmark: {error}', file=sys.stderr)
        return 2
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
