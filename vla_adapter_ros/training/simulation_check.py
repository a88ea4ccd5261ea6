# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Success rate in simulation while training, of the current weights as a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.evaluation.policies import PolicySettings
from vla_adapter_ros.evaluation.rollout import EpisodeJob
from vla_adapter_ros.evaluation.simulate import EvaluationSettings, run_jobs, success_jobs
from vla_adapter_ros.evaluation.simulated_node import ControlSettings
from vla_adapter_ros.simulation.levels.ranges import LEVELS
from vla_adapter_ros.simulation.tasks import INSTRUCTED_TASKS, TaskOptions
from vla_adapter_ros.training.config import SimulationConfig

# Apart from the seeds of the final evaluation (from 0), on which nothing may be selected.
FIRST_SEED = 500_000


def check_tasks(config: SimulationConfig) -> None:
    """Raise ConfigError for a task or level that does not exist, before hours of training."""
    if config.level not in LEVELS:
        raise ConfigError(
            f'simulation.level: got {config.level!r}, expected one of {list(LEVELS)}'
        )
    for name in config.tasks:
        if name not in INSTRUCTED_TASKS:
            raise ConfigError(
                f'simulation.tasks: got {name!r}, expected some of {list(INSTRUCTED_TASKS)}'
            )


def evaluation_jobs(
    checkpoint: Path, tasks: Sequence[str], episodes: int, execute_steps: int, device: str,
    options: TaskOptions,
) -> tuple[EvaluationSettings, list[EpisodeJob]]:
    """Return settings and episodes of evaluations whose results may select a checkpoint."""
    settings = EvaluationSettings(
        policy=str(checkpoint),
        robot='alicia_d_sim',  # of baselines only; a checkpoint has its own
        control=ControlSettings(execute_steps=execute_steps),
        options=options,
        model=PolicySettings(device=device),
    )
    seeds = range(FIRST_SEED, FIRST_SEED + episodes)
    return settings, success_jobs(tasks, dict.fromkeys(tasks, seeds), films=False)


def success_rates(checkpoint: Path, config: SimulationConfig, device: str) -> dict[str, float]:
    """Return task → success rate of a checkpoint, and `mean` over the tasks."""
    settings, jobs = evaluation_jobs(
        checkpoint, config.tasks, config.episodes, config.execute_steps, device,
        TaskOptions(level=config.level),
    )  # fmt: skip
    results = [result for _, result, _ in run_jobs(settings, jobs, workers=1)]
    rates = {
        task: sum(r.success for r in results if r.task == task) / config.episodes
        for task in config.tasks
    }
    return {**rates, 'mean': sum(rates.values()) / len(rates)}
