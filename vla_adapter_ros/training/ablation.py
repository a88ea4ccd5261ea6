# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
r"""Train the paper's variants under one budget on one dataset, and judge each in simulation.

    python -m vla_adapter_ros.training.ablation --config tiny_sim --out runs/ablation \
        --steps 2000 --task reach --episodes 100 data.datasets=[datasets/tiny_sim]

Every variant is the recipe with another `model` entry (--list shows them). Run the same command
again after an interruption: finished variants are kept, an unfinished one goes on from its last
checkpoint. report.md, report.json and report.png in the folder are renewed after each variant.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.training.ablation_report import markdown
from vla_adapter_ros.training.ablation_variants import (
    GROUPS,
    USUAL,
    Variant,
    make_variants,
    usual_run,
)
from vla_adapter_ros.training.config import TrainConfig, load_config
from vla_adapter_ros.training.config_loader import ConfigError, to_dict

RESULT = 'result.json'


@dataclass(frozen=True)
class Judging:
    """How a trained variant is judged.

    Attributes:
        tasks: names of simulated tasks.
        episodes: of each task.
        execute_steps: actions executed of each chunk.
    """

    tasks: tuple[str, ...]
    episodes: int
    execute_steps: int = 8

    @property
    def seeds(self) -> range:
        """Seeds of the episodes; those of the final judgement stay unseen."""
        from vla_adapter_ros.training.simulation_check import FIRST_SEED

        return range(FIRST_SEED, FIRST_SEED + self.episodes)


def variant_config(base: TrainConfig, variant: Variant, folder: Path) -> TrainConfig:
    """Return the run of one variant: the recipe with its network, in its own folder."""
    save = replace(
        base.save, every=min(base.save.every, base.steps), keep_last=1, plots=0, resume=True,
        validate_every=base.steps,
    )  # fmt: skip
    return replace(
        base, output_dir=str(folder / variant.run), model=variant.model, save=save,
        simulation=replace(base.simulation, every=0),
    )  # fmt: skip


def run_variant(config: TrainConfig, judging: Judging) -> dict[str, Any]:
    """Train and judge one variant; return its figures as JSON data.

    Raises:
        VLAAdapterError: it cannot be trained, e.g. it diverged.
    """
    from vla_adapter_ros.training.train import run

    checkpoint = run(config)
    episodes = judge(checkpoint, judging, config.speed.device)
    return {
        'checkpoint': checkpoint.name,
        'parameters': count_parameters(checkpoint),
        **training_figures(Path(config.output_dir)),
        'episodes': episodes,
    }


def judge(checkpoint: Path, judging: Judging, device: str) -> list[dict[str, Any]]:
    """Return the episodes of a checkpoint; the same ones for every variant."""
    from vla_adapter_ros.evaluation.policies import PolicySettings
    from vla_adapter_ros.evaluation.simulate import EvaluationSettings, evaluate, success_jobs
    from vla_adapter_ros.evaluation.virtual_node import ControlSettings
    from vla_adapter_ros.simulation.tasks import TaskOptions

    settings = EvaluationSettings(
        policy=str(checkpoint),
        robot='alicia_d_sim',  # of baselines only; a checkpoint has its own
        control=ControlSettings(execute_steps=judging.execute_steps),
        options=TaskOptions(),
        model=PolicySettings(device=device),
    )
    jobs = success_jobs(judging.tasks, dict.fromkeys(judging.tasks, judging.seeds), films=False)
    results = evaluate(settings, jobs, 1, 0, None, f'judging {checkpoint.parent.parent.name}')
    return [result.to_dict() for result in results]


def count_parameters(checkpoint: Path) -> int:
    """Return the number of parameters of a checkpoint's network."""
    from vla_adapter_ros.model import VLAAdapter
    from vla_adapter_ros.model.metadata import read_checkpoint_metadata

    network = VLAAdapter.from_config(read_checkpoint_metadata(checkpoint).config, device='meta')
    return sum(parameter.numel() for parameter in network.parameters())


