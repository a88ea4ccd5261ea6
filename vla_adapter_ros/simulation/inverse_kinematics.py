# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Joint positions for a tool pose: damped least squares on pinocchio's Jacobian."""

from __future__ import annotations

import numpy as np
import pinocchio

from vla_adapter_ros.simulation.alicia_d import ARM_JOINTS, urdf

MAX_ITERATIONS = 40
MAX_CHANGE = 0.3  # largest joint change in one iteration [rad]
DAMPING = 0.02
POSITION_TOLERANCE = 1e-4  # [m]
ROTATION_TOLERANCE = 1e-3  # [rad]


def gripper_down(yaw: float) -> np.ndarray:
    """Return the rotation (3, 3) of `tool0` for a gripper straight down, turned by `yaw` [rad].

    The fingers close along y turned by `yaw`. The z axis of `tool0` points back to the wrist,
    so it is the vertical: a plain turn about z. In the ready pose `yaw` is pi.
    """
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


class InverseKinematics:
    """Solves `tool0` poses of the Alicia-D within its joint limits."""

    def __init__(self) -> None:
        self._model = pinocchio.buildModelFromXML(urdf())
        self._data = self._model.createData()
        self._frame = self._model.getFrameId('tool0')
        self._lower = np.array([row.lower for row in ARM_JOINTS])
        self._upper = np.array([row.upper for row in ARM_JOINTS])
        self._full = pinocchio.neutral(self._model)

    def tool_pose(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return position (3,) [m] and rotation (3, 3) of `tool0` for (6,) joints [rad]."""
        self._full[:6] = joints
        pinocchio.framesForwardKinematics(self._model, self._data, self._full)
        pose = self._data.oMf[self._frame]
        return pose.translation.copy(), pose.rotation.copy()

    def solve(
        self, position: np.ndarray, rotation: np.ndarray, start: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Return (6,) joints near `start` that reach the pose, and the remaining error.

        The error is position error [m] + 0.1 m/rad x rotation error [rad]; it stays large when
        the pose cannot be reached, and the joints are then the closest found.
        """
        joints = np.clip(start, self._lower, self._upper)
        best, best_error = joints, np.inf
        for _ in range(MAX_ITERATIONS):
            here, turned = self.tool_pose(joints)
            move = position - here
            turn = pinocchio.log3(rotation @ turned.T)
            error = float(np.linalg.norm(move) + 0.1 * np.linalg.norm(turn))
            if error < best_error:
                best, best_error = joints, error
            if np.linalg.norm(move) < POSITION_TOLERANCE and np.linalg.norm(turn) < (
                ROTATION_TOLERANCE
            ):
                break
            joints = np.clip(joints + self._change(move, turn), self._lower, self._upper)
        return best, best_error

    def _change(self, move: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """Return the damped least-squares joint change; `self._full` holds the joints."""
        jacobian = pinocchio.computeFrameJacobian(
            self._model, self._data, self._full, self._frame,
            pinocchio.ReferenceFrame.LOCAL_WORLD_ALIGNED,
        )[:, :6]  # fmt: skip
        square = jacobian @ jacobian.T + DAMPING**2 * np.eye(6)
        change = jacobian.T @ np.linalg.solve(square, np.concatenate([move, turn]))
        largest = np.abs(change).max()
        return change * (MAX_CHANGE / largest) if largest > MAX_CHANGE else change
