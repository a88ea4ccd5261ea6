# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A policy that begins an episode which the expert finishes.

Mistakes lead a policy to states that no demonstration contains. Letting it drive for a while and
recording how the expert continues from there (as a person takes over in HG-DAgger, arXiv
1810.02890) adds exactly those states. Only the expert's part is recorded, so every recorded
chunk is one that the expert carried out itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.chunk import ChunkPolicy
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.robot.action_space import ActionConverter
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.simulation.arm_simulation import arm_kinematics


class TakeoverPolicy:
    """Drives step by step with the chunks of a policy.

    Args:
        policy: answers with chunks in the contract's action space.
        contract: of the policy.
    """

    def __init__(self, policy: ChunkPolicy, contract: RobotContract) -> None:
        self._policy = policy
        self._converter = ActionConverter(contract, arm_kinematics())
        self._targets: list[np.ndarray] = []

    @staticmethod
    def load(folder: str | Path, contract: RobotContract) -> TakeoverPolicy:
        """Load a checkpoint for data of a contract.

        Raises:
            CheckpointError: it cannot be loaded.
            VLAAdapterError: it was trained for another robot; the message names the difference.
        """
        from vla_adapter_ros.inference.policy import Policy

        policy = Policy.from_pretrained(folder, device='cpu', threads=1)
        if policy.contract is None:
            raise VLAAdapterError(
                f'takeover policy {folder}: no robot contract; it cannot act here'
            )
        if found := policy.contract.differences(contract):
            raise VLAAdapterError(f'takeover policy {folder}: another robot: {"; ".join(found)}')
        return TakeoverPolicy(policy, contract)

    def begin(self) -> None:
        """Forget the last episode."""
        self._targets = []

    @property
    def needs_images(self) -> bool:
        """Whether the next step needs images."""
        return not self._targets

    def act(self, observation: Observation, steps: int) -> np.ndarray:
        """Return the (7,) target of the next step.

        Args:
            observation: the present one, with images if `needs_images`.
            steps: of a chunk to carry out before the next one is asked for.
        """
        if not self._targets:
            chunk = self._policy.predict(observation)
            targets = self._converter.to_targets(chunk.actions, observation.proprioception)
            self._targets = list(targets[:steps])
        return self._targets.pop(0)
