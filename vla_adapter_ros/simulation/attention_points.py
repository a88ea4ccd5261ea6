# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Image positions of the objects that an instruction refers to.

Four points per instruction: the object to act on now and its destination, and the objects of the
first and of the second part of it, done or not. A small network learns to find them before it
learns to act (`training/experiments/grounding`).
"""

from __future__ import annotations

import mujoco
import numpy as np

from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.goals import (
    DIRECTIONS,
    Goal,
    Move,
    SceneState,
    Sequence,
    left_done,
)
from vla_adapter_ros.simulation.tasks import PUSH_LENGTH

POINTS = 4  # the object to act on now, its destination, the first object, the second one
# A ray to an object's centre ends at its surface; what ends earlier is hidden.
SURFACE = 0.05


def attention_points(
    goal: Goal, state: SceneState, start: SceneState
) -> list[np.ndarray | None]:
    """Return the positions (3,) [m] that the POINTS stand for, None where for nothing.

    Args:
        goal: the goal.
        state: the scene now.
        start: the scene when the goal was set.
    """
    parts = goal.goals if isinstance(goal, Sequence) else (goal,)
    left = [part for part in parts if not left_done(part, state, start)]
    now = (left or parts[-1:])[0]
    objects = [state.position(part.target) for part in parts[:2]]
    nothing = [None] * (2 - len(objects))
    return [state.position(now.target), _destination(now, state, start), *objects, *nothing]


def _destination(goal: Goal, state: SceneState, start: SceneState) -> np.ndarray | None:
    if isinstance(goal, Move):
        along = np.array([0.0, DIRECTIONS[goal.direction] * PUSH_LENGTH, 0.0])
        return start.position(goal.target) + along
    base = goal.names[1:]
    return state.position(base[0]) if base else None


def project(
    simulation: ArmSimulation, camera: str, point: np.ndarray, aspect: float
) -> tuple[float, float, bool]:
    """Return the image position of a point, and whether the camera sees it.

    Args:
        simulation: the scene; its kinematics must be up to date (as after `observe`).
        camera: name of the camera.
        point: (3,) [m] in the base frame.
        aspect: width over height of the image.

    Returns:
        0 to 1 from the left, 0 to 1 from the top, and False if the point is outside the image
        or behind something.
    """
    model, data = simulation.model, simulation.data
    index = model.camera(camera).id
    eye = data.cam_xpos[index]
    x, y, z = data.cam_xmat[index].reshape(3, 3).T @ (point - eye)
    if z > -1e-6:
        return 0.0, 0.0, False
    half = np.tan(0.5 * np.deg2rad(model.cam_fovy[index]))
    u, v = 0.5 - 0.5 * x / (z * half * aspect), 0.5 + 0.5 * y / (z * half)
    inside = 0.0 <= u <= 1.0 and 0.0 <= v <= 1.0
    return float(u), float(v), bool(inside and _in_sight(model, data, eye, point))


def _in_sight(
    model: mujoco.MjModel, data: mujoco.MjData, eye: np.ndarray, point: np.ndarray
) -> bool:
    ray = point - eye
    reach = mujoco.mj_ray(model, data, eye, ray, None, 1, -1, np.zeros(1, np.int32))
    distance = float(np.linalg.norm(ray))
    return reach < 0 or reach * distance > distance - SURFACE
