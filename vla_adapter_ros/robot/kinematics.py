# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Forward and inverse kinematics of the contract's URDF, through pinocchio.

Needed for action space `ee_delta`, the workspace box and the tool path of a chunk; everything
else runs without. `pip install pin`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.robot.contract import RobotContract, urdf_path

_MAX_ITERATIONS = 60
# Accuracy at which the iteration stops [m, rad].
_POSITION_TOLERANCE = 1e-5
_ROTATION_TOLERANCE = 1e-4
# Levenberg-Marquardt damping: large far from the solution, vanishing close to it.
_DAMPING = 1e-2
# A pose that inverse kinematics misses by more than this cannot be reached [m].
MAX_IK_ERROR = 2e-3


class KinematicsError(VLAAdapterError):
    """Kinematics are missing, do not fit the contract, or a pose cannot be reached."""


class Kinematics:
    """Kinematics of the arm joints, in contract order.

    Args:
        contract: names the joints, base and tip.
        urdf: path of the URDF; None: its text in the contract.

    Raises:
        KinematicsError: pinocchio or the file is missing, or a joint or frame is not in it.
    """

    def __init__(self, contract: RobotContract, urdf: str | Path | None) -> None:
        if contract.kinematics is None:
            raise KinematicsError(f'contract {contract.name}: key kinematics is missing')
        try:
            import pinocchio
        except ImportError as error:
            raise KinematicsError('pinocchio cannot be imported: pip install pin') from error
        self._pin = pinocchio
        path = Path(contract.kinematics.urdf if urdf is None else urdf)
        if urdf is not None and not path.is_file():
            raise KinematicsError(f'URDF {path}: no such file')
        try:
            if urdf is None:
                full = pinocchio.buildModelFromXML(contract.kinematics.urdf_text)
            else:
                full = pinocchio.buildModelFromUrdf(str(path))
        except (ValueError, RuntimeError) as error:
            raise KinematicsError(f'URDF {path}: {str(error).splitlines()[0]}') from error
        self._model = self._reduced(full, contract, path)
        self._data = self._model.createData()
        self._base = self._frame(contract.kinematics.base, path)
        self._tip = self._frame(contract.kinematics.tip, path)
        self._lower = contract.lower[:-1]
        self._upper = contract.upper[:-1]

    @staticmethod
    def of(contract: RobotContract, contract_folder: Path | None) -> Kinematics | None:
        """Return the kinematics of a contract, or None if it names no URDF.

        A contract without a folder, out of a recording, dataset or checkpoint, has its URDF
        inside; of older ones, and of contract files, see `urdf_path`.
        """
        path = urdf_path(contract, contract_folder)
        if path is None or contract.kinematics is None:
            return None
        if contract.kinematics.urdf_text and (contract_folder is None or not path.is_file()):
            return Kinematics(contract, None)
        return Kinematics(contract, path)

    def tool_positions(self, joints: np.ndarray) -> np.ndarray:
        """Return the tool's positions (N, 3) [m] in the base frame for joints (N, J) [rad]."""
        return np.array([self._pose(row).translation for row in joints]).reshape(-1, 3)

    def arm_positions(self, joints: np.ndarray) -> np.ndarray:
        """Return the positions (J + 2, 3) [m] of base, joints and tool in the base frame."""
        tool = self._pose(joints).translation
        base = self._data.oMf[self._base]
        # The model's first joint is the universe.
        places = [base.actInv(pose).translation for pose in list(self._data.oMi)[1:]]
        return np.array([np.zeros(3), *places, tool])

    def tool_pose(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the tool's position (3,) [m] and rotation (3, 3) in the base frame."""
        pose = self._pose(joints)
        return pose.translation.copy(), pose.rotation.copy()

    def solve(
        self, position: np.ndarray, rotation: np.ndarray, start: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Return joints (J,) whose tool is at a pose, near `start`, and the remaining error [m].

        Damped Gauss-Newton, joints kept within the contract's limits. For an unreachable
        pose it is the nearest found; rotation counts 0.1 m per radian in the error.
        """
        goal = self._pin.SE3(rotation, position)
        joints = np.clip(start, self._lower, self._upper).astype(float)
        error, jacobian = self._error(joints, goal)
        damping = _DAMPING
        for _ in range(_MAX_ITERATIONS):
            if (
                np.linalg.norm(error[:3]) < _POSITION_TOLERANCE
                and np.linalg.norm(error[3:]) < _ROTATION_TOLERANCE
            ):
                break
            normal = jacobian.T @ jacobian + damping * np.eye(len(joints))
            step = np.linalg.solve(normal, jacobian.T @ error)
            trial = np.clip(joints + step, self._lower, self._upper)
            trial_error, trial_jacobian = self._error(trial, goal)
            if trial_error @ trial_error < error @ error:
                joints, error, jacobian = trial, trial_error, trial_jacobian
                damping = max(damping * 0.1, 1e-9)
            else:
                damping *= 10.0
                if damping > 1e6:
                    break
        return joints, float(np.linalg.norm(error[:3]) + 0.1 * np.linalg.norm(error[3:]))

    def solve_deltas(self, start: np.ndarray, deltas: np.ndarray) -> np.ndarray:
        """Return joint targets (K, J) for tool offsets (K, 6) from the pose at `start` (J,).

        Each offset is a translation [m] and a rotation vector [rad] in the base frame, from the
        pose at `start`, not from the offset before.

        Raises:
            KinematicsError: an offset leads out of the reach of the arm.
        """
        position, rotation = self.tool_pose(start)
        targets = np.empty((len(deltas), len(start)))
        joints = np.asarray(start, dtype=float)
        for i, delta in enumerate(deltas):
            goal = self._pin.exp3(np.asarray(delta[3:6], dtype=float)) @ rotation
            joints, error = self.solve(position + delta[:3], goal, joints)
            if error > MAX_IK_ERROR:
                raise KinematicsError(
                    f'chunk step {i}: tool pose cannot be reached, off by {error * 1e3:.1f} mm'
                )
            targets[i] = joints
        return targets

    def _reduced(self, full: object, contract: RobotContract, path: Path) -> object:
        names = list(full.names)[1:]
        # A driver's names are usually those of its URDF, unless they have a prefix of one arm.
        joints = contract.driver_joint_names
        if not set(joints) <= set(names):
            joints = contract.joint_names
        missing = [name for name in joints if name not in names]
        if missing:
            raise KinematicsError(f'URDF {path}: no joint {missing[0]}; it has {names}')
        locked = [full.getJointId(name) for name in names if name not in joints]
        model = self._pin.buildReducedModel(full, locked, self._pin.neutral(full))
        # Contract order → the model's order of configuration variables.
        self._places = np.array([model.joints[model.getJointId(name)].idx_q for name in joints])
        if model.nq != len(joints):
            raise KinematicsError(f'URDF {path}: arm joints must be revolute with limits')
        return model

    def _frame(self, name: str, path: Path) -> int:
        if not self._model.existFrame(name):
            known = ', '.join(frame.name for frame in self._model.frames)
            raise KinematicsError(f'URDF {path}: no frame {name!r}; it has {known}')
        return self._model.getFrameId(name)

    def _configuration(self, joints: np.ndarray) -> np.ndarray:
        configuration = np.zeros(self._model.nq)
        configuration[self._places] = joints
        return configuration

    def _pose(self, joints: np.ndarray) -> object:
        pin, model, data = self._pin, self._model, self._data
        pin.forwardKinematics(model, data, self._configuration(joints))
        base = pin.updateFramePlacement(model, data, self._base)
        return base.actInv(pin.updateFramePlacement(model, data, self._tip))

    def _error(self, joints: np.ndarray, goal: object) -> tuple[np.ndarray, np.ndarray]:
        """Return the pose error (6,) in the base frame's axes and its Jacobian (6, J)."""
        pin, model, data = self._pin, self._model, self._data
        configuration = self._configuration(joints)
        pin.computeJointJacobians(model, data, configuration)
        base = pin.updateFramePlacement(model, data, self._base)
        pose = base.actInv(pin.updateFramePlacement(model, data, self._tip))
        jacobian = pin.getFrameJacobian(
            model, data, self._tip, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED
        )[:, self._places]
        to_base = base.rotation.T
        jacobian = np.vstack((to_base @ jacobian[:3], to_base @ jacobian[3:]))
        rotation_error = pin.log3(goal.rotation @ pose.rotation.T)
        return np.concatenate((goal.translation - pose.translation, rotation_error)), jacobian
