# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The next aim of the expert's hand: a function of the present scene, without memory.

Because the next aim follows from the present scene alone, the expert recovers by itself from
perturbations (a dropped block is picked up again), and its demonstrations can be imitated by a
policy that sees one moment only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.simulation.arm_simulation import Pose
from vla_adapter_ros.simulation.goals import (
    DIRECTIONS,
    Goal,
    Move,
    Place,
    PutDown,
    PutIn,
    Reach,
    SceneState,
    Sequence,
    Stack,
    between_fingers,
    half_height,
    left_done,
)
from vla_adapter_ros.simulation.layout import BOWL_FLOOR, PLATE_NAME

# Heights of `tool0` above the table [m]. The fingertips are 12.5 mm lower.
TRAVEL_HEIGHT = 0.105
SAFE_LOW, SAFE_HIGH = 0.055, 0.085  # no sideways motion below, unrestricted above
REACH_AIM = 0.065
PUSH_HEIGHT = 0.02
LOWEST_GRASP = 0.014
# The funnel over a target: it is approached from above within this slope.
FUNNEL_RADIUS, FUNNEL_SLOPE = 0.004, 6.0
TRIM_RADIUS = 0.012  # sideways corrections allowed at any height [m]
# An open hand this low [m] slides over an object so far ahead or behind [m], if that is so near to
# the middle between the fingers [m] and the hand is turned right so far [rad].
SLIDE_LOW, SLIDE_REACH, SLIDE_ACROSS, SLIDE_TURN = 0.035, 0.05, 0.008, 0.12

DOWN_YAW = math.pi  # yaw of the tool in the ready pose
OPEN, CLOSED = 1.0, 0.0
HOLD_FRACTION = 0.74  # at or below this the fingers grip an object between them
THIN_HOLD_FRACTION = {'spoon': 0.34}  # the same of thinner things
FINGER_HALF_WIDTH = 0.0105  # of the closed fingers along y [m]
BLOCK_HALF = 0.016
PUSH_AIM = 0.085
DROP_HEIGHT = 0.012  # above the bowl's floor: open fingers must not reach its wall [m]
PLACE_SPREAD = 0.026  # two objects share the plate at ± this [m along x]


@dataclass(frozen=True)
class Hand:
    """The scene as the expert sees it.

    Attributes:
        tool: position (3,) [m] of `tool0`.
        yaw: turn of the tool about the vertical [rad].
        gripper: measured open fraction.
        objects: name → pose.
    """

    tool: np.ndarray
    yaw: float
    gripper: float
    objects: Mapping[str, Pose]

    def state(self) -> SceneState:
        """Return what goals look at."""
        return SceneState(self.tool, self.gripper, self.objects)


@dataclass(frozen=True)
class Aim:
    """Target of the hand: tool position (3,) [m], yaw [rad], gripper open fraction."""

    position: np.ndarray
    yaw: float
    gripper: float


def next_aim(hand: Hand, goal: Goal, start: SceneState) -> Aim:
    """Return the next aim for a goal; stays where it is once the goal is reached.

    Args:
        hand: the scene now.
        goal: the goal to reach.
        start: the scene when the goal was given.
    """
    if isinstance(goal, Sequence):
        return _sequence(hand, goal, start)
    if isinstance(goal, Reach):
        return _aim_down(hand, hand.objects[goal.target].position[:2], REACH_AIM, DOWN_YAW, OPEN)
    if isinstance(goal, Move):
        return _push(hand, goal, start)
    if isinstance(goal, Place):
        return _carry(hand, goal, _plate_spot(hand, goal.target, None))
    if isinstance(goal, Stack):
        base = hand.objects[goal.base].position
        return _carry(hand, goal, base + np.array([0.0, 0.0, half_height(goal.base)]))
    if isinstance(goal, PutIn):
        base = hand.objects[goal.base].position
        return _carry(hand, goal, base + np.array([0.0, 0.0, BOWL_FLOOR + DROP_HEIGHT]))
    raise TypeError(f'no waypoints for {goal!r}')


