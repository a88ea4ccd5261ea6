# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
r"""Train variants of a recipe under one budget, and evaluate each in simulation.

    python -m vla_adapter_ros.training.experiments.ablation --config tiny_sim --out runs/ablation \
        --steps 2000 --task reach --episodes 100 'data.datasets=[datasets/tiny_sim]'

The variants of a --group are the recipe with another `model` entry, as the paper compares them;
those of --variant change any settings, and are compared with the unchanged recipe:

    --variant 'no takeovers: data.datasets=[datasets/tiny_sim]; data.weights=[1]'

--list shows all of them. Run the same command again after an interruption: finished trainings are
kept, an unfinished one continues from its last checkpoint. --training-seeds trains each variant
several times and can extend an existing folder. report.md, report.json and report.png are
rewritten after each training.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from vla_adapter_ros.errors import ConfigError, VLAAdapterError
from vla_adapter_ros.simulation.levels.ranges import LEVELS, NOMINAL
from vla_adapter_ros.simulation.wordings import JUDGED_WORDS, TRAINED
from vla_adapter_ros.training.config import TrainConfig, load_config
from vla_adapter_ros.training.experiments.ablation_recipe import (
    FORM,
    check_sources,
    recipe_variants,
)
from vla_adapter_ros.training.experiments.ablation_report import Result, combined, markdown
from vla_adapter_ros.training.experiments.ablation_run import (
    RESULT,
    Evaluation,
    Trial,
    make_trials,
    read_result,
    result_settings,
    run_trial,
)
from vla_adapter_ros.training.experiments.ablation_variants import (
    DEFAULT_GROUPS,
    GROUPS,
    Variant,
    baseline_run,
    make_variants,
)


def run_all(
    base: TrainConfig, variants: Sequence[Variant], evaluation: Evaluation, folder: Path,
    seeds: int,
) -> dict[str, Result]:
    """Train and evaluate unfinished trials, updating the report; return run → figures.

    A failed training is reported, retried by the next call, and does not stop the others.

    Raises:
        VLAAdapterError: the folder holds trainings with other settings, or data are missing.
    """
    from vla_adapter_ros.weights.files import make_folder, write_json

    trials = make_trials(base, variants, seeds, folder)
    settings = [result_settings(trial.config, evaluation) for trial in trials]
    found: dict[str, dict[int, Result]] = {}
    todo = []
    for trial, made in zip(trials, settings, strict=True):
        if (known := read_result(trial.folder / RESULT, made)) is not None:
            found.setdefault(trial.variant.run, {})[trial.config.seed] = known
        else:
            todo.append((trial, made))
    check_sources([trial.variant for trial, _ in todo])
    began = time.monotonic()
    for number, (trial, made) in enumerate(todo):
        _announce(trial, len(trials), number, len(todo), began)
        try:
            result = run_trial(trial.config, evaluation)
            make_folder(trial.folder)
            write_json(trial.folder / RESULT, {'settings': made, 'result': result})
        except VLAAdapterError as error:
            print(f'{trial.folder.name}: {error}', file=sys.stderr)
            result = {'error': str(error)}
        except Exception as error:  # one failure must not lose the other trainings
            traceback.print_exc()
            result = {'error': f'{type(error).__name__}: {error}'}
        found.setdefault(trial.variant.run, {})[trial.config.seed] = result
        write_report(base, variants, evaluation, folder, found, seeds)
    return write_report(base, variants, evaluation, folder, found, seeds)


def _announce(trial: Trial, total: int, number: int, left: int, began: float) -> None:
    text = f'training {total - left + number + 1} of {total}: {trial.folder.name}'
    if number:
        minutes = (time.monotonic() - began) / number * (left - number) / 60
        text += f' (all done in about {minutes:.0f} min)'
    print(text, file=sys.stderr)


def write_report(
    base: TrainConfig, variants: Sequence[Variant], evaluation: Evaluation, folder: Path,
    found: Mapping[str, Mapping[int, Result]], seeds: int,
) -> dict[str, Result]:
    """Write report.md, report.json and, from two comparable variants on, report.png.

    Args:
        base: the common recipe.
        variants: what is compared.
        evaluation: how they were evaluated.
        folder: of the report.
        found: run → training seed → figures of finished and failed trainings.
        seeds: trainings of each variant.

    Returns:
        Run → figures over its training seeds.
    """
    from vla_adapter_ros.training.experiments.ablation_plot import plot
    from vla_adapter_ros.training.simulation_check import FIRST_SEED
    from vla_adapter_ros.weights.files import make_folder, write_json, write_text

    finished = sum('error' not in r for runs in found.values() for r in runs.values())
    budget = {
        'steps': base.steps,
        'batch': base.batch_size * base.accumulate,
        'data': ', '.join(Path(path).name for path in base.data.datasets),
        'start': _start(base),
        'training seeds': ', '.join(map(str, range(base.seed, base.seed + seeds))),
        'trainings finished': f'{finished} of {seeds * len(variants)}',
        'evaluated on': f'{evaluation.episodes} episodes each of {", ".join(evaluation.tasks)}, '
                        f'seeds from {FIRST_SEED}, at level {" and ".join(evaluation.levels)}, '
                        f'words {evaluation.words}',
    }  # fmt: skip
    reference = baseline_run(variants, base)
    results = {run: combined(runs) for run, runs in found.items()}
    make_folder(folder)
    text = markdown(budget, variants, results, reference, evaluation.levels)
    write_text(folder / 'report.md', text)
    plot(variants, results, reference, folder / 'report.png', evaluation.levels)
    names = {v.run: [list(place) for place in v.listed_in] for v in variants}
    write_json(
        folder / 'report.json',
        {'budget': budget, 'reference': reference, 'names': names, 'results': results},
    )
    return results


def _start(base: TrainConfig) -> str:
    if base.start.kind != 'random':
        return f'{base.start.kind} {base.start.path}'.rstrip()
    return 'grounded encoders' if base.start.grounded else 'from scratch'


def list_variants(base: TrainConfig, variants: Sequence[Variant]) -> str:
    """Return a line for each variant: folder, parameters, names."""
    from vla_adapter_ros.model import VLAAdapter
    from vla_adapter_ros.training.model_setup import network_config

    lines = []
    for variant in variants:
        # The vocabulary and the vectors' sizes come with the data; all variants share them.
        network = VLAAdapter.from_config(network_config(variant.config.model), device='meta')
        count = sum(parameter.numel() for parameter in network.parameters())
        groups = '; '.join(f'{group}: {name}' for group, name in variant.listed_in)
        lines.append(f'{variant.run:<28}{count:>12,}  {groups}')
    return '\n'.join(lines)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    groups = '\n'.join(f'  {name:<12}{text}' for name, (text, _) in GROUPS.items())
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.training.experiments.ablation', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=f'groups:\n{groups}',
    )  # fmt: skip
    add = parser.add_argument
    add('--config', default='tiny_sim', help='recipe all variants share (tiny_sim)')
    add('--out', type=Path, required=True, help='folder of the runs and of the report')
    add('--steps', type=int, help="steps of each variant (the recipe's)")
    add('--group', action='append', dest='groups', choices=list(GROUPS),
        help=f'group to compare; repeatable ({", ".join(DEFAULT_GROUPS)}; none with --variant)')
    add('--variant', action='append', dest='variants', metavar=FORM, default=[],
        help='settings of training to compare with the unchanged recipe; they replace those that '
        'all variants share; repeatable')  # fmt: skip
    add('--only', action='append', metavar='RUN',
        help='only this variant (first column of --list); repeatable')  # fmt: skip
    add('--task', action='append', dest='tasks',
        help='simulated task to evaluate on; repeatable (reach)')  # fmt: skip
    add('--level', action='append', dest='levels', choices=list(LEVELS),
        help=f'level to evaluate at; repeatable, each with all episodes ({NOMINAL})')  # fmt: skip
    add('--words', default=TRAINED, choices=JUDGED_WORDS,
        help=f'wordings of the instructions ({TRAINED})')  # fmt: skip
    add('--episodes', type=int, default=50, help='episodes of each task at each level (50)')
    add('--workers', type=int, default=1, help='processes of the evaluation (1)')
    add('--training-seeds', type=int, default=1, help='trainings of each variant, from the '
        "recipe's seed on (1)")  # fmt: skip
    add('--execute-steps', type=int, default=8, help='actions executed of each chunk (8)')
    add('--list', action='store_true', help='print the variants and stop')
    add('overrides', nargs='*', metavar='key=value', help='settings of training, for all')
    return parser.parse_args(arguments)


def chosen(variants: Sequence[Variant], only: Sequence[str] | None) -> list[Variant]:
    """Return the selected variants. Raises ConfigError for an unknown one."""
    runs = [variant.run for variant in variants]
    for name in only or ():
        if name not in runs:
            raise ConfigError(f'--only: got {name!r}, expected some of {runs}')
    return [variant for variant in variants if not only or variant.run in only]


def check_evaluation(evaluation: Evaluation) -> None:
    """Raise ConfigError for a task that does not exist, before hours of training."""
    from vla_adapter_ros.training.config import SimulationConfig
    from vla_adapter_ros.training.simulation_check import check_tasks

    check_tasks(SimulationConfig(tasks=list(evaluation.tasks)))
    counts = min(evaluation.episodes, evaluation.workers)
    if counts < 1 or not 1 <= evaluation.execute_steps <= 8:
        raise ConfigError(
            f'--episodes {evaluation.episodes}, --execute-steps {evaluation.execute_steps}, '
            f'--workers {evaluation.workers}: expected at least 1 episode, 1 to 8 steps and at '
            'least 1 worker'
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 0 only if every training is finished."""
    options = parse(arguments)
    more = [] if options.steps is None else [f'steps={options.steps}']
    try:
        shared = [*options.overrides, *more]
        base = load_config(options.config, shared)
        own = recipe_variants(options.config, shared, options.variants)
        groups = options.groups or ([] if own else DEFAULT_GROUPS)
        variants = chosen(make_variants(base, groups, own), options.only)
        if options.list:
            print(list_variants(base, variants))
            return 0
        evaluation = Evaluation(
            tuple(options.tasks or ('reach',)), options.episodes, options.execute_steps,
            tuple(dict.fromkeys(options.levels or (NOMINAL,))), options.words, options.workers,
        )  # fmt: skip
        check_evaluation(evaluation)
        if options.training_seeds < 1:
            raise ConfigError(f'--training-seeds {options.training_seeds}: expected at least 1')
        results = run_all(base, variants, evaluation, options.out, options.training_seeds)
    except VLAAdapterError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print((options.out / 'report.md').read_text())
    return int(any('error' in result for result in results.values()))


if __name__ == '__main__':
    raise SystemExit(main())
