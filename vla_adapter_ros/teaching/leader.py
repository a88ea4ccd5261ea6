# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A leader arm's joint states as goals in contract order, with a smoothed velocity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.joint_state import JointStateReader

# Servos report integer counts: without smoothing, their differences are noise [s].
_SMOOTHING_S = 0.08


class Leader:
    """Reads the arm that is moved by hand.

    Args:
        contract: of the arm that follows.
        names: joints of the leader, arm then gripper; empty: those of the contract.
        open_position: the leader's gripper joint when open; with `closed_position` equal to it,
            the contract's positions are used.
        closed_position: the same when closed.
        max_age: a leader that is silent for longer cannot be followed [s].
    """

    def __init__(
        self,
        contract: RobotContract,
        names: Sequence[str] = (),
        open_position: float = 0.0,
        closed_position: float = 0.0,
        max_age: float = 0.3,
    ) -> None:
        names = list(names) or list(contract.driver_names)
        if len(names) != len(contract.names):
            raise ContractError(
                f'leader: {len(names)} joint names, expected {len(contract.names)}:'
                f' {len(contract.joints)} joints and the gripper'
            )
        gripper = replace(contract.gripper, driver_name=names[-1])
        if open_position != closed_position:
            gripper = replace(
                gripper, open_position=open_position, closed_position=closed_position
            )
        joints = tuple(replace(j, driver_name=n) for j, n in zip(contract.joints, names))
        leader = replace(contract, joints=joints, gripper=gripper)
        self._reader = JointStateReader(leader, max_age)
        self._max_age = max_age
        self._received: float | None = None
        self.target: np.ndarray | None = None
        self.velocity = np.zeros(contract.action_dim)

    def receive(self, names: Sequence[str], positions: Sequence[float], now: float) -> None:
        """Take a joint state received at `now` [s]. Raises ObservationError if it is unusable."""
        reading = self._reader.receive(names, positions, now, now)
        if reading is None:
            return
        target = reading.state
        target[-1] = min(max(target[-1], 0.0), 1.0)
        gap = now - self._received if self._received is not None else 0.0
        if self.target is not None and 0.0 < gap <= self._max_age:
            weight = gap / (gap + _SMOOTHING_S)
            self.velocity += weight * ((target - self.target) / gap - self.velocity)
        else:
            self.velocity = np.zeros(len(target))
        # The gripper opens and closes abruptly; extrapolation would overshoot.
        self.velocity[-1] = 0.0
        self.target, self._received = target, now

    def problem(self, now: float) -> str:
        """Return why the leader cannot be followed, or ''."""
        if missing := self._reader.missing(now):
            return f'the leader arm cannot be followed: {missing}'
        if self._received is None:
            return 'the leader arm sends no joint states'
        age = now - self._received
        return f'the leader arm has been silent for {age:.1f} s' if age > self._max_age else ''