def hold_fraction(name: str) -> float:
    """Return the open fraction at or below which the fingers grip an object between them."""
    return THIN_HOLD_FRACTION.get(name.split()[-1], HOLD_FRACTION)


def holds(hand: Hand, name: str) -> bool:
    """Return whether the fingers grip an object."""
    return hand.gripper <= hold_fraction(name) and between_fingers(hand.state(), name)


def grasp_yaw(hand: Hand, name: str) -> float:
    """Return the tool yaw nearest to straight that grips the object by parallel faces."""
    faces = {'block': math.pi / 2, 'duck': math.pi, 'cup': math.pi, 'spoon': math.pi}
    period = faces.get(name.split()[-1])
    if period is None:
        return DOWN_YAW
    turn = (hand.objects[name].yaw + period / 2) % period - period / 2
    return DOWN_YAW + turn


def push_gap(pose: Pose) -> float:
    """Return the distance [m] along y of tool and block centre when the fingers touch it."""
    return FINGER_HALF_WIDTH + BLOCK_HALF * (abs(math.cos(pose.yaw)) + abs(math.sin(pose.yaw)))


def _sequence(hand: Hand, goal: Sequence, start: SceneState) -> Aim:
    state = hand.state()
    places = [part for part in goal.goals if isinstance(part, Place)]
    for part in goal.goals:
        last = part is goal.goals[-1]
        if not last and left_done(part, state, start):
            continue
        if isinstance(part, Place) and len(places) > 1:
            spot = _plate_spot(hand, part.target, places.index(part))
            return _carry(hand, part, spot)
        return next_aim(hand, part, start)
    return _stay(hand)


def _plate_spot(hand: Hand, name: str, slot: int | None) -> np.ndarray:
    """Return where on the plate the object goes: the middle, or a side if it is shared."""
    plate = hand.objects[PLATE_NAME].position
    others = [
        pose.position
        for other, pose in hand.objects.items()
        if other not in (name, PLATE_NAME) and np.hypot(*(pose.position - plate)[:2]) < 0.065
    ]
    if others:
        side = -1.0 if np.mean([spot[0] for spot in others]) > plate[0] else 1.0
        return plate + np.array([side * PLACE_SPREAD, 0.0, 0.0])
    offset = 0.0 if slot is None else PLACE_SPREAD * (1.0 if slot == 0 else -1.0)
    return plate + np.array([offset, 0.0, 0.0])


def _stay(hand: Hand) -> Aim:
    return Aim(hand.tool, hand.yaw, OPEN)


def _aim_down(hand: Hand, spot: np.ndarray, height: float, yaw: float, gripper: float) -> Aim:
    """Return the aim towards `height` over `spot` (2,), coming from above.

    Far away the hand travels high; near the spot it descends along a funnel; low down it first
    rises before it goes sideways. All of it is continuous, so motions are smooth. Only an open
    hand beside the object it is to grasp slides instead (`_can_slide`).
    """
    gap = float(np.hypot(*(spot - hand.tool[:2])))
    # A wrong turn of the gripper counts as a distance: it is corrected up in the air.
    wrong = gap + 0.05 * max(0.0, abs(_wrap(yaw - hand.yaw)) - 0.06)
    z = min(TRAVEL_HEIGHT, height + FUNNEL_SLOPE * max(0.0, wrong - FUNNEL_RADIUS))
    freedom = float(np.clip((hand.tool[2] - SAFE_LOW) / (SAFE_HIGH - SAFE_LOW), 0.0, 1.0))
    if gap < TRIM_RADIUS:
        freedom = 1.0
    xy = hand.tool[:2] + freedom * (spot - hand.tool[:2])
    return Aim(np.array([*xy, z]), yaw if freedom > 0.0 else hand.yaw, gripper)


