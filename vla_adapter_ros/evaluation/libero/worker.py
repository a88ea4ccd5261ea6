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
    WAIT_COMMAND,
    WAIT_STEPS,
    WRIST_VIEW,
    RawObservation,
    episode,
)
from vla_adapter_ros.evaluation.libero.simulator import LiberoTask, refuse_missing, versions
from vla_adapter_ros.evaluation.libero.state import POINTS, SimulatorState
from vla_adapter_ros.evaluation.libero.suites import SUITES
from vla_adapter_ros.evaluation.suites.serving import Dialogue, serve

NEEDED = (POSITION, QUATERNION, GRIPPER, AGENT_VIEW, WRIST_VIEW)


class Worker:
    """Keeps one task built: consecutive episodes of it cost no loading."""

    def __init__(self) -> None:
        self._key: tuple[str, int, bool] | None = None
        self._task: LiberoTask | None = None

    def hello(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return versions; fail where LIBERO or one of the `suites` asked for is missing."""
        refuse_missing(request.get('suites', ()))
        return {'versions': versions()}

    def episode(self, request: Mapping[str, Any]) -> Dialogue:
        """Run one episode as a dialogue; with `state`, of what an expert knows, without images."""
        if request['do'] == 'demonstration':
            return self.demonstration(request)
        return self._episode(request)

    def _episode(self, request: Mapping[str, Any]) -> Dialogue:
        blind = bool(request.get('state', False))
        task = self._built(request['suite'], request['task'], not blind)
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
        state = SimulatorState(task.robosuite) if blind else None
        while True:
            seen = _seen(observation)
            actions = yield header, {**seen, **(state.arrays() if state else {})}
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

    def demonstration(self, request: Mapping[str, Any]) -> Dialogue:
        """Show a scene of its own for `steps` commands, an image at every `image_every`-th.

        Each observation has what an expert knows, and whether the goal is reached.
        """
        task = self._built(request['suite'], request['task'], True)
        task.draw(request['seed'], request['joint_noise'])
        state = SimulatorState(task.robosuite)
        points = np.zeros(0)

        def look() -> None:
            nonlocal points
            points = state.points()

        task.looking = look
        for step in range(WAIT_STEPS):
            observation, done = task.step(WAIT_COMMAND, images=step == WAIT_STEPS - 1)
        header = {'observe': True, 'instruction': task.instruction, 'names': state.names}
        for step in range(1, request['steps'] + 1):
            actions = yield (
                {**header, 'done': done},
                {**_seen(observation), **state.arrays(), POINTS: points},
            )
            if not len(actions):
                break
            images = step % request['image_every'] == 0
            observation, done = task.step(actions[0].tolist(), images)
        return {'over': {'sha256': task.sha256}}, {}

    def _built(self, suite: str, number: int, cameras: bool) -> LiberoTask:
        key = (suite, number, cameras)
        if self._task is None or self._key != key:
            if self._task is not None:
                self._task.close()
            self._key, self._task = None, None
            self._task = LiberoTask(suite, number, SUITES[suite].own_words, cameras)
            self._key = key
        return self._task


def _seen(observation: RawObservation) -> dict[str, np.ndarray]:
    return {name: np.asarray(observation[name]) for name in NEEDED if name in observation}


if __name__ == '__main__':
    worker = Worker()
    serve(int(sys.argv[-1]), worker.hello, worker.episode)
