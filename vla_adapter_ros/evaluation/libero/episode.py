# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""One LIBERO episode by the protocol of the official evaluation, event for event.

The loop knows neither LIBERO nor a policy: it is a generator that yields what a policy must see
and is sent the actions. The official run was recorded with stand-ins for both; `trace.py` repeats
the recording. Needs only NumPy: it also runs in LIBERO's own interpreter (`worker.py`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

WAIT_STEPS = 10  # without the policy, while objects fall to rest
OPEN_LOOP = 8  # actions of a chunk that are executed before the next query
WAIT_COMMAND = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0)  # no motion, gripper open
AGENT_VIEW, WRIST_VIEW = 'agentview_image', 'robot0_eye_in_hand_image'
POSITION, QUATERNION, GRIPPER = 'robot0_eef_pos', 'robot0_eef_quat', 'robot0_gripper_qpos'

RawObservation = Mapping[str, np.ndarray]


class Environment(Protocol):
    """A LIBERO task; the observations are those of robosuite."""

    def reset(self) -> None:
        """Build the scene anew."""
        ...

    def set_init_state(self, state: Any) -> RawObservation:
        """Put objects and robot where an initial state says."""
        ...

    def step(self, command: Sequence[float], images: bool) -> tuple[RawObservation, bool]:
        """Execute one command; return the observation, and whether the goal is reached.

        Args:
            command: (7,) end-effector motion, each in -1 … 1, and the gripper (-1 opens).
            images: whether the images of the observation are needed.
        """
        ...


@dataclass(frozen=True)
class Outcome:
    """How an episode ended.

    Attributes:
        success: the goal was reached in a step that the policy commanded.
        steps: of the environment, with those of waiting.
        queries: of the policy.
    """

    success: bool
    steps: int
    queries: int


def episode(
    environment: Environment,
    initial_state: Any,
    max_steps: int,
    open_loop: int = OPEN_LOOP,
) -> Generator[RawObservation, Sequence[Sequence[float]], Outcome]:
    """Run one episode: yield each observation the policy must see, be sent the commands.

    Args:
        environment: the task.
        initial_state: passed on to it.
        max_steps: steps after waiting.
        open_loop: how many of the commands sent are executed.

    Returns:
        The outcome. The goal counts at the instant it is reached, and not while waiting.
    """
    environment.reset()
    observation = environment.set_init_state(initial_state)
    for step in range(WAIT_STEPS):
        observation, _ = environment.step(WAIT_COMMAND, images=step == WAIT_STEPS - 1)
    commands: deque[Sequence[float]] = deque()
    queries = 0
    for step in range(1, max_steps + 1):
        if not commands:
            commands.extend((yield observation)[:open_loop])
            queries += 1
        command = commands.popleft()
        observation, done = environment.step(command, images=not commands)
        if done:
            return Outcome(True, WAIT_STEPS + step, queries)
    return Outcome(False, WAIT_STEPS + max_steps, queries)


def axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """Return the rotation vector (3,) [rad] of a quaternion x, y, z, w, as robosuite computes it.

    Its length can exceed pi: the quaternion is not brought to the half with w ≥ 0 first. Policies
    were trained on these numbers.
    """
    w = min(1.0, max(-1.0, float(quaternion[3])))
    sine = math.sqrt(1.0 - w * w)
    if math.isclose(sine, 0.0):
        return np.zeros(3)
    return quaternion[:3] * 2.0 * math.acos(w) / sine


def proprioception(observation: RawObservation) -> np.ndarray:
    """Return the state (8,) float64: position [m], rotation vector [rad], two fingers [m]."""
    return np.concatenate(
        (observation[POSITION], axis_angle(observation[QUATERNION]), observation[GRIPPER])
    )


def turned(image: np.ndarray) -> np.ndarray:
    """Return an image rotated by 180°: LIBERO's cameras are upside down, the data are not."""
    return np.ascontiguousarray(image[::-1, ::-1])
