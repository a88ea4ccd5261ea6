# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The judgement of a policy for the simulated arm: level × task × words, on published seeds.

    python -m vla_adapter_ros.evaluation.protocol shipped --out judged --ros-sim-time 2

Each level and words is one run of `evaluation.simulate` with a folder of its own below OUT: a
report, and films of failures with their reasons. Run the same command again to continue after an
interruption. `table.md` has the success rates with 95 % Wilson intervals.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError, readable
from vla_adapter_ros.evaluation import simulate
from vla_adapter_ros.evaluation.episode_log import decisive
from vla_adapter_ros.evaluation.rollout import EpisodeJob, EpisodeResult
from vla_adapter_ros.evaluation.statistics import Rate, format_table
from vla_adapter_ros.simulation.levels.ranges import LEVELS
from vla_adapter_ros.simulation.tasks import EVALUATED_TASKS, INSTRUCTED_TASKS, task_title
from vla_adapter_ros.simulation.wordings import JUDGED_WORDS, WORDS
from vla_adapter_ros.weights.files import make_folder, write_json

# Drawn once, at random, on 2026-11-30, and not evaluated before the published judgement; seeds 0
# to 99 are for development.
PUBLISHED_SEED, PUBLISHED_EPISODES = 811_507, 100
REPORT = 'report.json'
# What decides a cell (`decided_by`), what it was made with, its episodes.
Cell = tuple[Any, dict[str, Any], list[EpisodeResult]]


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module; other options go to `evaluation.simulate`."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.evaluation.protocol',
        description='Judge a policy at every level and with every kind of words. Further options '
        'go to evaluation.simulate (--ros, --ros-sim-time, --workers, --films …). With '
        '--ros-sim-time the episodes run through the nodes.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('policy', help='shipped, expert or the folder of a checkpoint')
    add('--out', type=Path, required=True, help='folder of reports, films and table')
    add('--levels', nargs='+', default=list(LEVELS), choices=list(LEVELS))
    add('--words', nargs='+', default=list(WORDS), choices=JUDGED_WORDS)
    add('--tasks', nargs='+', default=list(EVALUATED_TASKS), choices=INSTRUCTED_TASKS)
    add('--seed', type=int, default=PUBLISHED_SEED,
        help='first seed; the default are the published ones: use 0 while you develop')
    add('--episodes', type=int, default=PUBLISHED_EPISODES, help='of each task in each cell')
    return parser


def cell_arguments(options: argparse.Namespace, level: str, words: str) -> list[str]:
    """Return the arguments of `evaluation.simulate` for one level and words."""
    tasks = [part for task in options.tasks for part in ('--task', task)]
    out = str(options.out / f'{level}-{words}')
    return [
        options.policy, '--level', level, '--words', words, '--seed', str(options.seed),
        '--episodes', str(options.episodes), *tasks, '--out', out,
    ]  # fmt: skip


def with_nodes(policy: str, further: Sequence[str]) -> list[str]:
    """Return the options for `evaluation.simulate` with `--ros` if one of them needs it."""
    meant = simulate.make_parser().parse_args([policy, *further])
    return [*further, '--ros'] if meant.ros_sim_time and not meant.ros else list(further)


def table(cells: dict[tuple[str, str], list[EpisodeResult]], tasks: Sequence[str]) -> str:
    """Return the table of success rates.

    Args:
        cells: level and words → episodes.
        tasks: its columns; the last column is the named object, over all of them.
    """
    rows = []
    for (level, words), results in cells.items():
        row = [level, words]
        row += [str(Rate.of(r.success for r in results if r.task == task)) for task in tasks]
        rows.append([*row, str(Rate.of(r.followed_instruction for r in results))])
    titles = map(task_title, tasks)
    return format_table(['level', 'words', *titles, 'named object acted on'], rows)


def read_cell(report: Path) -> Cell:
    """Read a cell's report.

    Raises:
        VLAAdapterError: the file is damaged, or no report on one policy.
    """
    with readable(report, VLAAdapterError, 'remove it to evaluate this cell again'):
        data = json.loads(report.read_text(encoding='utf-8'))
        ((policy, found),) = data['policies'].items()
        episodes = [EpisodeResult.from_dict(episode) for episode in found['episodes']]
        made_with = {'settings': data['settings'], **data['made_with'][policy]}
        return decided_by(data['settings'], data['made_with']), made_with, episodes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options, further = make_parser().parse_known_args(arguments)
    try:
        return judge(options, further)
    except VLAAdapterError as error:
        print(f'protocol: {error}', file=sys.stderr)
        return 1


def judge(options: argparse.Namespace, further: list[str]) -> int:
    """Evaluate every cell that has no report yet, and write the table; return the exit status."""
    further = with_nodes(options.policy, further)
    made: dict[str, Any] = {}
    cells: dict[tuple[str, str], list[EpisodeResult]] = {}
    for level in options.levels:
        for words in options.words:
            wanted = cell_arguments(options, level, words) + further
            report = options.out / f'{level}-{words}' / REPORT
            cell = finished_cell(report, wanted)
            if cell is None:
                if status := simulate.main(wanted):
                    return status
                cell = read_cell(report)
            _, made[f'{level}-{words}'], cells[level, words] = cell
            make_folder(options.out)
            text = table(cells, options.tasks)
            (options.out / 'table.md').write_text(text + '\n', encoding='utf-8')
            write_json(options.out / 'made_with.json', made)
    print(text)
    return 0


def decided_by(settings: dict[str, Any], made_with: dict[str, Any]) -> Any:
    """Return what `simulate.origin_of` says, less what may differ between runs, as JSON has it."""
    decided = [settings, {policy: decisive(made) for policy, made in made_with.items()}]
    return json.loads(json.dumps(decided))  # lists for tuples


def finished_cell(report: Path, wanted: Sequence[str]) -> Cell | None:
    """Return a cell's report if it is of the same settings, checkpoint, contract, code, versions.

    Of another revision it may be, if what decides an episode is the same there. A report that
    differs in nothing but the number of episodes is no answer, but `simulate` goes on from these.
    """
    if not report.is_file():
        return None
    cell = read_cell(report)
    (settings, made), _, episodes = cell
    options = simulate.make_parser().parse_args(wanted)
    now = decided_by(*simulate.origin_of(options))
    if [settings, made] == now:
        return cell
    if [{**settings, 'episodes': options.episodes}, made] == now:
        _keep_episodes(report.parent, options, episodes)
    return None


def _keep_episodes(
    folder: Path, options: argparse.Namespace, episodes: Sequence[EpisodeResult]
) -> None:
    """Put episodes where `simulate` with these options goes on from."""
    settings = simulate.settings_from(options, options.policies[0])
    log = simulate.open_log(folder, settings, options.ros)
    for episode in episodes:
        job = EpisodeJob(episode.task, episode.seed)
        if log.find(job) is None:
            log.add(job, episode)


if __name__ == '__main__':
    sys.exit(main())
