# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Runs LIBERO episodes for an evaluation in another interpreter; started by `WorkerProcess`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.libero.episode import (
    AGENT_VIEW,
    GRIPPER,
    POSITION,
    QUATERNION,
    WRIST_VIEW,
    episode,
)
from vla_adapter_ros.evaluation.libero.simulator import LiberoTask, refuse_missing, versions
from vla_adapter_ros.evaluation.libero.suites import SUITES
from vla_adapter_ros.evaluation.suites.serving import Dialogue, serve

NEEDED = (POSITION, QUATERNION, GRIPPER, AGENT_VIEW, WRIST_VIEW)


class Worker:
    """Keeps one task built: consecutive episodes of it cost no loading."""

    def __init__(self) -> None:
        self._key: tuple[str, int] | None = None
        self._task: LiberoTask | None = None

    def hello(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return versions; fail where LIBERO or one of the `suites` asked for is missing."""
        refuse_missing(request.get('suites', ()))
        return {'versions': versions()}

    def episode(self, request: Mapping[str, Any]) -> Dialogue:
        """Run one episode as a dialogue."""
        task = self._built(request['suite'], request['task'])
        number = request['episode']
        if not 0 <= number < len(task.initial_states):
            raise ValueError(f'episode {number}: the task has 0 to {len(task.initial_states) - 1}')
        task.always_render = bool(request.get('always_render', False))
        run = episode(
            task.at(number), task.initial_states[number], request['max_steps'],
            request['open_loop'],
        )  # fmt: skip
        header = {'observe': True, 'instruction': task.instruction}
        observation = next(run)
        while True:
            seen = {name: np.asarray(observation[name]) for name in NEEDED}
            actions = yield header, seen
            try:
                observation = run.send(actions.tolist())
            except StopIteration as end:
                outcome = end.value
                break
        over = {
            'success': outcome.success, 'steps': outcome.steps, 'queries': outcome.queries,
            'instruction': task.instruction, 'fixtures': task.fixtures(), 'sha256': task.sha256,
        }  # fmt: skip
        return {'over': over}, {'positions': task.positions()}

    def _built(self, suite: str, number: int) -> LiberoTask:
        if self._task is None or self._key != (suite, number):
            if self._task is not None:
                self._task.close()
            self._key, self._task = None, None
            self._task = LiberoTask(suite, number, SUITES[suite].own_words)
            self._key = (suite, number)
        return self._task


if __name__ == '__main__':
    worker = Worker()
    serve(int(sys.argv[-1]), worker.hello, worker.episode)
