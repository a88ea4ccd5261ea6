# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Recorded runs of the official LIBERO evaluation, repeated by ours: every event must be equal.

The official loop was run with a stand-in for the environment, whose observations follow from the
number of the step, and one for the policy, whose actions follow from the number of the query.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.libero.asking import commands_of, observation_for
from vla_adapter_ros.evaluation.libero.episode import (
    AGENT_VIEW,
    GRIPPER,
    OPEN_LOOP,
    POSITION,
    QUATERNION,
    WAIT_STEPS,
    WRIST_VIEW,
    RawObservation,
    episode,
)
from vla_adapter_ros.evaluation.libero.suites import SUITES

INSTRUCTION = 'Pick Up The Bowl'
GRIPPERS = (0, 0.49, 0.5, 0.51, 1, 1.3, -0.2, 0.5000001)  # model outputs around every threshold
# Rotations at the edges of the conversion: none at all, and one beyond half a turn.
QUATERNIONS = {10: (0, 0, 0, 1), 18: (0.1, 0.2, 0.3, -0.9273618495495703)}


@dataclass(frozen=True)
class Replay:
    """What a run did; the fields are those of the recording.

    Attributes:
        success: the official verdict.
        frames: steps that the policy commanded.
        steps: of the environment, with those of waiting.
        queries: of the policy.
        trace: every event, in order.
    """

    success: bool
    frames: int
    steps: int
    queries: int
    trace: list[list[Any]]

    @property
    def sha256(self) -> str:
        """Of all events as JSON."""
        return hashlib.sha256(json.dumps(self.trace).encode()).hexdigest()

    def differences(self, case: Mapping[str, Any]) -> list[str]:
        """Return the names of the recorded fields that differ from this run."""
        recorded = case['trace']
        pairs = {
            'trace': (self.trace[: len(recorded)], recorded),
            'trace_events': (len(self.trace), case['trace_events']),
            'trace_sha256': (self.sha256, case['trace_sha256']),
            **{
                name: (getattr(self, name), case[name])
                for name in ('success', 'frames', 'steps', 'queries')
            },
        }
        return [name for name, (ours, theirs) in pairs.items() if ours != theirs]


class RecordedEnvironment:
    """The stand-in for LIBERO.

    Args:
        done_at: numbers of the steps in which the goal is reached.
        events: receives every call.
    """

    def __init__(self, done_at: Sequence[int], events: list[list[Any]]) -> None:
        self._done_at = set(done_at)
        self._events = events
        self.steps = 0

    def reset(self) -> None:
        """Begin anew."""
        self.steps = 0
        self._events.append(['reset'])

    def set_init_state(self, state: Any) -> RawObservation:
        """Note the initial state."""
        self._events.append(['set_init_state', state])
        return self._observation(images=True)

    def step(self, command: Sequence[float], images: bool) -> tuple[RawObservation, bool]:
        """Note the command."""
        self.steps += 1
        self._events.append(['step', [float(value) for value in command]])
        return self._observation(images), self.steps in self._done_at

    def _observation(self, images: bool) -> RawObservation:
        random = np.random.default_rng(1000 + self.steps)
        quaternion = random.normal(size=4)
        quaternion /= _length(quaternion)
        position, gripper = random.normal(size=3), random.normal(size=2)
        quaternion = np.array(QUATERNIONS.get(self.steps, quaternion), np.float64)
        # As from the real one: black where nobody asked for images.
        agent, wrist = np.zeros((2, 4, 4, 3), np.uint8)
        if images:
            agent[0, 0], wrist[0, 1] = self.steps % 256, (self.steps + 7) % 256
        return {
            POSITION: position, QUATERNION: quaternion, GRIPPER: gripper,
            AGENT_VIEW: agent, WRIST_VIEW: wrist,
        }  # fmt: skip


def replay_trace(case: Mapping[str, Any]) -> Replay:
    """Repeat a recorded official episode with our loop.

    Args:
        case: an entry of the recording: `suite`, `open_loop` and `done_at`.

    Returns:
        The run; `differences(case)` is empty if it is equal to the recording.
    """
    events: list[list[Any]] = []
    environment = RecordedEnvironment(case['done_at'], events)
    limit = SUITES[case['suite']].max_steps
    run = episode(environment, 'INIT', limit, case.get('open_loop', OPEN_LOOP))
    queries, commands = 0, None
    while True:
        try:
            raw = next(run) if commands is None else run.send(commands)
        except StopIteration as end:
            outcome = end.value
            break
        events.append(['query', _seen(raw)])
        commands = commands_of(_actions(queries)).tolist()
        queries += 1
    return Replay(
        outcome.success, outcome.steps - WAIT_STEPS, outcome.steps, outcome.queries, events
    )


def _length(vector: np.ndarray) -> float:
    """Return the length of a vector (4,), rounded as on the machine of the recording.

    `np.linalg.norm` adds in an order that depends on the processor: 1 unit in the last place.
    """
    x, y, z, w = vector.tolist()
    return math.sqrt((x * x + z * z) + (y * y + w * w))


def _seen(raw: RawObservation) -> dict[str, Any]:
    """Return what the recording notes of a query."""
    seen = observation_for(raw, INSTRUCTION)
    agent, wrist = seen.images.values()
    return {
        'full_pixel': int(agent[-1, -1, 0]),
        'wrist_pixel': int(wrist[-1, -2, 0]),
        'state': seen.proprioception.tolist(),
        'label': seen.instruction,
        'keys': ['full_image', 'wrist_image', 'state'],
    }


def _actions(query: int) -> np.ndarray:
    """Return the stand-in policy's chunk (8, 7)."""
    actions = np.random.default_rng(query).uniform(-1.2, 1.2, (8, 7))
    actions[:, 6] = GRIPPERS
    return actions
