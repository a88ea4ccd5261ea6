# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From the latest messages to the observation of a policy.

Messages are kept undecoded. Decoding happens in the worker's thread, once per inference, so a
callback costs microseconds however large the image is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.control.clock import Arrival
from vla_adapter_ros.control.latest_value import InputMonitor, LatestValue, Problem
from vla_adapter_ros.control.plausibility import PlausibilityMonitor
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.camera_view import policy_image
from vla_adapter_ros.robot.contract import CameraSpec, RobotContract
from vla_adapter_ros.robot.joint_state import JointStateReader, TwoSourcesError

JOINT_STATES = 'joint states'


@dataclass(frozen=True)
class InputSettings:
    """How old inputs may be, and how far apart [s]."""

    max_image_age: float = 0.2
    max_joint_state_age: float = 0.2
    max_skew: float = 0.1


@dataclass(frozen=True)
class Snapshot:
    """The inputs of one observation, not yet decoded.

    Attributes:
        images: camera → message.
        cameras: camera → its specification in the contract.
        state: (J + 1,) proprioception in contract order.
        instruction: normalised.
        stamp: of the oldest input, on the robot's clock [s].
        made: when the oldest input was made, on the motion clock [s].
    """

    images: dict[str, Any]
    cameras: dict[str, CameraSpec]
    state: np.ndarray
    instruction: str
    stamp: float
    made: float

    def observe(self) -> Observation:
        """Decode and check. Raises ObservationError naming the camera and what is wrong."""
        images = {name: self._decode(name) for name in self.cameras}
        return Observation(images, self.state, self.instruction, self.stamp)

    def _decode(self, name: str) -> np.ndarray:
        try:
            return policy_image(self.images[name], self.cameras[name])
        except ObservationError as error:
            raise type(error)(f'{name} {error}') from None


class _JointStates(LatestValue):
    """The newest joint state; knows which joints keep it from being complete."""

    def __init__(self, reader: JointStateReader, max_age: float) -> None:
        super().__init__(JOINT_STATES, max_age)
        self._reader = reader

    def problem(self, now: float) -> Problem | None:
        """Return why the value cannot be used now, or None."""
        problem = super().problem(now)
        if problem is not None and (missing := self._reader.missing(now)):
            return Problem(problem.kind, missing)
        return problem


