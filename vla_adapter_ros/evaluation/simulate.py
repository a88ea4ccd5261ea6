# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Success rates in simulation, with intervals, in process or through ROS.

    python -m vla_adapter_ros.evaluation.simulate expert zero CHECKPOINT --episodes 100

Policies are compared on the same episodes: the same seed is the same table, start pose and
instruction for each. Two runs differ only by the actions of the policy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.episode_log import EPISODES, EpisodeLog, decisive, provenance
from vla_adapter_ros.evaluation.film import side_by_side, unpacked, write_gif
from vla_adapter_ros.evaluation.policies import (
    BASELINES,
    SHIPPED,
    PolicySettings,
    ReplayPolicy,
    make_policy,
)
from vla_adapter_ros.evaluation.report import instruction_check_table, report_data, success_table
from vla_adapter_ros.evaluation.rollout import EpisodeJob, EpisodeResult, EpisodeRunner
from vla_adapter_ros.evaluation.simulated_node import ControlSettings
from vla_adapter_ros.inference.chunk import PRECISIONS
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.simulation.levels.ranges import LEVELS, NOMINAL
from vla_adapter_ros.simulation.tasks import EVALUATED_TASKS, INSTRUCTED_TASKS, TaskOptions
from vla_adapter_ros.simulation.wordings import JUDGED_WORDS, TRAINED
from vla_adapter_ros.simulation.workers import run_in_workers
from vla_adapter_ros.weights.files import make_folder, write_json, write_text

