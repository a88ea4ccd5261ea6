# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Kinematics of the simulated arm (those of its contract), and the gripper pointing down."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.robot.contract import builtin_contract_path, load_contract
from vla_adapter_ros.robot.kinematics import Kinematics


def gripper_down(yaw: float) -> np.ndarray:
    """Return the rotation (3, 3) of `tool0` for a gripper straight down, turned by `yaw` [rad].

    The fingers close along y turned by `yaw`. The z axis of `tool0` points back to the wrist,
    so it is the vertical: a plain turn about z. In the ready pose `yaw` is pi.
    """
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def arm_kinematics() -> Kinematics:
    """Return kinematics of the Alicia-D; not thread-safe, so each user takes its own."""
    path = builtin_contract_path('alicia_d')
    contract = load_contract(path)
    return Kinematics(contract, path.parent / contract.kinematics.urdf)
