# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Success rate in simulation while training: the weights as they are, judged as a checkpoint."""

from __future__ import annotations

from pathlib import Path

from vla_adapter_ros.evaluation.policies import PolicySettings
from vla_adapter_ros.evaluation.simulate import EvaluationSettings, run_jobs, success_jobs
from vla_adapter_ros.evaluation.virtual_node import ControlSettings
from vla_adapter_ros.simulation.tasks import EVALUATED_TASKS, TaskOptions
from vla_adapter_ros.training.config import SimulationConfig
from vla_adapter_ros.training.config_loader import ConfigError

# Not the seeds from 0 on: they are for the final judgement, and nothing is to be chosen on them.
FIRST_SEED = 500_000


def check_tasks(config: SimulationConfig) -> None:
    """Raise ConfigError for a task that does not exist, before hours of training."""
    for name in config.tasks:
        if name not in EVALUATED_TASKS:
            raise ConfigError(
                f'simulation.tasks: got {name!r}, expected some of {list(EVALUATED_TASKS)}'
            )


def success_rates(checkpoint: Path, config: SimulationConfig, device: str) -> dict[str, float]:
    """Return task → success rate of a checkpoint, and `mean` over the tasks."""
    settings = EvaluationSettings(
        policy=str(checkpoint),
        robot='alicia_d_sim',  # of baselines only; a checkpoint has its own
        control=ControlSettings(execute_steps=config.execute_steps),
        options=TaskOptions(),
        model=PolicySettings(device=device),
    )
    seeds = range(FIRST_SEED, FIRST_SEED + config.episodes)
    jobs = success_jobs(config.tasks, dict.fromkeys(config.tasks, seeds), films=False)
    results = [result for _, result, _ in run_jobs(settings, jobs, workers=1)]
    rates = {
        task: sum(r.success for r in results if r.task == task) / config.episodes
        for task in config.tasks
    }
    return {**rates, 'mean': sum(rates.values()) / len(rates)}
