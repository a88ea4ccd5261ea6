# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The expert behind the policy node: object poses arrive as messages, chunks leave in the
contract's action space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vla_adapter_ros.data.training.actions import chunk_transform
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.simulation.arm_simulation import STEP_PERIOD, Pose, arm_kinematics
from vla_adapter_ros.simulation.expert.expert import ExpertPolicy
from vla_adapter_ros.simulation.scene import JOINT_NAMES


class ExpertChunks:
    """Scripted expert that answers in a contract's action space.

    `see` may be called in another thread than `predict`.

    Args:
        contract: of the simulated arm.
        expert: None: one that knows of the arm what observations tell.

    Raises:
        VLAAdapterError: the contract is not of the simulated arm, or not at 10 Hz.
    """

    def __init__(self, contract: RobotContract, expert: ExpertPolicy | None = None) -> None:
        if contract.names != JOINT_NAMES:
            raise VLAAdapterError(
                f'expert: it moves {", ".join(JOINT_NAMES)}, the contract has '
                f'{", ".join(contract.names)}'
            )
        if abs(contract.step_period - STEP_PERIOD) > 1e-9:
            raise VLAAdapterError(
                f'expert: step_period {contract.step_period:g}, expected {STEP_PERIOD:g}'
            )
        self._expert = expert or ExpertPolicy()
        self._to_actions = chunk_transform(contract, contract.action_space, arm_kinematics())
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
        state = observation.proprioception
        return replace(chunk, actions=self._to_actions(chunk.actions[None], state[None])[0])