FILM_RATE = 5.0  # [1/s]
ROS_MODULE = 'vla_adapter_ros.nodes.simulation.ros_evaluation'
# It stops the nodes in their order, each in up to 30 s.
ROS_STOP_TIMEOUT = 90.0  # [s]


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of all processes; plain data.

    Attributes:
        policy: name, see `policies.make_policy`.
        robot: contract of the policies that have none of their own.
        control: how chunks become motion.
        options: how the tasks vary.
        model: how a checkpoint runs.
        sim_time_rate: through ROS, maximum simulated seconds per second, on /clock; 0: real time.
    """

    policy: str
    robot: str
    control: ControlSettings
    options: TaskOptions
    model: PolicySettings
    sim_time_rate: float = 0.0

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> EvaluationSettings:
        """Return the settings of `dataclasses.asdict`. Raises TypeError for anything else."""
        parts = {'control': ControlSettings, 'options': TaskOptions, 'model': PolicySettings}
        return EvaluationSettings(
            **{key: parts[key](**value) if key in parts else value for key, value in data.items()}
        )

    def runner(self) -> EpisodeRunner:
        """Load the policy and return its episode runner."""
        policy = make_policy(self.policy, resolve_contract(self.robot), self.model)
        return EpisodeRunner(policy, self.control, self.options)


Outcome = tuple[EpisodeJob, EpisodeResult, list[Any]]
def _run(runner: EpisodeRunner, job: EpisodeJob) -> Outcome:
    result = runner.run(job)
    # Films of successes are not kept; sending them between processes is not free.
    return job, result, [] if result.success else runner.film


def run_jobs(
    settings: EvaluationSettings, jobs: Sequence[EpisodeJob], workers: int
) -> Iterator[Outcome]:
    """Run episodes, in order, in one process or several."""
    return run_in_workers(EvaluationSettings.runner, settings, _run, jobs, workers)


def success_jobs(
    tasks: Sequence[str], seeds: dict[str, Sequence[int]], films: bool
) -> list[EpisodeJob]:
    """Return the episodes of each task."""
    return [EpisodeJob(task, seed, film=films) for task in tasks for seed in seeds[task]]


def instruction_check_jobs(
    settings: EvaluationSettings, tasks: Sequence[str], seeds: Sequence[int]
) -> list[EpisodeJob]:
    """Return one episode for each object of every scene, naming that object."""
    runner = EpisodeRunner(make_policy('zero', resolve_contract(settings.robot)), settings.control,
                  settings.options)  # fmt: skip
    try:
        return [
            EpisodeJob(task, seed, target=name)
            for task in tasks
            for seed in seeds
            for name in runner.scene_names(task, seed)
        ]
    finally:
        runner.close()


def evaluate(
    settings: EvaluationSettings,
    jobs: Sequence[EpisodeJob],
    workers: int,
    films: int,
    folder: Path | None,
    label: str,
    through_ros: bool = False,
) -> list[EpisodeResult]:
    """Run episodes with a progress bar; write films of the first failures of each task.

    With a folder, episodes are written there as they end (`EpisodeLog`), and those that are there
    already are not run again.
    """
    from tqdm import tqdm

    run = partial(run_ros_jobs, settings) if through_ros else partial(run_jobs, settings)
    log = open_log(folder, settings, through_ros) if folder is not None else None
    results = {job: found for job in jobs if log and (found := log.find(job))}
    missing = [job for job in jobs if job not in results]
    written: dict[str, int] = {}
    with tqdm(total=len(jobs), initial=len(results), unit='episode', desc=label) as bar:
        for job, result, film in run(missing, workers) if missing else ():
            results[job] = result
            if log:
                log.add(job, result)
            solved = sum(r.success for r in results.values())
            bar.set_postfix_str(f'{solved}/{len(results)} solved')
            bar.update()
            if film and folder is not None and written.get(job.task, 0) < films:
                written[job.task] = written.get(job.task, 0) + 1
                _write_film(folder, label, result, film)
    return [results[job] for job in jobs]


def open_log(folder: Path, settings: EvaluationSettings, through_ros: bool) -> EpisodeLog:
    """Return the log that `evaluate` writes to a folder, and goes on from."""
    made_with = decisive(provenance(settings.policy, settings.robot, through_ros))
    return EpisodeLog(folder, {**asdict(settings), **made_with, 'ros': through_ros})


def run_ros_jobs(
    settings: EvaluationSettings, jobs: Sequence[EpisodeJob], workers: int
) -> Iterator[Outcome]:
    """Run episodes through the real nodes, in a process of its own.

    Layers import downward only, so the nodes run as a command: `ros_evaluation` reads one JSON
    line (settings and jobs) and answers with one JSON line per episode.

    Raises:
        VLAAdapterError: ROS, the policy or a node is missing, or a node was lost.
    """
    from importlib.util import find_spec

    if find_spec('rclpy') is None or find_spec(ROS_MODULE) is None:
        raise VLAAdapterError('--ros: needs a ROS 2 environment (rclpy) and the package nodes')
    request = json.dumps({'settings': asdict(settings), 'jobs': [asdict(job) for job in jobs]})
    process = subprocess.Popen(
        [sys.executable, '-m', ROS_MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        with contextlib.suppress(BrokenPipeError):
            assert process.stdin is not None
            process.stdin.write(request + '\n')
            process.stdin.close()
        for job in jobs:
            yield job, *_ros_result(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ROS_STOP_TIMEOUT)
    finally:
        # Also when the caller stops early: the nodes must end.
        process.terminate()
        try:
            process.wait(ROS_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            print(f'--ros: {ROS_MODULE} did not end and was killed', file=sys.stderr)


def _ros_result(process: subprocess.Popen[str]) -> tuple[EpisodeResult, list[Any]]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise VLAAdapterError(f'--ros: {ROS_MODULE} ended with status {process.wait()}')
    data = json.loads(line)
    if 'error' in data:
        raise VLAAdapterError(f'--ros: {data["error"]}')
    return EpisodeResult.from_dict(data['result']), unpacked(data['film'])


def _write_film(folder: Path, label: str, result: EpisodeResult, film: list[Any]) -> None:
    acted = result.acted_on or 'nothing'
    caption = f'"{result.instruction}"  {result.reason}; acted on: {acted}  {result.failure}'[:110]
    frames = [side_by_side([image], caption) for image in film]
    path = folder / 'failures' / f'{Path(label).name}-{result.task}-{result.seed}.gif'
    path.parent.mkdir(parents=True, exist_ok=True)
    write_gif(path, frames, FILM_RATE)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of this module."""
    parser = argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.evaluation.simulate',
        description='Evaluate policies on the simulated tasks: success rates with 95 % Wilson '
        'intervals, whether the named object is the one acted on, films of failures.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add('policies', nargs='+', metavar='POLICY',
        help=f'{", ".join((*BASELINES, SHIPPED))} or the folder of a checkpoint')  # fmt: skip
    add('--task', action='append', dest='tasks', choices=list(INSTRUCTED_TASKS),
        help=f'task; repeatable (default: {", ".join(EVALUATED_TASKS)})')  # fmt: skip
    add('--episodes', type=int, default=20, help='episodes of each task')
    add('--seed', type=int, default=0, help='seed of the first episode')
    add('--instruction-check', type=int, default=0, metavar='SCENES',
        help='also run this many scenes of each task once per object, naming that object')
    add('--out', type=Path,
        help='folder for report.json, report.md and films of failures; an evaluation that was '
        'interrupted goes on there')  # fmt: skip
    add('--films', type=int, default=3, help='films of failures of each task and policy')
    add('--workers', type=int, default=1, help='processes (not with --ros)')
    add('--execute-steps', type=int, default=ControlSettings.execute_steps,
        help='steps of a chunk to execute before the next takes over (1 to 8)')  # fmt: skip
    add('--blend-steps', type=int, default=0, help='steps over which two chunks are blended')
    add('--latency', type=float, default=ControlSettings.latency,
        help='simulated time from observation to chunk [s]; with --ros the real one, and with '
        '--ros-sim-time how far the simulation runs ahead of the policy')  # fmt: skip
    add('--ros', action='store_true',
        help='through the real nodes (sim_arm, policy node, DDS) instead of in process; in real '
        'time, so run nothing else; one process')  # fmt: skip
    add('--ros-sim-time', type=float, default=0.0, metavar='RATE',
        help='with --ros: use /clock, at most RATE simulated seconds per second; a busy machine '
        'or a slow model then slows the simulation (see --latency) instead of changing the '
        'result (0: real time)')  # fmt: skip
    add('--robot', default='alicia_d_sim', help='robot contract of the baselines')
    add('--device', default='auto', help='of checkpoints: auto, cpu, cuda, …')
    add('--dtype', default='auto', help=f'of checkpoints: {", ".join(PRECISIONS)}')
    add('--threads', type=int, default=1, help='CPU threads of a checkpoint in each process')
    add('--distractors', type=int, default=TaskOptions.distractors,
        help='objects on the table that the instruction does not name')  # fmt: skip
    add('--plain-wording', action='store_true', help='one wording of each instruction')
    add('--start-spread', type=float,
        help="half width [m] of the box around the ready pose in which the tool starts; None: the "
        "level's")
    add('--closed-start', type=float,
        help="fraction of the episodes that start with the gripper closed; None: the level's")
    add('--level', default=NOMINAL, choices=list(LEVELS),
        help='how much light, cameras, colours, images and servos vary')
    add('--words', default=TRAINED, choices=JUDGED_WORDS, help='wordings of the instructions')
    return parser


