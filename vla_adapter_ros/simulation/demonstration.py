# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One demonstration of the expert, with disturbances it recovers from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.simulation.expert.expert import ExpertPolicy
from vla_adapter_ros.simulation.goals import scene_state
from vla_adapter_ros.simulation.session import TaskSession
from vla_adapter_ros.simulation.takeover import TakeoverPolicy
from vla_adapter_ros.simulation.tasks import random_goal
from vla_adapter_ros.simulation.wordings import describe


@dataclass(frozen=True)
class Disturbance:
    """Bursts of noise on what the arm is sent; the recorded actions stay the expert's.

    Attributes:
        chance: of an episode to be disturbed.
        bursts: mean number of bursts in a disturbed episode.
        steps: shortest and longest burst, in control steps.
        size: standard deviation of the joint offsets [rad] in one step; they add up in a burst.
    """

    chance: float = 0.6
    bursts: float = 2.0
    steps: tuple[int, int] = (2, 5)
    size: float = 0.02


@dataclass
class Demonstration:
    """A recorded episode.

    Attributes:
        observations: T observations, one a control step.
        actions: (T, 7) the expert's absolute targets, in contract order.
        success: whether the task was done and stayed done.
        disturbed: number of disturbed steps.
        solved_before: whether the policy that drove first left the expert nothing to do.
    """

    observations: list[Observation] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    success: bool = False
    disturbed: int = 0
    solved_before: bool = False


class NoiseBursts:
    """Draws when and how the arm is pushed off its path in one episode."""

    def __init__(self, disturbance: Disturbance, rng: np.random.Generator, horizon: int) -> None:
        self._offsets: dict[int, np.ndarray] = {}
        if rng.random() >= disturbance.chance:
            return
        for _ in range(1 + int(rng.poisson(max(disturbance.bursts - 1.0, 0.0)))):
            # Expert episodes take about half of the time limit.
            first = int(rng.integers(1, max(2, horizon // 2)))
            length = int(rng.integers(disturbance.steps[0], disturbance.steps[1] + 1))
            offset = rng.normal(0.0, disturbance.size, 6)
            for step in range(length):
                # Swells and fades, so that no joint jumps.
                scale = np.sin(np.pi * (step + 1) / (length + 1))
                self._offsets[first + step] = scale * offset

    def apply(self, action: np.ndarray, step: int) -> np.ndarray | None:
        """Return the disturbed (7,) action of a step, or None if it is left alone."""
        offset = self._offsets.get(step)
        if offset is None:
            return None
        disturbed = action.copy()
        disturbed[:6] += offset
        return disturbed


def demonstrate(
    session: TaskSession,
    expert: ExpertPolicy,
    seed: int,
    disturbance: Disturbance | None = None,
    tail: int = 4,
    takeover: TakeoverPolicy | None = None,
) -> Demonstration:
    """Let the expert do the episode of a seed.

    Args:
        session: the task; with image sizes, the observations have images.
        expert: reads the object poses of the session's simulation.
        seed: of table, start pose, instruction and disturbances.
        disturbance: None leaves the expert alone.
        tail: further steps after success, so that a policy learns to stay then.
        takeover: drives first, for a random part of the time limit; only the rest is recorded.

    Returns:
        The episode; without success it ends at the time limit. Nothing is recorded where the
        takeover policy has done the task before its time is over.
    """
    # Another stream than the task's own: the same table with and without noise.
    rng = np.random.default_rng((seed, 1))
    expert.reset()
    observation = session.reset(seed)
    if takeover is not None:
        handed = _policy_first(session, expert, takeover, observation, rng)
        if handed is None:
            return Demonstration(solved_before=True)
        observation = handed
    return _follow(session, expert, observation, rng, disturbance, tail)


def demonstrate_in_turn(
    session: TaskSession,
    expert: ExpertPolicy,
    seed: int,
    count: int,
    disturbance: Disturbance | None = None,
    tail: int = 4,
) -> list[Demonstration]:
    """Let the expert do one thing after another on the same table, as a user may ask.

    Every further episode begins where the last one left arm and objects; the series ends with
    the first that fails.

    Args:
        session: a task without an instruction of its own (`tabletop`).
        expert: as for `demonstrate`.
        seed: of table, start pose, instructions and disturbances.
        count: number of instructions.
        disturbance: as for `demonstrate`.
        tail: as for `demonstrate`.
    """
    rng = np.random.default_rng((seed, 1))
    expert.reset()
    session.reset(seed)
    records: list[Demonstration] = []
    while len(records) < count and all(record.success for record in records):
        goal = random_goal(scene_state(session.simulation), rng)
        observation = session.ask(describe(goal, rng, session.task.options.words))
        records.append(_follow(session, expert, observation, rng, disturbance, tail))
    return records


def _policy_first(
    session: TaskSession,
    expert: ExpertPolicy,
    takeover: TakeoverPolicy,
    observation: Observation,
    rng: np.random.Generator,
) -> Observation | None:
    """Let the takeover policy drive for a while and return the observation it leads to.

    Its time is drawn from all of the time limit, so that states in which it is stuck come as often
    as it spends time in them. None: it has done the task.
    """
    takeover.begin()
    for _ in range(int(rng.integers(1, session.task.horizon))):
        expert.act(observation)  # it must know the scene as it was, and where it left the arm
        target = takeover.act(observation, int(rng.integers(3, 9)))
        target = np.clip(target, session.simulation.action_lower, session.simulation.action_upper)
        expert.executed(target)
        if session.step(target):
            return None
        observation = session.observe(images=takeover.needs_images)
    session.steps = 0
    return session.observe()


def _follow(
    session: TaskSession,
    expert: ExpertPolicy,
    observation: Observation,
    rng: np.random.Generator,
    disturbance: Disturbance | None,
    tail: int,
) -> Demonstration:
    bursts = NoiseBursts(disturbance or Disturbance(chance=0.0), rng, session.task.horizon)
    record = Demonstration()
    left = tail
    while not session.over and left > 0:
        action = expert.act(observation)
        record.observations.append(observation)
        record.actions.append(action)
        sent = bursts.apply(action, session.steps)
        if sent is not None:
            expert.executed(sent)
            record.disturbed += 1
        record.success = session.step(action if sent is None else sent)
        left = left - 1 if record.success else tail
        observation = session.observe()
    return record
