# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Goals of instructions, and whether the scene shows them reached.

Predicates look at the scene only (a `SceneState`), so the same ones evaluate an expert, a policy
in process, and a policy through ROS. "left" and "right" are those of the third-person image:
left is -y of the base frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vla_adapter_ros.simulation.arm_simulation import ArmSimulation, Pose
from vla_adapter_ros.simulation.layout import (
    BOWL,
    BOWL_RIM,
    PLATE_NAME,
    PLATE_RADIUS,
    SHAPE_HEIGHTS,
)
from vla_adapter_ros.simulation.scene import FINGER_STROKE

DIRECTIONS = {'left': -1.0, 'right': 1.0}
REACH_DISTANCE = 0.025  # horizontal, tool to object [m]
REACH_HEIGHT = 0.085  # of the tool above the table [m]
MOVE_DISTANCE = 0.06  # [m]
MOVE_DRIFT = 0.05  # [m]
STACK_DISTANCE = 0.018  # [m]
BOWL_DISTANCE = 0.035  # horizontal, object's centre to that of the bowl it lies in [m]
HEIGHT_TOLERANCE = 0.009  # [m]
OPEN_FRACTION = 0.75
BETWEEN_FINGERS = 0.014  # object centre to tool, along each axis [m]


@dataclass(frozen=True)
class SceneState:
    """The scene at one moment.

    Attributes:
        tool: position (3,) [m] of `tool0` in the base frame.
        gripper: open fraction (1 = open).
        objects: name → pose of everything on the table.
    """

    tool: np.ndarray
    gripper: float
    objects: Mapping[str, Pose]

    def position(self, name: str) -> np.ndarray:
        """Return the position (3,) [m] of an object."""
        return self.objects[name].position


def scene_state(simulation: ArmSimulation) -> SceneState:
    """Return the present state of a simulation."""
    gripper = 1.0 - float(simulation.positions[6]) / FINGER_STROKE
    return SceneState(simulation.tool_pose().position, gripper, simulation.object_poses())


def half_height(name: str) -> float:
    """Return the height [m] of an object's centre above what it stands on."""
    return SHAPE_HEIGHTS[name.split()[-1]]


def is_bowl(name: str) -> bool:
    """Return whether a thing is a bowl: it holds others and stays where it is."""
    return name.split()[-1] == BOWL


def movable_names(state: SceneState) -> list[str]:
    """Return the objects that the arm can pick up: neither plate nor bowls."""
    return [name for name in state.objects if name != PLATE_NAME and not is_bowl(name)]


def _horizontal(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.hypot(*(a[:2] - b[:2])))


class Goal(Protocol):
    """A goal state of named objects."""

    @property
    def target(self) -> str:
        """Name of the object to act on (first)."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all objects the goal needs."""
        ...

    def done(self, state: SceneState, start: SceneState) -> bool:
        """Return whether `state` shows the goal reached, `start` being where it began."""
        ...


@dataclass(frozen=True)
class Reach:
    """The tool is right above the object."""

    target: str

    @property
    def names(self) -> tuple[str, ...]:
        """See Goal."""
        return (self.target,)

    def done(self, state: SceneState, start: SceneState) -> bool:
        """See Goal."""
        near = _horizontal(state.tool, state.position(self.target)) <= REACH_DISTANCE
        return near and bool(state.tool[2] <= REACH_HEIGHT)


@dataclass(frozen=True)
class Move:
    """The object is at least 6 cm further left or right than before, still on the table."""

    target: str
    direction: str

    @property
    def names(self) -> tuple[str, ...]:
        """See Goal."""
        return (self.target,)

    def done(self, state: SceneState, start: SceneState) -> bool:
        """See Goal."""
        change = state.position(self.target) - start.position(self.target)
        along = DIRECTIONS[self.direction] * change[1]
        level = abs(state.position(self.target)[2] - half_height(self.target)) < HEIGHT_TOLERANCE
        return bool(along >= MOVE_DISTANCE and abs(change[0]) <= MOVE_DRIFT and level)


@dataclass(frozen=True)
class PutDown(ABC):
    """The object is where it had to go and the gripper has let go."""

    target: str

    @abstractmethod
    def there(self, state: SceneState) -> bool:
        """Return whether the object is there, held or not."""

    def done(self, state: SceneState, start: SceneState) -> bool:
        """See Goal."""
        return self.there(state) and state.gripper > OPEN_FRACTION


