# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One evaluated episode in simulation: the referee, and its runner in process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_type_hints

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.policies import EvaluatedPolicy
from vla_adapter_ros.evaluation.simulated_node import ControlSettings, SimulatedNode
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation, arm_kinematics
from vla_adapter_ros.simulation.goals import Goal, Sequence, acted_on, manipulated, scene_state
from vla_adapter_ros.simulation.tasks import TASKS, Task, TaskOptions, make_task

CHECK_PERIOD = 0.1  # [s]
LIFTED = 0.02  # an object this much higher than at the start has been grasped [m]
FILM_SIZE = (240, 320)  # height, width [px]
FILM_PERIOD = 0.2  # [s]
# Types of fields that `isinstance` does not know, or that JSON blurs.
_CHECKED: dict[Any, Any] = {tuple[str, ...]: tuple, float: (int, float)}


@dataclass(frozen=True)
class EpisodeJob:
    """One episode to run; plain data.

    Attributes:
        task: name of the task.
        seed: of the episode.
        target: object to name in the instruction instead of the task's own; None: its own.
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
        instruction: given to the policy.
        named: the objects that the instruction names to act on.
        acted_on: the object that was reached or moved most, or None.
        objects: how many objects there were to choose from.
        success: whether the task was done and stayed done.
        seconds: simulated time until success or the time limit.
        chunks: chunks the policy gave.
        refused: chunks the scheduler or the safety filter refused.
        failure: why the episode ended early, '' if it did not.
        inference: mean wall time of an inference [s].
        in_order: whether the parts of a sequence were done in their order.
        lifted: whether a named object was lifted.
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
    in_order: bool = True
    lifted: bool = False

    @property
    def reason(self) -> str:
        """Why the episode was no success, '' if it was one."""
        if self.success:
            return ''
        if self.failure:
            return 'stopped'
        if self.acted_on is None:
            return 'nothing acted on'
        if not self.followed_instruction:
            return 'wrong object'
        if not self.in_order:
            return 'wrong order'
        if not self.lifted and self.task in TASKS and TASKS[self.task].lifts:
            return 'grasp'
        return 'time'

    @property
    def followed_instruction(self) -> bool:
        """Whether the object that was acted on (most) is a named one."""
        return self.acted_on in self.named

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data."""
        own = {'followed_instruction': self.followed_instruction, 'reason': self.reason}
        return {**asdict(self), **own}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> EpisodeResult:
        """Return what `to_dict` described.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, or of another type, or no objects.
        """
        fields = {k: v for k, v in data.items() if k not in ('followed_instruction', 'reason')}
        result = EpisodeResult(**{**fields, 'named': tuple(data['named'])})
        for name, kind in get_type_hints(EpisodeResult).items():
            if not isinstance(value := getattr(result, name), _CHECKED.get(kind, kind)):
                raise TypeError(f'{name} is {value!r:.40}')
        if result.objects < 1:
            raise ValueError(f'objects is {result.objects}, expected at least 1')
        return result


def swapped(goal: Goal, old: str, new: str) -> Goal:
    """Return the goal with the objects `old` and `new` exchanged wherever they are named."""
    if isinstance(goal, Sequence):
        return Sequence(tuple(swapped(part, old, new) for part in goal.goals))
    exchange = {old: new, new: old}
    named = {key: exchange.get(value, value) for key, value in vars(goal).items()}
    return replace(goal, **named)


def retargeted(task: Task, simulation: ArmSimulation, target: str) -> str:
    """Give the task's instruction another object to act on; return the new instruction.

    Nothing else changes: scene, start pose and wording stay.

    Raises:
        VLAAdapterError: the object is not on the table, or the task has no instruction.
    """
    names = [item.name for item in simulation.scene_objects()]
    if task.goal is None or target not in names:
        raise VLAAdapterError(f'object {target!r} cannot be named; on the table: {names}')
    old = task.goal.target
    goal = swapped(task.goal, old, target)
    words = task.worded(goal)
    parsed = task.set_instruction(simulation, words)
    if parsed != goal:
        raise VLAAdapterError(f'instruction {words!r} means {parsed}, expected {goal}')
    return words