def training_figures(folder: Path) -> dict[str, Any]:
    """Return seconds per step (median of the log lines), last loss and last held-out error."""
    lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    held = [line['validation/l1'] for line in lines if 'validation/l1' in line]
    return {
        'seconds_per_step': statistics.median(
            line['train/step_s'] for line in lines if 'train/step_s' in line
        ),
        'loss': [line['train/loss'] for line in lines if 'train/loss' in line][-1],
        'validation_l1': held[-1] if held else None,
    }


def fixed_settings(config: TrainConfig, judging: Judging) -> dict[str, Any]:
    """Return what a finished result must have been made with to be kept."""
    from dataclasses import asdict

    from vla_adapter_ros.training.train import fixed_part

    settings = {'training': fixed_part(to_dict(config)), 'judging': asdict(judging)}
    return json.loads(json.dumps(settings))


def read_result(path: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a finished result made with the same settings, or None.

    Raises:
        ConfigError: the folder holds a variant trained otherwise; the message names the setting.
    """
    from vla_adapter_ros.training.train import differences

    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        before, result = found['settings'], found['result']
    except (ValueError, KeyError) as error:
        raise ConfigError(f'{path}: damaged; remove it to judge this variant again') from error
    other = differences(before['training'], settings['training'])
    if other:
        raise ConfigError(f'{path.parent}: {other[0]}; use another --out')
    # Judged on other episodes: the training is kept, the judging is not.
    return result if before['judging'] == settings['judging'] else None


def run_all(
    base: TrainConfig, variants: Sequence[Variant], judging: Judging, folder: Path
) -> dict[str, dict[str, Any]]:
    """Train and judge what is not finished; return run → figures. Renews the report as it goes.

    A variant that fails is reported as failed, tried again by the next call, and does not stop
    the others.
    """
    from vla_adapter_ros.data.files import write_json

    plans = [variant_config(base, variant, folder) for variant in variants]
    settings = [fixed_settings(plan, judging) for plan in plans]
    paths = [folder / variant.run / RESULT for variant in variants]
    results: dict[str, dict[str, Any]] = {}
    for variant, path, made in zip(variants, paths, settings, strict=True):
        if (known := read_result(path, made)) is not None:
            results[variant.run] = known
    todo = [i for i, variant in enumerate(variants) if variant.run not in results]
    began = time.monotonic()
    for number, i in enumerate(todo):
        _announce(variants[i], len(results), len(variants), number, len(todo), began)
        try:
            result = run_variant(plans[i], judging)
            paths[i].parent.mkdir(parents=True, exist_ok=True)
            write_json(paths[i], {'settings': settings[i], 'result': result})
        except VLAAdapterError as error:
            print(f'{variants[i].run}: {error}', file=sys.stderr)
            result = {'error': str(error)}
        except Exception as error:  # a night of other variants shall not be lost
            traceback.print_exc()
            result = {'error': f'{type(error).__name__}: {error}'}
        results[variants[i].run] = result
        write_report(base, variants, judging, folder, results)
    write_report(base, variants, judging, folder, results)
    return results


def _announce(
    variant: Variant, known: int, total: int, number: int, left: int, began: float
) -> None:
    text = f'variant {known + 1} of {total}: {variant.run}'
    if number:
        minutes = (time.monotonic() - began) / number * (left - number) / 60
        text += f' (all done in about {minutes:.0f} min)'
    print(text, file=sys.stderr)


def write_report(
    base: TrainConfig, variants: Sequence[Variant], judging: Judging, folder: Path,
    results: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write report.md, report.json and, from two comparable variants on, report.png."""
    from vla_adapter_ros.data.files import write_json, write_text
    from vla_adapter_ros.training.ablation_plot import plot

    budget = {
        'steps': base.steps,
        'batch': base.batch_size * base.accumulate,
        'data': ', '.join(Path(path).name for path in base.data.datasets),
        'encoders': 'grounded, the same for all' if base.start.grounded else 'from nothing',
        'training seed': base.seed,
        'judged on': f'{judging.episodes} episodes of each of {", ".join(judging.tasks)}, '
                     f'seeds from {judging.seeds.start}',
    }  # fmt: skip
    reference = usual_run(variants, base.model)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / 'report.md', markdown(budget, variants, results, reference))
    plot(variants, results, reference, folder / 'report.png')
    names = {v.run: [list(place) for place in v.places] for v in variants}
    write_json(
        folder / 'report.json',
        {'budget': budget, 'reference': reference, 'names': names, 'results': results},
    )


