# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the node asked of the arm in the real graph, from its trajectories and the true joints."""

from __future__ import annotations

import time

import numpy as np
from trajectory_msgs.msg import JointTrajectory

from support.arm_record import ArmRecord
from support.fault_report import TOLERANCE, FaultRow, position_shares
from vla_adapter_ros.motion.hermite import position_bounds, segment_peaks
from vla_adapter_ros.nodes.common.messages import to_seconds
from vla_adapter_ros.robot.contract import RobotContract


class Trajectories:
    """Peaks of the arm's trajectories since `mark`; when they arrive does not matter."""

    def __init__(self, contract: RobotContract, true: ArmRecord):
        self._contract = contract
        self._limits = contract.max_velocity[:-1], contract.max_acceleration[:-1]
        self._true = true
        self.mark()

    def mark(self) -> None:
        """A fault begins."""
        self.since = time.time()
        self._velocity = self._acceleration = self._position = self._distance = 0.0

    def add(self, message: JointTrajectory) -> None:
        """Keep the peaks of one trajectory of the arm; a subscription's callback."""
        times = np.array([to_seconds(p.time_from_start) for p in message.points])
        knots = np.array([p.positions for p in message.points])
        slopes = np.array([p.velocities for p in message.points])
        if self._true.states:
            away = np.abs(knots[0] - self._true.states[-1][1]).max()
            self._distance = max(self._distance, float(away))
        self._position = max(self._position, self._beyond(knots))
        if len(times) < 2:
            return
        parts = np.diff(times), knots, slopes
        velocity, acceleration = segment_peaks(*parts)
        self._velocity = max(self._velocity, float((velocity / self._limits[0]).max()))
        self._acceleration = max(
            self._acceleration, float((acceleration / self._limits[1]).max())
        )
        self._position = max(self._position, *(self._beyond(b) for b in position_bounds(*parts)))

    def row(self, fault: str, where: str, reason: str, allowed: float, rest: float) -> FaultRow:
        """Return the line of the fault table for the time since `mark`."""
        shares = self._velocity, self._acceleration, self._position, self._distance / allowed
        names = 'velocity', 'acceleration', 'position', 'distance'
        broken = [
            f'{share:.0%} of the {name} limit'
            for name, share in zip(names, shares)
            if share > TOLERANCE
        ]
        return FaultRow(fault, where, *shares, rest, reason, '; '.join(broken))

    def _beyond(self, positions: np.ndarray) -> float:
        return float(position_shares(positions, self._contract).max())
