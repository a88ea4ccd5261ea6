# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Recorded runs of the official CALVIN evaluation, repeated by ours: every event must be equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.calvin.episode import TASK_STEPS, RawObservation, chain

FIRST_COMMANDS = 30  # whose gripper is recorded
SEQUENCE_NUMBER = 7  # in the names of the recorded films
FIRST_QUERIES = 12  # whose step is recorded


@dataclass(frozen=True)
class Replay:
    """What a run did; the fields are those of the recording.

    Attributes:
        result: tasks solved in a row.
        env_steps: of the environment.
        queries: of the policy.
        trace: every event, in order.
    """

    result: int
    env_steps: int
    queries: int
    trace: list[list[Any]]

    def differences(self, case: Mapping[str, Any]) -> list[str]:
        """Return the names of the recorded fields that differ from this run."""
        commands = [event[1] for event in self.trace if event[0] == 'step']
        asked = [event[2] for event in self.trace if event[0] == 'query']
        recorded = case['trace']
        ours = {
            'result': self.result,
            'env_steps': self.env_steps,
            'queries': self.queries,
            'events': len(self.trace),
            'sha256': hashlib.sha256(json.dumps(self.trace).encode()).hexdigest(),
            'gripper_first_30': [command[-1] for command in commands[:FIRST_COMMANDS]],
            'query_at_env_step': asked[:FIRST_QUERIES],
            'trace': self.trace[: len(recorded)],
        }
        return [name for name, value in ours.items() if value != case[name]]


class RecordedEnvironment:
    """The stand-in for CALVIN.

    Args:
        solved_at: numbers of the steps after which the oracle says yes.
        events: receives every call.
    """

    def __init__(self, solved_at: Sequence[int], events: list[list[Any]]) -> None:
        self._solved_at = set(solved_at)
        self._events = events
        self._tasks = 0
        self.steps = 0

    def reset(self, robot_obs: Any, scene_obs: Any) -> None:
        """Note the start state."""
        self._events.append(['reset', robot_obs, scene_obs])

    def get_obs(self) -> RawObservation:
        """Note the call, and that the official loop then resets its model: ours keeps nothing."""
        self._events += [['get_obs'], ['model_reset']]
        return {'step': self.steps}

    def get_info(self) -> int:
        """Note the call."""
        self._events.append(['get_info'])
        return self.steps

    def step(self, command: Sequence[float], images: bool) -> RawObservation:
        """Note the command."""
        self.steps += 1
        self._events.append(['step', [float(value) for value in command]])
        return {'step': self.steps}

    def solved(self, start: int, task: str) -> bool:
        """Note the call, and after a task the two films that the official loop writes."""
        self._events.append(['check', start, self.steps, task])
        solved = self.steps in self._solved_at
        if solved:
            self._write_films(start, task, 'succ')
        elif self.steps - start == TASK_STEPS:
            self._write_films(start, task, 'fail')
        return solved

    def _write_films(self, start: int, task: str, verdict: str) -> None:
        for camera in ('static', 'gripper'):
            name = f'{SEQUENCE_NUMBER}-{self._tasks}-{task}-{camera}-{verdict}.mp4'
            self._events.append(['video', name, self.steps - start])
        self._tasks += 1


def replay_trace(case: Mapping[str, Any]) -> Replay:
    """Repeat a recorded official chain with our loop.

    Args:
        case: an entry of the recording: `sequence` and `oracle_true_at_env_step`.

    Returns:
        The run; `differences(case)` is empty if it is equal to the recording.
    """
    events: list[list[Any]] = []
    environment = RecordedEnvironment(case['oracle_true_at_env_step'], events)
    run = chain(environment, ('ROBOT', 'SCENE'), case['sequence'])
    queries, chunk = 0, None
    while True:
        try:
            query = next(run) if chunk is None else run.send(chunk)
        except StopIteration as end:
            outcome = end.value
            break
        # Instructions of the stand-in are the names of the tasks in capitals.
        events.append(['query', query.task.upper(), query.observation['step']])
        chunk = _chunk(queries)
        queries += 1
    return Replay(outcome.solved, outcome.steps, outcome.queries, events)


def _chunk(query: int) -> np.ndarray:
    """Return the stand-in policy's chunk (8, 7)."""
    random = np.random.default_rng(query)
    actions = random.uniform(-1, 1, (8, 7))
    actions[:, 6] = np.round(4 * random.uniform(0, 1, 8)) / 4
    return actions