def settings_from(arguments: argparse.Namespace, policy: str) -> EvaluationSettings:
    """Return the settings of parsed arguments for one policy."""
    return EvaluationSettings(
        policy=policy,
        robot=arguments.robot,
        control=ControlSettings(arguments.execute_steps, arguments.blend_steps, arguments.latency),
        options=TaskOptions(
            distractors=arguments.distractors,
            random_wording=not arguments.plain_wording,
            start_spread=arguments.start_spread,
            closed_start=arguments.closed_start,
            level=arguments.level,
            words=arguments.words,
        ),
        model=PolicySettings(arguments.device, arguments.dtype, arguments.threads),
        sim_time_rate=arguments.ros_sim_time,
    )


def _seeds(policy: str, tasks: Sequence[str], arguments: Any) -> dict[str, Sequence[int]]:
    """Return task → seeds; a replay is evaluated on its recorded seeds."""
    usual = range(arguments.seed, arguments.seed + arguments.episodes)
    if not policy.startswith('replay:'):
        return dict.fromkeys(tasks, usual)
    replay = ReplayPolicy(Path(policy.removeprefix('replay:')))
    return {task: replay.seeds(task)[: arguments.episodes] for task in tasks}


def origin_of(arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what decides a report, as JSON data: the settings, and what made each policy."""
    plain = {key: str(v) if isinstance(v, Path) else v for key, v in vars(arguments).items()}
    robot, nodes = arguments.robot, arguments.ros
    return plain, {policy: provenance(policy, robot, nodes) for policy in arguments.policies}


def _evaluate_all(arguments: Any, tasks: Sequence[str]) -> dict[str, Any]:
    evaluated: dict[str, Sequence[EpisodeResult]] = {}
    checked: dict[str, Sequence[EpisodeResult]] = {}
    films = arguments.films if arguments.out else 0
    for policy in arguments.policies:
        settings = settings_from(arguments, policy)
        jobs = success_jobs(tasks, _seeds(policy, tasks, arguments), films > 0)
        evaluated[policy] = evaluate(
            settings, jobs, arguments.workers, films, arguments.out, policy, arguments.ros
        )
        if arguments.instruction_check:
            seeds = range(arguments.seed, arguments.seed + arguments.instruction_check)
            scenes = instruction_check_jobs(settings, tasks, seeds)
            checked[policy] = evaluate(
                settings, scenes, arguments.workers, 0, arguments.out,
                f'{policy} (instruction check)', arguments.ros,
            )  # fmt: skip
    text = success_table(evaluated)
    if checked:
        text += '\n\nThe same scenes, each object named in turn:\n\n'
        text += instruction_check_table(checked)
    return {'text': text, 'data': report_data(*origin_of(arguments), evaluated, checked)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.episodes < 1 or options.workers < 1:
        parser.error('--episodes and --workers must be at least 1')
    if not 1 <= options.execute_steps <= 8:
        parser.error(f'--execute-steps: got {options.execute_steps}, expected 1 to 8')
    if options.ros and options.workers > 1:
        parser.error('--workers: with --ros there is one simulated arm, expected 1')
    if options.ros_sim_time and not (options.ros and 0.01 <= options.ros_sim_time <= 100.0):
        parser.error(
            f'--ros-sim-time: got {options.ros_sim_time:g}, expected 0.01 to 100, with --ros'
        )
    try:
        report = _evaluate_all(options, options.tasks or list(EVALUATED_TASKS))
    except VLAAdapterError as error:
        print(f'simulate: {error}', file=sys.stderr)
        return 1
    print(report['text'])
    if options.out:
        make_folder(options.out)
        write_json(options.out / 'report.json', report['data'])
        write_text(options.out / 'report.md', report['text'] + '\n')
        (options.out / EPISODES).unlink(missing_ok=True)  # complete: the next run is a new one
    return 0


if __name__ == '__main__':
    sys.exit(main())
