# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What LIBERO's and CALVIN's states and actions become, as the official loader has it.

Source: `libero_dataset_transform` and `calvin_dataset_transform` of the official repository
(prismatic/vla/datasets/rlds/oxe/transforms.py).
"""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.data.episodes import Vectors

ACTION_NAMES = ('x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper')


def libero_vectors(state: np.ndarray, actions: np.ndarray) -> Vectors:
    """Return proprioception (T, 8) and actions (T, 7).

    Args:
        state: (T, ≥ 8) tool position, axis-angle, …, two finger positions.
        actions: (T, 7) six controller commands, then the gripper from −1 (open) to 1 (close);
            it becomes 1 for open, 0 for closed.
    """
    gripper = 1 - np.clip(actions[:, 6:7], 0, 1)
    proprioception = np.concatenate([state[:, :6], state[:, -2:]], axis=1)
    return Vectors(
        proprioception.astype(np.float32),
        np.concatenate([actions[:, :6], gripper], axis=1).astype(np.float32),
    )


def calvin_vectors(state: np.ndarray, actions: np.ndarray) -> Vectors:
    """Return proprioception (T, 8) and actions (T, 7).

    Args:
        state: (T, 15) robot_obs: tool position, Euler angles, gripper width, joints, gripper
            action.
        actions: (T, 7) relative commands, then the gripper: −1 closes, 1 opens (not inverted).
    """
    gripper = np.clip(actions[:, 6:7], 0, 1)
    proprioception = np.concatenate([state[:, :7], state[:, -1:]], axis=1)
    return Vectors(
        proprioception.astype(np.float32),
        np.concatenate([actions[:, :6], gripper], axis=1).astype(np.float32),
    )