def list_variants(base: TrainConfig, variants: Sequence[Variant]) -> str:
    """Return a line for each network: folder, parameters, names."""
    from vla_adapter_ros.model import VLAAdapter
    from vla_adapter_ros.training.model_setup import network_config

    lines = []
    for variant in variants:
        # The vocabulary and the vectors' sizes come with the data; all variants share them.
        network = VLAAdapter.from_config(network_config(variant.model), device='meta')
        count = sum(parameter.numel() for parameter in network.parameters())
        places = '; '.join(f'{group}: {name}' for group, name in variant.places)
        lines.append(f'{variant.run:<28}{count:>12,}  {places}')
    return '\n'.join(lines)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    groups = '\n'.join(f'  {name:<12}{text}' for name, (text, _) in GROUPS.items())
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.training.ablation', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=f'groups:\n{groups}',
    )  # fmt: skip
    add = parser.add_argument
    add('--config', default='tiny_sim', help='recipe all variants share (tiny_sim)')
    add('--out', type=Path, required=True, help='folder of the runs and of the report')
    add('--steps', type=int, help="steps of each variant (the recipe's)")
    add('--group', action='append', dest='groups', choices=list(GROUPS),
        help=f'group to compare; may be given several times ({", ".join(USUAL)})')  # fmt: skip
    add('--only', action='append', metavar='RUN',
        help='only this network (first column of --list); may be given several times')  # fmt: skip
    add('--task', action='append', dest='tasks', help='simulated task to judge on; may be given '
        'several times (reach)')  # fmt: skip
    add('--episodes', type=int, default=50, help='episodes of each task (50)')
    add('--execute-steps', type=int, default=8, help='actions executed of each chunk (8)')
    add('--list', action='store_true', help='print the networks and stop')
    add('overrides', nargs='*', metavar='key=value', help='settings of training, for all')
    return parser.parse_args(arguments)


def chosen(variants: Sequence[Variant], only: Sequence[str] | None) -> list[Variant]:
    """Return the variants asked for. Raises ConfigError for an unknown one."""
    runs = [variant.run for variant in variants]
    for name in only or ():
        if name not in runs:
            raise ConfigError(f'--only: got {name!r}, expected some of {runs}')
    return [variant for variant in variants if not only or variant.run in only]


def check_judging(judging: Judging) -> None:
    """Raise ConfigError for a task that does not exist, before hours of training."""
    from vla_adapter_ros.training.config import SimulationConfig
    from vla_adapter_ros.training.simulation_check import check_tasks

    check_tasks(SimulationConfig(tasks=list(judging.tasks)))
    if judging.episodes < 1 or not 1 <= judging.execute_steps <= 8:
        raise ConfigError(
            f'--episodes {judging.episodes}, --execute-steps {judging.execute_steps}: expected '
            'at least 1 episode and 1 to 8 steps'
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0 only if every variant is finished."""
    options = parse(arguments)
    more = [] if options.steps is None else [f'steps={options.steps}']
    try:
        base = load_config(options.config, [*options.overrides, *more])
        variants = chosen(make_variants(base.model, options.groups or USUAL), options.only)
        if options.list:
            print(list_variants(base, variants))
            return 0
        judging = Judging(
            tuple(options.tasks or ('reach',)), options.episodes, options.execute_steps
        )
        check_judging(judging)
        results = run_all(base, variants, judging, options.out)
    except VLAAdapterError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print((options.out / 'report.md').read_text())
    return int(any('error' in result for result in results.values()))


if __name__ == '__main__':
    raise SystemExit(main())
