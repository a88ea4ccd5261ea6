# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Prediction of the scene one step ahead: geometry only, enough to plan a chunk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vla_adapter_ros.simulation.arm_simulation import Pose
from vla_adapter_ros.simulation.expert.motion import HandCommand
from vla_adapter_ros.simulation.expert.waypoints import (
    PUSH_HEIGHT,
    Hand,
    hold_fraction,
    push_gap,
)
from vla_adapter_ros.simulation.goals import DIRECTIONS, Goal, Move, Sequence, between_fingers

# Open fraction at which the fingers touch what they close on.
GRIPPED_FRACTION = {
    'block': 0.62, 'cylinder': 0.58, 'ball': 0.66, 'duck': 0.52, 'cup': 0.66, 'spoon': 0.18,
}  # fmt: skip
# They hold it once commanded to close this much further. An arm that rises while they only touch
# it leaves it behind, and fingers can be a step late: they have no speed to catch up with.
_PRESS = 0.25


def predict_hand(hand: Hand, command: HandCommand, goal: Goal) -> Hand:
    """Return the scene after the arm has carried out `command`.

    The arm is assumed to reach its command exactly; fingers stop at an object between them and
    carry it; a pushed block moves.
    """
    objects: dict[str, Pose] = dict(hand.objects)
    gripper = command.gripper
    for part in goal.goals if isinstance(goal, Sequence) else (goal,):
        name = part.target
        if isinstance(part, Move):
            _push(objects, name, DIRECTIONS[part.direction], command)
        elif between_fingers(hand.state(), name):
            limit, touching = hold_fraction(name), GRIPPED_FRACTION[name.split()[-1]]
            gripper = _on_object(hand.gripper, gripper, touching, limit)
            if max(gripper, hand.gripper) <= limit:
                _shift(objects, name, command.position - hand.tool)
    return replace(hand, tool=command.position, yaw=command.yaw, gripper=gripper, objects=objects)


def _on_object(before: float, commanded: float, touching: float, limit: float) -> float:
    """Return the open fraction of fingers around an object; above `limit`: no grip yet."""
    if before > limit and commanded > touching - _PRESS:
        return max(commanded, limit + 0.01)
    return max(commanded, touching)


def _shift(objects: dict[str, Pose], name: str, change: np.ndarray) -> None:
    pose = objects[name]
    objects[name] = Pose(pose.position + change, pose.rotation)


def _push(objects: dict[str, Pose], name: str, sign: float, command: HandCommand) -> None:
    pose = objects[name]
    gap = pose.position - command.position
    low = command.position[2] < PUSH_HEIGHT + 0.015
    contact = push_gap(pose)
    if low and abs(gap[0]) < 0.02 and 0.0 < sign * gap[1] < contact:
        _shift(objects, name, np.array([0.0, sign * (contact - sign * gap[1]), 0.0]))
