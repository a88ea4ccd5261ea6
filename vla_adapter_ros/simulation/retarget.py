# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The same scene with another instruction, to see whether a policy listens."""

from __future__ import annotations

from dataclasses import replace

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.goals import Goal, Sequence
from vla_adapter_ros.simulation.tasks import Task


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
    words = task.instruction.replace(old, '\0').replace(target, old).replace('\0', target)
    parsed = task.set_instruction(simulation, words)
    if parsed != goal:
        raise VLAAdapterError(f'instruction {words!r} means {parsed}, expected {goal}')
    return words
