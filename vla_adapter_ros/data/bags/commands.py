# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Commanded positions at any time, from recorded commands.

`joint_trajectory`: the newest trajectory that has begun replaces the one before and starts from
where that one was; after its last point it holds. `joint_commands`: the newest position holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vla_adapter_ros.data.bags.streams import JointTrack
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.motion.plan import JointPlan
from vla_adapter_ros.robot.contract import RobotContract

# Measured positions (J,) at a time [s], for where there is no command yet.
Measured = Callable[[float], np.ndarray]


class CommandTrack(Protocol):
    """Commanded positions over time."""

    def at(self, time: float) -> np.ndarray | None:
        """Return the commanded positions (J,) at a time [s]; None before the first command."""
        ...


class _Linear:
    """A trajectory of positions alone: joined by straight lines, as controllers do."""

    def __init__(self, start: float, times: np.ndarray, positions: np.ndarray) -> None:
        self._start, self._times, self._positions = start, times, positions

    def sample(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        time = now - self._start
        columns = self._positions.T
        position = np.array([np.interp(time, self._times, column) for column in columns])
        return position, np.zeros_like(position)


class TrajectoryTrack:
    """Joint trajectories as a controller would follow them.

    Args:
        names: joints, in the order of the result.
        measured: where the joints were, for the start of the first trajectory.
        place: topic, for messages.
    """

    def __init__(self, names: Sequence[str], measured: Measured, place: str) -> None:
        self._names, self._measured, self._place = tuple(names), measured, place
        self._starts: list[float] = []
        self._plans: list[JointPlan | _Linear] = []

    def add(self, message: Any, start: float) -> None:
        """Take the next trajectory, which begins at `start` [s] and cancels later ones.

        Raises:
            DatasetError: a joint is missing, times do not increase, or a value is not finite.
        """
        # As the controller does: a new trajectory cancels one that has not begun.
        while self._starts and self._starts[-1] > start:
            self._starts.pop()
            self._plans.pop()
        if self._plans:
            position, velocity = self._plans[-1].sample(start)
        else:
            position, velocity = self._measured(start), np.zeros(len(self._names))
        self._starts.append(start)
        self._plans.append(self._plan(message, start, position, velocity))

    def _plan(
        self, message: Any, start: float, position: np.ndarray, velocity: np.ndarray
    ) -> JointPlan | _Linear:
        points = [(_seconds(p.time_from_start), p) for p in message.points]
        times = np.array([0.0, *(time for time, _ in points if time > 0)])
        if np.any(np.diff(times) <= 0) or sum(time <= 0 for time, _ in points) > 1:
            raise DatasetError(f'{self._place}: times of a trajectory do not increase')
        if points and points[0][0] <= 0:
            position = self._ordered(message.joint_names, points[0][1].positions)
        later = [point for time, point in points if time > 0]
        names = message.joint_names
        positions = np.stack([position, *(self._ordered(names, p.positions) for p in later)])
        # An empty trajectory tells the controller to stop where it is.
        if not later or not all(len(point.velocities) for point in later):
            return _Linear(start, times, positions)
        velocities = [self._ordered(names, point.velocities) for point in later]
        return JointPlan(start, times, positions, np.stack([velocity, *velocities]))

    def _ordered(self, names: Sequence[str], values: Sequence[float]) -> np.ndarray:
        return _ordered(self._names, names, values, self._place)

    def at(self, time: float) -> np.ndarray | None:
        """Return the commanded positions (J,) at a time [s]; None before the first command."""
        number = int(np.searchsorted(self._starts, time, 'right')) - 1
        return None if number < 0 else self._plans[number].sample(time)[0]


class StreamTrack:
    """Streamed positions: the newest holds."""

    def __init__(self, names: Sequence[str], place: str) -> None:
        self._names, self._place = tuple(names), place
        self._times: list[float] = []
        self._values: list[np.ndarray] = []

    def add(self, names: Sequence[str], values: Sequence[float], time: float) -> None:
        """Take the next command. Raises DatasetError if a joint is missing."""
        self._values.append(_ordered(self._names, names, values, self._place))
        self._times.append(time)

    def at(self, time: float) -> np.ndarray | None:
        """Return the commanded positions (J,) at a time [s]; None before the first command."""
        number = int(np.searchsorted(self._times, time, 'right')) - 1
        return None if number < 0 else self._values[number]


@dataclass(frozen=True)
class Commands:
    """The commands of a recording: (time [s], message) of the arm's topic and the gripper's.

    `gripper` is empty where the arm's commands move the gripper too, and without its topic.
    """

    arm: list[tuple[float, Any]] = field(default_factory=list)
    gripper: list[tuple[float, Any]] = field(default_factory=list)

    def between(self, start: float, end: float) -> Commands:
        """Return those from `start` to `end` [s]."""
        arm, gripper = (
            [found for found in each if start <= found[0] <= end]
            for each in (self.arm, self.gripper)
        )
        return Commands(arm, gripper)


def command_tracks(
    commands: Commands, contract: RobotContract, joints: JointTrack, places: tuple[str, str]
) -> tuple[CommandTrack, CommandTrack]:
    """Return what arm and gripper were commanded over time.

    Args:
        commands: of the recording.
        contract: says what they are.
        joints: where the arm was.
        places: bag and topic of the arm's commands and of the gripper's, for messages.
    """
    names = contract.driver_names[-1:]
    if contract.front_end.kind == 'joint_commands':
        arm, gripper = (
            StreamTrack(contract.driver_joint_names, places[0]), StreamTrack(names, places[0])
        )  # fmt: skip
        for time, message in commands.arm:
            arm.add(message.name, message.position, time)
            # Without it the driver keeps the gripper where it is.
            if names[0] in message.name:
                gripper.add(message.name, message.position, time)
        return arm, gripper
    followed = TrajectoryTrack(
        contract.driver_joint_names, lambda t: joints.at(t)[:-1], places[0]
    )
    # A controller's trajectory starts from where the gripper is, in the driver's unit.
    fingers = TrajectoryTrack(
        names, lambda t: contract.front_end.gripper_command(joints.at(t)[-1:]), places[1]
    )  # fmt: skip
    for track, found in ((followed, commands.arm), (fingers, commands.gripper)):
        for time, message in found:
            track.add(message, time)
    return followed, fingers


def _ordered(
    wanted: Sequence[str], names: Sequence[str], values: Sequence[float], place: str
) -> np.ndarray:
    missing = [name for name in wanted if name not in names]
    if missing or len(names) != len(values):
        raise DatasetError(
            f'{place}: a command for {list(names)} with {len(values)} values, '
            f'expected {list(wanted)}'
        )
    found = np.array([values[list(names).index(name)] for name in wanted], np.float64)
    if not np.isfinite(found).all():
        raise DatasetError(f'{place}: a command is not finite: {found.tolist()}')
    return found


def _seconds(duration: Any) -> float:
    return float(duration.sec + duration.nanosec * 1e-9)


def gripper_fraction(contract: RobotContract, command: float) -> float:
    """Return the open fraction (clipped to 0..1) of a gripper command in the driver's unit."""
    return float(np.clip(contract.front_end.gripper_fraction(command), 0.0, 1.0))
