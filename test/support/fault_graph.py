# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the node asked of the arm in the real graph, from its commands and the true joints."""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from support.arm_record import ArmRecord
from support.fault_report import TOLERANCE, FaultRow, position_shares
from vla_adapter_ros.motion.hermite import position_bounds, segment_peaks
from vla_adapter_ros.nodes.common.messages import to_seconds
from vla_adapter_ros.robot.contract import RobotContract

# Streamed targets this far apart tell their speed: stamps are made after the targets, on a busy
# machine some milliseconds after.
_APART = 3


class _Asked:
    """Peaks of the arm's commands since `mark`; when they arrive does not matter."""

    def __init__(self, contract: RobotContract, true: ArmRecord):
        self._contract = contract
        self._limits = contract.max_velocity[:-1], contract.max_acceleration[:-1]
        self._true = true
        self.mark()

    def mark(self) -> None:
        """A fault begins."""
        self.since = time.time()
        self._velocity = self._acceleration = self._position = self._distance = 0.0

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

    def _keep_speed(self, velocity: np.ndarray, acceleration: np.ndarray) -> None:
        self._velocity = max(self._velocity, float((np.abs(velocity) / self._limits[0]).max()))
        self._acceleration = max(
            self._acceleration, float((np.abs(acceleration) / self._limits[1]).max())
        )

    def _keep_place(self, first: np.ndarray, *positions: np.ndarray) -> None:
        """The first target is compared with the arm, all with the position limits."""
        if self._true.states:
            away = np.abs(first - self._true.states[-1][1]).max()
            self._distance = max(self._distance, float(away))
        found = [float(position_shares(p, self._contract).max()) for p in (first, *positions)]
        self._position = max(self._position, *found)


class Trajectories(_Asked):
    """Trajectories of the arm (front end A)."""

    def add(self, message: JointTrajectory) -> None:
        """Keep the peaks of one trajectory of the arm; a subscription's callback."""
        times = np.array([to_seconds(p.time_from_start) for p in message.points])
        knots = np.array([p.positions for p in message.points])
        slopes = np.array([p.velocities for p in message.points])
        if len(times) < 2:
            self._keep_place(knots[0], knots)
            return
        parts = np.diff(times), knots, slopes
        self._keep_place(knots[0], knots, *position_bounds(*parts))
        self._keep_speed(*segment_peaks(*parts))


class StreamedTargets(_Asked):
    """Joint targets sent in a stream (front end B): means over `_APART` of them."""

    def mark(self) -> None:
        super().mark()
        self._recent: deque[tuple[float, np.ndarray]] = deque(maxlen=2 * _APART + 1)

    def add(self, message: JointState) -> None:
        """Keep the peaks of one target of the arm; a subscription's callback."""
        joints = [list(message.name).index(name) for name in self._true.names]
        target = np.array(message.position)[joints]
        self._keep_place(target)
        self._recent.append((to_seconds(message.header.stamp), target))
        if len(self._recent) == self._recent.maxlen:
            (t0, p0), (t1, p1), (t2, p2) = (self._recent[i] for i in (0, _APART, -1))
            before, now = (p1 - p0) / (t1 - t0), (p2 - p1) / (t2 - t1)
            self._keep_speed(now, 2.0 * (now - before) / (t2 - t0))
