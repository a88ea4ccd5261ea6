# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Gripper conventions of the benchmarks that released checkpoints were trained on.

Models output the gripper as in their data, in [0, 1] with 1 = open. The benchmarks' simulators
want -1 or +1. Sources: `run_libero_eval.py` (process_action), `vla_evaluation.py` (CALVIN),
`rlds/oxe/transforms.py` of the official repository. Our own arm needs none of this: its contract
has the open fraction.
"""

from __future__ import annotations

import numpy as np

ACTION_NAMES = ('x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper')
GRIPPER = -1


def libero_commands(actions: np.ndarray) -> np.ndarray:
    """Return LIBERO simulator actions (…, 7) of model actions: gripper -1 opens, +1 closes.

    Exactly one half stays 0, as `np.sign` leaves it in the official evaluation.
    """
    commands = np.array(actions, np.float64)
    commands[..., GRIPPER] = -np.sign(2.0 * commands[..., GRIPPER] - 1.0)
    return commands


def calvin_commands(actions: np.ndarray) -> np.ndarray:
    """Return CALVIN simulator actions (…, 7) of model actions: gripper +1 opens, -1 closes.

    Open only above one half.
    """
    commands = np.array(actions, np.float64)
    commands[..., GRIPPER] = np.where(commands[..., GRIPPER] > 0.5, 1.0, -1.0)
    return commands


def libero_training_actions(actions: np.ndarray) -> np.ndarray:
    """Return training targets of LIBERO's recorded actions (-1 opens, +1 closes → 1 = open)."""
    targets = np.array(actions, np.float64)
    targets[..., GRIPPER] = 1.0 - np.clip(targets[..., GRIPPER], 0.0, 1.0)
    return targets


def calvin_training_actions(actions: np.ndarray) -> np.ndarray:
    """Return training targets of CALVIN's recorded actions (+1 opens, -1 closes → 1 = open)."""
    targets = np.array(actions, np.float64)
    targets[..., GRIPPER] = np.clip(targets[..., GRIPPER], 0.0, 1.0)
    return targets
