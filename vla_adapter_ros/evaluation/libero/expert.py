# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A scripted expert for "pick up X and place it in the basket", by the simulator's state.

It shows that the tasks can be solved through the commands that a policy has, and makes the
demonstrations of `demonstrations.py`. All positions are in the world frame [m], z up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.libero.episode import POSITION

CORNERS, OBSTACLES = 'target_corners', 'obstacle_corners'
TARGET, CONTAINER = 'target_position', 'container_position'

METRES_PER_COMMAND = 0.05  # a command of 1 moves the controller's goal by this much
GAIN = 1.6  # goal ahead of the tool, as a multiple of the remaining way: damping 0.8
OPEN, CLOSED = -1.0, 1.0
PALM_M = 0.032  # the palm is this far above the tool
TIP_M = 0.0115  # the fingertips are this far below it
PAD_M = 0.008  # half the height and half the breadth of a finger pad
# Parts of the open hand around the tool: least and most of |x|, of |y|, and lowest z.
HAND_M = ((0.035, 0.0, 0.105, PALM_M), (0.012, 0.036, 0.068, -TIP_M))
SHIFT_M = 0.005  # between grasps that are tried along an object
FLAT = 0.9  # of the width in the middle, where the side is still flat
HOVER_M = 0.05  # fingertips above the object before they go down
ALIGNED_M = 0.006  # horizontal distance from which the hand goes down
REACHED_M = 0.005
BLOCKED_M = 0.02  # above the grasp, where a hand that no longer sinks touches something
STILL_M = 3e-4  # progress of a step that is none
CLOSING_STEPS = 9
RIM_M = 0.15  # of the basket above its origin
OVER_RIM_M = 0.035  # of the object's lowest point on the way
ABOVE_FLOOR_M = 0.03  # of the tool where it lifts straight up first
OVER_BASKET_M = 0.02
SETTLED_M = 0.012  # above the height of release
LOST_M = 0.06  # between tool and grasped place: nothing is held


@dataclass(frozen=True)
class Grasp:
    """Where the tool grasps an object.

    Attributes:
        position: (3,) of the tool.
        top: of the object.
        bottom: of the object.
    """

    position: np.ndarray
    top: float
    bottom: float


def grasp_of(corners: np.ndarray, obstacles: np.ndarray) -> Grasp:
    """Return the grasp from above, fingers closing along y.

    At half the object's height; lower than its top by at most what the fingers are long, and
    higher than the floor by what they reach below the tool. In its middle, or as near to it as
    the open hand does not touch other objects.

    Args:
        corners: (N, 8, 3) of the boxes that make up the object.
        obstacles: (M, 8, 3) of those of other objects.
    """
    low, high = corners.min(axis=1), corners.max(axis=1)
    bottom, top = float(low[:, 2].min()), float(high[:, 2].max())
    height = max((bottom + top) / 2, top - PALM_M, bottom + TIP_M + 0.001)
    level = (low[:, 2] < height + PAD_M) & (high[:, 2] > height - PAD_M)
    low, high = low[level], high[level]
    middle, reach = (low.min(axis=0) + high.max(axis=0))[0] / 2, np.ptp([low, high], (0, 1))[0] / 2
    count = int((reach - PAD_M) / SHIFT_M)
    shifts = sorted(SHIFT_M * np.arange(-count, count + 1), key=abs)
    sides = [_sides(low, high, middle + shift) for shift in shifts]
    width = sides[0][1] - sides[0][0]
    tried = []
    for shift, (left, right) in zip(shifts, sides, strict=True):
        position = np.array([middle + shift, (left + right) / 2, height])
        if right - left >= FLAT * width:
            tried.append((touched(position, obstacles), position))
    # The first of those that touch least.
    position = min(tried, key=lambda pair: pair[0])[1]
    return Grasp(position, top, bottom)


def _sides(low: np.ndarray, high: np.ndarray, x: float) -> tuple[float, float]:
    """Return the least and the largest y of boxes where the pads are that meet at `x`."""
    here = (low[:, 0] < x + PAD_M) & (high[:, 0] > x - PAD_M)
    if not here.any():
        return 0.0, 0.0
    return float(low[here, 1].min()), float(high[here, 1].max())