def _wrap(angle: float) -> float:
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _at(hand: Hand, spot: np.ndarray, height: float) -> bool:
    near = np.hypot(*(spot[:2] - hand.tool[:2])) < 0.006
    return bool(near and abs(hand.tool[2] - height) < 0.004)


def _carry(hand: Hand, goal: PutDown, surface: np.ndarray) -> Aim:
    """Pick the target up and put it on the point `surface` (3,) [m]."""
    name, state = goal.target, hand.state()
    item = hand.objects[name].position
    if holds(hand, name):
        height = surface[2] + half_height(name) + (hand.tool[2] - item[2]) + 0.001
        # The position of the object matters, not that of the tool.
        spot = surface[:2] - (item - hand.tool)[:2]
        release = _at(hand, spot, height)
        return _aim_down(hand, spot, height, hand.yaw, OPEN if release else CLOSED)
    if goal.there(state):
        if hand.gripper < 0.93 and between_fingers(hand.state(), name):
            return _stay(hand)
        above = max(TRAVEL_HEIGHT, hand.tool[2])
        return Aim(np.array([*hand.tool[:2], above]), hand.yaw, OPEN)
    return _grasp(hand, name)


def _grasp(hand: Hand, name: str) -> Aim:
    item = hand.objects[name].position
    height = max(float(item[2]), LOWEST_GRASP)
    yaw = grasp_yaw(hand, name)
    between = between_fingers(hand.state(), name)
    if between and _at(hand, item, height):
        return Aim(np.array([*item[:2], height]), hand.yaw, CLOSED)
    if hand.gripper < 0.9 and not between:
        height = max(height, SAFE_HIGH)  # open the fingers before coming down
    elif _can_slide(hand, item, yaw):
        return Aim(np.array([*item[:2], height]), yaw, OPEN)
    return _aim_down(hand, item[:2], height, yaw, OPEN)


def _can_slide(hand: Hand, item: np.ndarray, yaw: float) -> bool:
    """Return whether an open hand that came down beside an object may slide over it.

    A policy that does not remember comes down in the same place again if it rises first.
    """
    off, turn = item[:2] - hand.tool[:2], hand.yaw - DOWN_YAW
    ahead = math.cos(turn) * off[0] + math.sin(turn) * off[1]
    across = math.cos(turn) * off[1] - math.sin(turn) * off[0]  # along this the fingers close
    low = hand.tool[2] < SLIDE_LOW and abs(_wrap(yaw - hand.yaw)) < SLIDE_TURN
    return bool(low and abs(ahead) < SLIDE_REACH and abs(across) < SLIDE_ACROSS)


def _push(hand: Hand, goal: Move, start: SceneState) -> Aim:
    """Push with closed fingers from the far side."""
    sign = DIRECTIONS[goal.direction]
    pose = hand.objects[goal.target]
    item = pose.position
    remaining = PUSH_AIM - sign * float(item[1] - start.position(goal.target)[1])
    if remaining <= 0.005:
        return Aim(np.array([*hand.tool[:2], TRAVEL_HEIGHT]), DOWN_YAW, CLOSED)
    contact = push_gap(pose)
    gap = sign * float(item[1] - hand.tool[1])
    beside = abs(hand.tool[0] - item[0]) < 0.008 and contact - 0.008 < gap < contact + 0.03
    if beside and hand.tool[2] < PUSH_HEIGHT + 0.01:
        y = hand.tool[1] + sign * (remaining + gap - contact)
        return Aim(np.array([item[0], y, PUSH_HEIGHT]), DOWN_YAW, CLOSED)
    spot = np.array([item[0], item[1] - sign * (contact + 0.015)])
    height = PUSH_HEIGHT if hand.gripper < 0.3 else SAFE_HIGH
    return _aim_down(hand, spot, height, DOWN_YAW, CLOSED)
