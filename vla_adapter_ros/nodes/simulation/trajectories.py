# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From trajectory messages to what the simulated controllers execute."""

from __future__ import annotations

from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.nodes.common.messages import to_seconds
from vla_adapter_ros.simulation.trajectory_controller import Trajectory, TrajectoryPoint


def received_trajectory(message: JointTrajectory, now: float, stamp_now: float) -> Trajectory:
    """Return a trajectory on the controller's clock.

    Args:
        message: as received; a zero stamp starts it immediately.
        now: time on the controller's clock [s].
        stamp_now: time on the clock of the message's stamp [s].
    """
    stamp = to_seconds(message.header.stamp)
    points = [
        TrajectoryPoint(to_seconds(p.time_from_start), p.positions, p.velocities, p.accelerations)
        for p in message.points
    ]
    return Trajectory(message.joint_names, points, now + stamp - stamp_now if stamp else 0.0)
