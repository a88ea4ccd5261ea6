# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From a chunk in the contract's action space to absolute joint targets.

`joint_position`: the actions are the targets. `joint_delta`: offsets of the arm joints from the
joints at the observation. `ee_delta`: translation [m] and rotation vector [rad] of the tool from
its pose at the observation, in the base frame. The gripper is an absolute open fraction in all.
"""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.kinematics import Kinematics


class MotionError(VLAAdapterError):
    """A chunk cannot become a motion; the message says why in one line."""


class ActionConverter:
    """Turns actions into joint targets in contract order.

    Args:
        contract: names the action space.
        kinematics: needed for `ee_delta`.

    Raises:
        MotionError: `ee_delta` without kinematics.
    """

    def __init__(self, contract: RobotContract, kinematics: Kinematics | None = None) -> None:
        if contract.action_space == 'ee_delta' and kinematics is None:
            raise MotionError(
                'action_space ee_delta: kinematics of the URDF are needed, got none '
                '(pip install pin)'
            )
        self._contract = contract
        self._kinematics = kinematics
        arm = 6 if contract.action_space == 'ee_delta' else len(contract.joints)
        self.action_dim = arm + 1

    def to_targets(self, actions: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Return targets (K, J + 1).

        Args:
            actions: (K, A) of the policy.
            observed: (J + 1,) proprioception of the observation the chunk was computed from.

        Raises:
            MotionError: wrong shape, NaN or infinity, or no joint solution.
        """
        actions = np.asarray(actions, dtype=float)
        if actions.ndim != 2 or actions.shape[1] != self.action_dim or not len(actions):
            raise MotionError(
                f'chunk of shape {actions.shape}, expected (K, {self.action_dim}) with K >= 1'
            )
        if not np.isfinite(actions).all():
            step, column = np.argwhere(~np.isfinite(actions))[0]
            value = actions[step, column]
            raise MotionError(f'chunk step {step}, column {column}: got {value}, not finite')
        if self._contract.action_space == 'joint_position':
            return actions.copy()
        arm = self._arm_targets(actions[:, :-1], self._observed_arm(observed))
        return np.concatenate((arm, actions[:, -1:]), axis=1)

    def _arm_targets(self, deltas: np.ndarray, start: np.ndarray) -> np.ndarray:
        if self._contract.action_space == 'joint_delta':
            return start + deltas
        assert self._kinematics is not None
        return self._kinematics.solve_deltas(start, deltas)

    def _observed_arm(self, observed: np.ndarray) -> np.ndarray:
        observed = np.asarray(observed, dtype=float)
        if observed.shape != (self._contract.action_dim,) or not np.isfinite(observed).all():
            raise MotionError(
                f'observed joints {observed.tolist()}: '
                f'expected {self._contract.action_dim} finite values'
            )
        return observed[:-1]
