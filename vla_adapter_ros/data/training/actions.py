# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From absolute joint targets to the action chunks a model predicts.

Datasets store absolute joint targets. What the model predicts is the contract's action space;
`robot/action_space.py` is the inverse, on the robot. Keeping the stored form absolute lets one
dataset train every action space.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.robot.contract import ACTION_SPACES, RobotContract

# (targets (N, K, J + 1), state (N, J + 1)) → actions (N, K, A)
ChunkTransform = Callable[[np.ndarray, np.ndarray], np.ndarray]


class ForwardKinematics(Protocol):
    """The part of `Kinematics` (robot/kinematics.py) that `ee_delta` needs."""

    def tool_pose(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the tool's position (3,) [m] and rotation (3, 3) in the base frame."""
        ...


def chunk_rows(
    starts: np.ndarray, ends: np.ndarray, chunk_size: int, stride: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows of the action table make the chunks that start at `starts`.

    Row i holds the target one frame after frame i, so step k of a chunk (due k + 1 step periods
    after its observation, each `stride` frames long) is row start + (k + 1) · stride − 1. After
    the episode's end the last target is held and marked as padding.

    Args:
        starts: (N,) rows of the observations.
        ends: (N,) row after the last of their episodes.
        chunk_size: K.
        stride: frames in one step period.

    Returns:
        rows (N, K) int64, is_pad (N, K) bool.
    """
    rows = starts[:, None] + (np.arange(chunk_size) + 1) * stride - 1
    is_pad = rows >= ends[:, None]
    return np.minimum(rows, ends[:, None] - 1), is_pad


def chunk_transform(
    contract: RobotContract, action_space: str, kinematics: ForwardKinematics | None = None
) -> ChunkTransform:
    """Return the function that turns absolute joint targets into the action space.

    Raises:
        DatasetError: unknown action space, or `ee_delta` without kinematics.
    """
    if action_space == 'joint_position':
        return lambda targets, state: targets
    if action_space == 'joint_delta':
        return joint_deltas
    if action_space == 'ee_delta':
        if kinematics is None:
            raise DatasetError('action_space ee_delta: kinematics of the URDF are needed')
        solver = kinematics
        return lambda targets, state: tool_deltas(targets, state, solver)
    raise DatasetError(f'action_space: got {action_space!r}, expected one of {ACTION_SPACES}')


def joint_deltas(targets: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Return offsets of the arm joints from the state; the gripper (last) stays absolute.

    Args:
        targets: (N, K, J + 1) absolute targets.
        state: (N, J + 1) state at the observation.
    """
    offsets = np.array(targets)
    offsets[..., :-1] -= state[:, None, :-1]
    return offsets


def tool_deltas(
    targets: np.ndarray, state: np.ndarray, kinematics: ForwardKinematics
) -> np.ndarray:
    """Return (N, K, 7): tool translation [m], rotation vector [rad], open fraction.

    Both relative to the tool's pose at the observation, in the base frame: the rotation is
    log(R_target · R_observedᵀ).
    """
    import pinocchio

    count, size, _ = targets.shape
    result = np.empty((count, size, 7), targets.dtype)
    result[..., 6] = targets[..., -1]
    for n in range(count):
        position, rotation = kinematics.tool_pose(np.asarray(state[n, :-1], np.float64))
        for k in range(size):
            there, turned = kinematics.tool_pose(np.asarray(targets[n, k, :-1], np.float64))
            result[n, k, :3] = there - position
            result[n, k, 3:6] = pinocchio.log3(turned @ rotation.T)
    return result


def summed_tool_deltas(steps: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Return tool motions since the observation from motions per step, both in the base frame.

    Args:
        steps: (N, K, 7) translation [m] and rotation vector [rad] of each step, open fraction.
        state: not used.
    """
    import pinocchio

    result = np.array(steps)
    result[..., :3] = np.cumsum(steps[..., :3], axis=1)
    for chunk in result:
        rotation = np.eye(3)
        for action in chunk:
            rotation = pinocchio.exp3(np.asarray(action[3:6], np.float64)) @ rotation
            action[3:6] = pinocchio.log3(rotation)
    return result


def contract_kinematics(contract: RobotContract) -> ForwardKinematics:
    """Return the kinematics of a dataset's contract: of the URDF in it, or of one that ships.

    Raises:
        DatasetError: it names none.
        KinematicsError: the URDF is missing or does not fit.
    """
    from vla_adapter_ros.robot.kinematics import Kinematics

    kinematics = Kinematics.of(contract, None)
    if kinematics is None:
        raise DatasetError(f'contract {contract.name}: key kinematics is missing')
    return kinematics
