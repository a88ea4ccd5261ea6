# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The expert behind the policy node: object poses arrive as messages, chunks leave in the
contract's action space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pinocchio

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.simulation.alicia_d import JOINT_NAMES
from vla_adapter_ros.simulation.arm_simulation import Pose
from vla_adapter_ros.simulation.expert.expert import ExpertPolicy
from vla_adapter_ros.simulation.expert.motion import STEP_PERIOD
from vla_adapter_ros.simulation.tool_kinematics import arm_kinematics


class ExpertChunks:
    """Scripted expert that answers in a contract's action space.

    `see` may be called in another thread than `predict`.

    Raises:
        VLAAdapterError: the contract is not of the simulated arm, or not at 10 Hz.
    """

    def __init__(self, contract: RobotContract) -> None:
        if contract.names != JOINT_NAMES:
            raise VLAAdapterError(
                f'expert: it moves {", ".join(JOINT_NAMES)}, the contract has '
                f'{", ".join(contract.names)}'
            )
        if abs(contract.step_period - STEP_PERIOD) > 1e-9:
            raise VLAAdapterError(
                f'expert: step_period {contract.step_period:g}, expected {STEP_PERIOD:g}'
            )
        self._contract = contract
        self._expert = ExpertPolicy()
        self._kinematics = arm_kinematics()
        self._poses: Mapping[str, Pose] | None = None

    def forget(self) -> None:
        """Forget poses and motion: another scene may lie there now."""
        self._poses = None
        self._expert.reset()

    def see(self, poses: Mapping[str, Pose]) -> None:
        """Take the newest object poses."""
        self._poses = dict(poses)

    def predict(self, observation: Observation) -> ActionChunk:
        """Return the chunk for one observation.

        Raises:
            VLAAdapterError: no object poses have arrived yet.
            InstructionError: the scene cannot do what the instruction asks.
        """
        poses = self._poses
        if poses is None:
            raise VLAAdapterError('expert: no object poses yet; is sim_arm running?')
        chunk = self._expert.predict(observation, poses)
        actions = self._in_action_space(chunk.actions, observation.proprioception)
        return replace(chunk, actions=actions)

    def _in_action_space(self, targets: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Return (K, 7) targets as the contract's actions, relative to the observed state."""
        space = self._contract.action_space
        actions = targets.copy()
        if space == 'joint_delta':
            actions[:, :6] -= observed[:6]
        elif space == 'ee_delta':
            position, rotation = self._kinematics.tool_pose(observed[:6])
            for row, target in zip(actions, targets, strict=True):
                reached, turned = self._kinematics.tool_pose(target[:6])
                row[:3] = reached - position
                row[3:6] = pinocchio.log3(turned @ rotation.T)
        return actions