class Referee:
    """Sets up one episode and decides when it is over, by the simulation's own clock.

    The one place where success is decided, in process and through ROS.

    Args:
        simulation: is reset to the episode.
        job: which episode.
        options: how the tasks vary.

    Raises:
        VLAAdapterError: no such task, or the target is not on the table.
    """

    def __init__(self, simulation: ArmSimulation, job: EpisodeJob, options: TaskOptions) -> None:
        self._simulation = simulation
        self._job = job
        self.task = make_task(job.task, options)
        self.task.reset(simulation, job.seed)
        if job.target is not None:
            retargeted(self.task, simulation, job.target)
        self.success = False
        self.start()

    def start(self) -> None:
        """Start the time limit now."""
        self._begin = self._simulation.time
        self._checks = 0
        self._lifted = False
        self.over = False

    @property
    def seconds(self) -> float:
        """Simulated time since the start."""
        return self._simulation.time - self._begin

    def look(self) -> bool:
        """Return whether the episode is over; call after every step, however short."""
        if self.over:
            return True
        if self.seconds >= (self._checks + 1) * CHECK_PERIOD - 1e-9:
            self._checks += 1
            self.success = self.task.settled(self._simulation)
            self._lifted = self._lifted or self._is_lifted()
            if self.success or self._checks >= self.task.horizon:
                self.end()
        return self.over

    def _is_lifted(self) -> bool:
        assert self.task.goal is not None
        return any(
            self._simulation.object_pose(name).position[2] - self.task.start.position(name)[2]
            > LIFTED
            for name in manipulated(self.task.goal)
        )

    def end(self) -> None:
        """Record the scene as it is now: later changes do not count."""
        goal = self.task.goal
        assert goal is not None
        self.over = True
        self._seconds = self.seconds
        self._acted_on = acted_on(scene_state(self._simulation), self.task.start, goal)
        self._named = manipulated(goal)
        self._objects = len(self._simulation.scene_objects())

    def result(self, chunks: int, refused: int, failure: str, inference: float) -> EpisodeResult:
        """Return how the episode went; it ends here if it was not over."""
        if not self.over:
            self.end()
        return EpisodeResult(
            task=self._job.task,
            seed=self._job.seed,
            instruction=self.task.instruction,
            named=self._named,
            acted_on=self._acted_on,
            objects=self._objects,
            success=self.success,
            seconds=round(self._seconds, 3),
            chunks=chunks,
            refused=refused,
            failure=failure,
            inference=inference,
            in_order=self.task.in_order,
            lifted=self._lifted,
        )


class _Timed:
    """A policy with the wall time of its answers."""

    def __init__(self, policy: EvaluatedPolicy) -> None:
        self._policy = policy
        self.seconds: list[float] = []

    def predict(self, observation: Any) -> Any:
        began = time.perf_counter()
        chunk = self._policy.predict(observation)
        self.seconds.append(time.perf_counter() - began)
        return chunk


class EpisodeRunner:
    """Runs episodes of one policy.

    Args:
        policy: to be evaluated.
        settings: how its chunks become motion.
        options: how the tasks vary.
    """

    def __init__(
        self, policy: EvaluatedPolicy, settings: ControlSettings, options: TaskOptions
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
        """Run one episode; `film` then holds its images if `job.film` is set."""
        referee = Referee(self._simulation, job, self._options)
        self._policy.begin(self._simulation, job.task, job.seed)
        timed = _Timed(self._policy)
        node = SimulatedNode(
            self._simulation, timed, self._policy.contract, self._settings,
            self._policy.needs_images, referee.task.instruction, self._kinematics,
        )  # fmt: skip
        failure = self._play(referee, node, job.film)
        inference = float(np.mean(timed.seconds)) if timed.seconds else 0.0
        return referee.result(node.chunks, node.refused, failure, inference)

    def _play(self, referee: Referee, node: SimulatedNode, film: bool) -> str:
        """Run until the referee ends it; returns why it ended early, or ''."""
        self.film = []
        next_frame = 0.0
        while not referee.look():
            if film and self._simulation.time >= next_frame - 1e-9:
                self.film.append(self._image())
                next_frame += FILM_PERIOD
            try:
                node.step()
            except VLAAdapterError as error:
                return str(error)
            if node.safety.tripped:
                return f'tripped: {node.safety.trip_reason}'
        return ''

    def _image(self) -> np.ndarray:
        views = [self._simulation.render(n, *FILM_SIZE) for n in self._simulation.camera_names]
        return np.concatenate(views, axis=1)