class Inputs(InputMonitor):
    """The latest images and joint states of a robot, and whether they can be used."""

    def __init__(
        self,
        contract: RobotContract,
        settings: InputSettings | None = None,
    ) -> None:
        settings = settings or InputSettings()
        super().__init__(settings.max_skew)
        self._contract = contract
        # Why a camera is silent, and who publishes joint states; the node knows the graph.
        self.why_silent: Callable[[str], str] = lambda camera: ''
        self.joint_publishers: Callable[[], Sequence[str]] = tuple
        self._sources = ''
        self._reader = JointStateReader(contract, settings.max_joint_state_age)
        self.plausibility = PlausibilityMonitor(contract, settings.max_joint_state_age)
        self._state = _JointStates(self._reader, settings.max_joint_state_age)
        # When joint states were made, and these: as far back as an image may be.
        self._states: deque[tuple[float, np.ndarray]] = deque()
        self.inputs[JOINT_STATES] = self._state
        self._cameras: dict[str, LatestValue] = {
            name: self.declare(f'{name} image', settings.max_image_age)
            for name in contract.cameras
        }

    def reset(self) -> None:
        """Forget all values, keep the counts: the sources have changed."""
        super().reset()
        self._reader.reset()
        self._states.clear()
        self._sources = ''
        self.plausibility.reset()

    def set_limits(self, settings: InputSettings) -> None:
        """Change how old inputs may be, and how far apart; what was received is kept."""
        self.max_skew = settings.max_skew
        self._state.max_age = self.plausibility.max_age = settings.max_joint_state_age
        for camera in self._cameras.values():
            camera.max_age = settings.max_image_age

    def receive_image(self, camera: str, message: Any, arrival: Arrival) -> None:
        """Keep a camera's newest message."""
        self._cameras[camera].receive(message, arrival)

    def receive_joint_state(
        self,
        names: Sequence[str],
        positions: Sequence[float],
        arrival: Arrival,
        commanded: np.ndarray | None,
    ) -> bool:
        """Keep the newest joint state and check it; returns whether it is a new one.

        `commanded` (J + 1,) while in motion. `plausibility` says what is wrong with it.
        """
        try:
            reading = self._reader.receive(names, positions, arrival, arrival.now)
        except TwoSourcesError as error:
            self._sources = self._sources or ', '.join(self.joint_publishers())
            names = f' ({self._sources})' if self._sources else ''
            self.plausibility.reject(f'{error}{names}', arrival.now)
            return True
        except ObservationError as error:
            self.plausibility.reject(str(error), arrival.now)
            return True
        if reading is None or not self._state.receive(reading.state, reading.stamp):
            return False
        self.plausibility.observe(reading.state, arrival.now, commanded)
        self._keep(reading.state)
        return True

    def shared_joints(self, publishers: Sequence[str]) -> str:
        """Return why several publishers of joint states cannot be told apart, or ''."""
        return self._reader.shared(publishers)

    @property
    def state(self) -> np.ndarray | None:
        """(J + 1,) newest joint state in contract order, or None."""
        return self._state.value

    def state_gap(self, now: float) -> str:
        """Return the message for missing or late joint states, or ''; they may come back."""
        problem = self._state.problem(now)
        return problem.text if problem else ''

    def state_fault(self, now: float) -> str:
        """Return why joint states that arrive are not plausible, or ''.

        Messages that cannot be read are no gap, however old the last good one is.
        """
        if self.plausibility.unreadable(now) or not self.state_gap(now):
            return self.plausibility.reason(now)
        return ''

    def state_problem(self, now: float) -> str:
        """Return why the joint state cannot be used, or ''."""
        return (
            self._reader.missing(now) or self.plausibility.reason(now) or self.state_gap(now)
        )

    def gap(self, now: float) -> str:
        """Return the first reason against an observation, or ''; not counted.

        It asks the graph why a camera is silent: not for every cycle.
        """
        problem = self.problem(now)
        if problem is None:
            return ''
        silent = [c for c, latest in self._cameras.items() if f'no {latest.name}' == problem.kind]
        return problem.text + ''.join(f': {why}' for why in map(self.why_silent, silent) if why)

    def image(self, camera: str) -> np.ndarray:
        """Return the image that the policy would see of a camera's newest message.

        Raises:
            ObservationError: encoding or size differ from the contract, or it is damaged.
        """
        message = self._cameras[camera].value
        return policy_image(message, self._contract.cameras[camera])

    def snapshot(self, instruction: str) -> Snapshot:
        """Return the current inputs; call after `skip` returned None.

        The joint state is that of the oldest input, as in training data: an image is up to a
        period of its camera older than the newest one, and the arm has moved on since.
        """
        oldest = self.oldest()
        return Snapshot(
            images={name: latest.value for name, latest in self._cameras.items()},
            cameras=dict(self._contract.cameras),
            state=self._state_at(oldest.made),
            instruction=instruction,
            stamp=oldest.stamp,
            made=oldest.made,
        )

    def _keep(self, state: np.ndarray) -> None:
        assert self._state.arrival is not None
        made = self._state.arrival.made
        self._states.append((made, state))
        # One beyond the span, to interpolate from.
        while len(self._states) > 2 and self._states[1][0] < made - self.max_skew:
            self._states.popleft()

    def _state_at(self, made: float) -> np.ndarray:
        """Return the joint state (J + 1,) at a time, between those that were measured."""
        end, later = self._states[-1]
        if end <= made:
            return later
        for begin, earlier in reversed(self._states):
            if begin <= made:
                return earlier + (made - begin) / (end - begin) * (later - earlier)
            end, later = begin, earlier
        return later