def between_fingers(state: SceneState, name: str) -> bool:
    """Return whether an object's centre is between the finger pads."""
    return bool(np.abs(state.position(name) - state.tool).max() < BETWEEN_FINGERS)


def left_done(part: Goal, state: SceneState, start: SceneState) -> bool:
    """Return whether a part is done and let go of; the fingers may hold the next object."""
    if isinstance(part, PutDown):
        return part.there(state) and not between_fingers(state, part.target)
    return part.done(state, start)


@dataclass(frozen=True)
class Place(PutDown):
    """The object lies on the plate."""

    @property
    def names(self) -> tuple[str, ...]:
        """See Goal."""
        return (self.target, PLATE_NAME)

    def there(self, state: SceneState) -> bool:
        """Return whether the object lies on the plate, held or not."""
        plate, item = state.position(PLATE_NAME), state.position(self.target)
        height = item[2] - plate[2] - half_height(self.target)
        inside = _horizontal(plate, item) <= PLATE_RADIUS
        return bool(inside and abs(height) < HEIGHT_TOLERANCE)


@dataclass(frozen=True)
class PutDownOn(PutDown):
    """It is on or in another object."""

    base: str

    @property
    def names(self) -> tuple[str, ...]:
        """See Goal."""
        return (self.target, self.base)


@dataclass(frozen=True)
class Stack(PutDownOn):
    """The object stands on another one."""

    def there(self, state: SceneState) -> bool:
        """Return whether the object stands on the other, held or not."""
        base, item = state.position(self.base), state.position(self.target)
        height = item[2] - base[2] - half_height(self.target) - half_height(self.base)
        near = _horizontal(base, item) <= STACK_DISTANCE
        return bool(near and abs(height) < HEIGHT_TOLERANCE)


@dataclass(frozen=True)
class PutIn(PutDownOn):
    """The object lies in a bowl."""

    def there(self, state: SceneState) -> bool:
        """Return whether the object is in the bowl, held or not."""
        base, item = state.position(self.base), state.position(self.target)
        near = _horizontal(base, item) <= BOWL_DISTANCE
        return bool(near and item[2] - base[2] < BOWL_RIM + HEIGHT_TOLERANCE)


@dataclass(frozen=True)
class Sequence:
    """Several goals, one after another; all hold at the end. `Order` watches the order."""

    goals: tuple[Goal, ...]

    @property
    def target(self) -> str:
        """See Goal."""
        return self.goals[0].target

    @property
    def names(self) -> tuple[str, ...]:
        """See Goal."""
        return tuple(dict.fromkeys(name for goal in self.goals for name in goal.names))

    def done(self, state: SceneState, start: SceneState) -> bool:
        """See Goal."""
        return all(goal.done(state, start) for goal in self.goals)


class Order:
    """Watches in which order the parts of a sequence are done.

    A part counts from the first look that shows it there. Only lasting results count: a hand
    passes over many things, so `Reach` is left out.
    """

    def __init__(self) -> None:
        self._first: list[int] = []

    def look(self, goal: Goal, state: SceneState, start: SceneState) -> None:
        """Note which parts are there now; call at every control step."""
        if not isinstance(goal, Sequence):
            return
        for number, part in enumerate(goal.goals):
            if isinstance(part, Reach) or number in self._first:
                continue
            put = isinstance(part, PutDown)
            if part.there(state) if put else part.done(state, start):
                self._first.append(number)

    @property
    def kept(self) -> bool:
        """Whether the parts came in their order so far."""
        return self._first == sorted(self._first)


def manipulated(goal: Goal) -> tuple[str, ...]:
    """Return the objects that a goal manipulates (without those that carry them)."""
    if isinstance(goal, Sequence):
        return tuple(dict.fromkeys(part.target for part in goal.goals))
    return (goal.target,)


def acted_on(state: SceneState, start: SceneState, goal: Goal) -> str | None:
    """Return the object that was acted on; following the instruction means the named one.

    For `Reach` the object nearest below the tool (None if none is within 4 cm); otherwise the
    object that was moved furthest (None if nothing moved by more than 1.5 cm).
    """
    movable = movable_names(state)
    if isinstance(goal, Reach):
        gaps = {name: _horizontal(state.tool, state.position(name)) for name in movable}
        nearest = min(gaps, key=gaps.__getitem__)
        return nearest if gaps[nearest] < 0.04 else None
    moved = {
        name: float(np.linalg.norm(state.position(name) - start.position(name)))
        for name in movable
    }
    furthest = max(moved, key=moved.__getitem__)
    return furthest if moved[furthest] > 0.015 else None
