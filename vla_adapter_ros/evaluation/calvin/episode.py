# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One chain of five CALVIN tasks by the protocol of the official evaluation, event for event.

As in `libero/episode.py` the loop knows neither CALVIN nor a policy; `trace.py` repeats recorded
runs of the official one. Needs only NumPy: it also runs in CALVIN's own interpreter.

The official evaluation is called with a limit of 360 steps and ignores it: a task may take 80
cycles of 10 steps. In each cycle the policy is asked before the first three steps, and the three
chunks are averaged.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vla_adapter_ros.processing.grippers import calvin_commands

TASK_STEPS = 800  # official limit of one task
OPEN_LOOP = 8  # actions of a chunk that are executed without averaging
# Of each step in a cycle: which action of which chunk is averaged, (chunk, action).
# The triple (2, 1, 0) is executed twice, and action 7 of the first chunk never, as officially.
AVERAGED = (
    ((0, 0),),
    ((0, 1), (1, 0)),
    ((0, 2), (1, 1), (2, 0)),
    *(((0, t), (1, t - 1), (2, t - 2)) for t in range(2, 7)),
    ((1, 7), (2, 6)),
    ((2, 7),),
)
SINGLE = tuple(((0, t),) for t in range(OPEN_LOOP))
ENSEMBLES = {'official': AVERAGED, 'none': SINGLE}

RawObservation = Mapping[str, Any]


class Environment(Protocol):
    """CALVIN's table with its oracle."""

    def reset(self, robot_obs: Any, scene_obs: Any) -> None:
        """Put robot and scene where a start state says."""
        ...

    def get_obs(self) -> RawObservation:
        """Return the observation of now, with images."""
        ...

    def get_info(self) -> Any:
        """Return the state of the scene that the oracle compares with."""
        ...

    def step(self, command: Sequence[float], images: bool) -> RawObservation:
        """Execute one command (7,); `images`: whether those of the observation are needed."""
        ...

    def solved(self, start: Any, task: str) -> bool:
        """Return whether a task is done, compared with the scene at its start."""
        ...


@dataclass(frozen=True)
class Query:
    """What the policy is asked.

    Attributes:
        observation: of the environment.
        task: name of the task.
    """

    observation: RawObservation
    task: str


@dataclass(frozen=True)
class Outcome:
    """How a chain ended.

    Attributes:
        solved: tasks done before the first failure.
        steps: of the environment.
        queries: of the policy.
    """

    solved: int
    steps: int
    queries: int


def chain(
    environment: Environment,
    start: tuple[Any, Any],
    tasks: Sequence[str],
    task_steps: int = TASK_STEPS,
    ensemble: str = 'official',
) -> Generator[Query, np.ndarray, Outcome]:
    """Run tasks one after the other until one fails: yield queries, be sent chunks.

    Args:
        environment: the table.
        start: state of robot and scene.
        tasks: names.
        task_steps: limit of one task.
        ensemble: a key of `ENSEMBLES`.

    Returns:
        The outcome. Each chunk sent is (8, 7) as the policy gives it: gripper 1 = open.
    """
    environment.reset(*start)
    steps = queries = 0
    for solved, task in enumerate(tasks):
        done, used, asked = yield from _task(environment, task, task_steps, ENSEMBLES[ensemble])
        steps, queries = steps + used, queries + asked
        if not done:
            return Outcome(solved, steps, queries)
    return Outcome(len(tasks), steps, queries)


def _task(
    environment: Environment, task: str, limit: int, cycle: Sequence[Sequence[tuple[int, int]]]
) -> Generator[Query, np.ndarray, tuple[bool, int, int]]:
    """Run one task; return whether it was solved, its steps and its queries."""
    observation = environment.get_obs()
    start = environment.get_info()
    asked = 1 + max(chunk for parts in cycle for chunk, _ in parts)
    chunks: list[np.ndarray] = []
    queries = 0
    for step in range(limit):
        phase = step % len(cycle)
        if phase == 0:
            chunks = []
        if phase < asked:
            chunks.append((yield Query(observation, task)))
            queries += 1
        following = (phase + 1) % len(cycle)
        command = calvin_commands(_mean([chunks[i][t] for i, t in cycle[phase]]))
        observation = environment.step(command.tolist(), images=following < asked)
        if environment.solved(start, task):
            return True, step + 1, queries
    return False, limit, queries


def _mean(actions: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of actions (7,), added from the first to the last."""
    total = actions[0]
    for action in actions[1:]:
        total = total + action
    return total / len(actions)
