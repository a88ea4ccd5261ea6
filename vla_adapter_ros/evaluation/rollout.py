# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One judged episode in simulation, in process."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.policies import JudgedPolicy
from vla_adapter_ros.evaluation.virtual_node import ControlSettings, VirtualNode
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.goals import acted_on, manipulated, scene_state
from vla_adapter_ros.simulation.retarget import retargeted
from vla_adapter_ros.simulation.tasks import Task, TaskOptions, make_task
from vla_adapter_ros.simulation.tool_kinematics import arm_kinematics

CHECK_PERIOD = 0.1
FILM_SIZE = (240, 320)
FILM_PERIOD = 0.2


@dataclass(frozen=True)
class EpisodeJob:
    """One episode to run; plain data.

    Attributes:
        task: name of the task.
        seed: of the episode.
        target: name the instruction shall give instead of the task's own object; None: its own.
        film: whether to record a film.
    """

    task: str
    seed: int
    target: str | None = None
    film: bool = False


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode went.

    Attributes:
        task: name of the task.
        seed: of the episode.
        instruction: what the policy was told.
        named: the objects the instruction asks to act on.
        acted_on: the object that was reached or moved most, or None.
        objects: how many objects there were to choose from.
        success: whether the task was done and stayed done.
        seconds: simulated time until success or the time limit.
        chunks: chunks the policy gave.
        refused: chunks the scheduler or the safety filter refused.
        failure: why the episode ended early, '' if it did not.
        inference: mean wall time of an inference [s].
    """

    task: str
    seed: int
    instruction: str
    named: tuple[str, ...]
    acted_on: str | None
    objects: int
    success: bool
    seconds: float
    chunks: int
    refused: int
    failure: str
    inference: float

    @property
    def listened(self) -> bool:
        """Whether the object that was acted on (most) is a named one."""
        return self.acted_on in self.named

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data."""
        return {**asdict(self), 'listened': self.listened}


class _Timed:
    """A policy with the wall time of its answers."""

    def __init__(self, policy: JudgedPolicy) -> None:
        self._policy = policy
        self.seconds: list[float] = []

    def predict(self, observation: Any) -> Any:
        began = time.perf_counter()
        chunk = self._policy.predict(observation)
        self.seconds.append(time.perf_counter() - began)
        return chunk


class Judge:
    """Runs episodes of one policy.

    Args:
        policy: to be judged.
        settings: how its chunks become motion.
        options: how the tasks vary.
    """

    def __init__(
        self, policy: JudgedPolicy, settings: ControlSettings, options: TaskOptions
    ) -> None:
        self._policy = policy
        self._settings = settings
        self._options = options
        self._simulation = ArmSimulation()
        self._kinematics = arm_kinematics()
        self.film: list[np.ndarray] = []

    def close(self) -> None:
        """Free the renderer."""
        self._simulation.close()

    def scene_names(self, task: str, seed: int) -> tuple[str, ...]:
        """Return the movable objects of an episode."""
        make_task(task, self._options).reset(self._simulation, seed)
        return tuple(item.name for item in self._simulation.scene_objects())

    def run(self, job: EpisodeJob) -> EpisodeResult:
        """Run one episode; `film` then holds its pictures if the job asks for them."""
        task = make_task(job.task, self._options)
        task.reset(self._simulation, job.seed)
        if job.target is not None:
            retargeted(task, self._simulation, job.target)
        self._policy.begin(self._simulation, job.task, job.seed)
        timed = _Timed(self._policy)
        node = VirtualNode(
            self._simulation, timed, self._policy.contract, self._settings,
            self._policy.needs_images, task.instruction, self._kinematics,
        )  # fmt: skip
        success, failure = self._play(task, node, job.film)
        state = scene_state(self._simulation)
        assert task.goal is not None
        return EpisodeResult(
            task=job.task,
            seed=job.seed,
            instruction=task.instruction,
            named=manipulated(task.goal),
            acted_on=acted_on(state, task.start, task.goal),
            objects=len(self._simulation.scene_objects()),
            success=success,
            seconds=round(self._simulation.time, 3),
            chunks=node.chunks,
            refused=node.refused,
            failure=failure,
            inference=float(np.mean(timed.seconds)) if timed.seconds else 0.0,
        )

    def _play(self, task: Task, node: VirtualNode, film: bool) -> tuple[bool, str]:
        self.film = []
        next_check, next_frame = CHECK_PERIOD, 0.0
        while self._simulation.time < task.horizon * CHECK_PERIOD:
            if film and self._simulation.time >= next_frame - 1e-9:
                self.film.append(self._picture())
                next_frame += FILM_PERIOD
            try:
                node.step()
            except VLAAdapterError as error:
                return False, str(error)
            if node.safety.tripped:
                return False, f'tripped: {node.safety.trip_reason}'
            if self._simulation.time >= next_check - 1e-9:
                next_check += CHECK_PERIOD
                if task.settled(self._simulation):
                    return True, ''
        return False, ''

    def _picture(self) -> np.ndarray:
        views = [self._simulation.render(n, *FILM_SIZE) for n in self._simulation.camera_names]
        return np.concatenate(views, axis=1)
