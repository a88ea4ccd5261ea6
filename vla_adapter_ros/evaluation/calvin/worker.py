# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Runs CALVIN chains for an evaluation in another interpreter; started by `WorkerProcess`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.calvin.episode import chain
from vla_adapter_ros.evaluation.calvin.sequences import sequences, start_state
from vla_adapter_ros.evaluation.calvin.simulator import (
    GRIPPER_OPEN,
    GRIPPER_VIEW,
    STATE,
    STATIC_VIEW,
    CalvinTable,
    versions,
)
from vla_adapter_ros.evaluation.suites.serving import Dialogue, serve

NEEDED = (STATE, STATIC_VIEW, GRIPPER_VIEW)


class Worker:
    """Keeps the table: consecutive chains cost no loading."""

    def __init__(self) -> None:
        self._table: CalvinTable | None = None

    def hello(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return versions; fail where CALVIN cannot be built."""
        self._built(request)
        return {'versions': versions(Path(request['calvin']))}

    def sequence(self, request: Mapping[str, Any]) -> Dialogue:
        """Run one chain as a dialogue."""
        table = self._built(request)
        listed = sequences()[request['sequence']]
        tasks = request.get('tasks', listed.tasks)
        table.gripper = request.get('gripper', GRIPPER_OPEN)
        table.always_render = bool(request.get('always_render', False))
        start = start_state(listed.condition)
        run = chain(table, start, tasks, request['task_steps'], request['ensemble'])
        query = next(run)
        while True:
            header = {
                'observe': True,
                'task': query.task,
                'instruction': table.instructions[query.task],
            }
            chunk = yield header, {name: np.asarray(query.observation[name]) for name in NEEDED}
            try:
                query = run.send(chunk)
            except StopIteration as end:
                outcome = end.value
                break
        over = {
            'tasks': list(tasks), 'solved': outcome.solved, 'steps': outcome.steps,
            'queries': outcome.queries, 'gripper': table.gripper,
        }  # fmt: skip
        state = table.get_obs()
        return {'over': over}, {name: np.asarray(state[name]) for name in NEEDED}

    def _built(self, request: Mapping[str, Any]) -> CalvinTable:
        if self._table is None:
            self._table = CalvinTable(Path(request['calvin']))
        return self._table


if __name__ == '__main__':
    worker = Worker()
    serve(int(sys.argv[-1]), worker.hello, worker.sequence)