def touched(tool: np.ndarray, obstacles: np.ndarray) -> int:
    """Return how many boxes (M, 8, 3) an open hand touches that came down to `tool` (3,)."""
    low, high = obstacles.min(axis=1, initial=np.inf), obstacles.max(axis=1, initial=-np.inf)
    count = 0
    for breadth, inner, outer, lowest in HAND_M:
        over = high[:, 2] > tool[2] + lowest
        over &= (low[:, 0] < tool[0] + breadth) & (high[:, 0] > tool[0] - breadth)
        left = (low[:, 1] < tool[1] - inner) & (high[:, 1] > tool[1] - outer)
        right = (low[:, 1] < tool[1] + outer) & (high[:, 1] > tool[1] + inner)
        count += int((over & (left | right)).sum())
    return count


@dataclass
class BasketExpert:
    """Commands of one episode; the observations must come in order."""

    _closing: int = 0
    _opening: bool = False
    _height: float = np.inf

    def __call__(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the command (7,): motion in -1 … 1, no rotation, gripper.

        Args:
            observation: position of the tool (3,), what `Worker` adds for an expert: the
                corners (N, 8, 3) of the boxes of the target and of other objects, and the
                positions (3,) of target and container.
        """
        tool = np.asarray(observation[POSITION], float)
        grasp = grasp_of(observation[CORNERS], observation[OBSTACLES])
        if self._opening:
            return _command(np.zeros(3), OPEN)
        if self._closing < CLOSING_STEPS:
            return self._approach(tool, grasp)
        if np.linalg.norm(grasp.position - tool) > LOST_M:
            self._closing, self._height = 0, np.inf
            return self._approach(tool, grasp)
        return self._carry(
            tool, grasp, np.asarray(observation[TARGET]), np.asarray(observation[CONTAINER])
        )

    def _approach(self, tool: np.ndarray, grasp: Grasp) -> np.ndarray:
        way = grasp.position - tool
        aside, above = float(np.hypot(*way[:2])), -float(way[2])
        blocked = above < BLOCKED_M and self._height - tool[2] < STILL_M
        self._height = float(tool[2])
        if self._closing or (aside < ALIGNED_M and (above < REACHED_M or blocked)):
            self._closing += 1
            return _command(np.zeros(3), CLOSED)
        # A funnel: the further aside, the higher.
        hover = grasp.top + TIP_M + HOVER_M - grasp.position[2]
        way[2] += hover * min(1.0, max(0.0, aside - ALIGNED_M) / (3 * ALIGNED_M))
        return _command(way, OPEN)

    def _carry(
        self, tool: np.ndarray, grasp: Grasp, target: np.ndarray, basket: np.ndarray
    ) -> np.ndarray:
        aside = basket[:2] - target[:2]
        distance = float(np.hypot(*aside))
        lift = basket[2] + RIM_M + OVER_RIM_M - grasp.bottom
        if distance < OVER_BASKET_M:
            drop = lift - OVER_RIM_M
            if drop > -SETTLED_M:
                self._opening = True
                return _command(np.zeros(3), OPEN)
            return _command(np.array([*aside, drop]), CLOSED)
        if lift > ABOVE_FLOOR_M:
            return _command(np.array([0.0, 0.0, lift]), CLOSED)
        return _command(np.array([*aside, lift]), CLOSED)


def _command(way: np.ndarray, gripper: float) -> np.ndarray:
    motion = way * (GAIN / METRES_PER_COMMAND)
    # Scaled as a whole: a straight line also where it is fast.
    motion /= max(1.0, float(np.abs(motion).max()))
    return np.array([*motion, 0.0, 0.0, 0.0, gripper])


EXPERT = 'expert'  # instead of the name of a checkpoint
EXPERT_SUITE = 'libero_object'  # whose tasks it knows
_KEY = ('suite', 'task', 'episode', 'attempt')


class ExpertPolicy:
    """Answers with the expert's next command, an expert for each episode; see `Answering`."""

    identity: Mapping[str, Any] = {'policy': EXPERT}
    chunk_size = 1

    def __init__(self) -> None:
        self._experts: dict[tuple[Any, ...], BasketExpert] = {}

    def __call__(
        self, questions: Sequence[tuple[Mapping[str, Any], Mapping[str, np.ndarray]]]
    ) -> list[np.ndarray]:
        """Return the command (1, 7) for each question; of an episode they come in order."""
        answers = []
        for header, arrays in questions:
            key = tuple(header[name] for name in _KEY)
            answers.append(self._experts.setdefault(key, BasketExpert())(arrays)[None])
        return answers
