# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Inputs of a dry run, which may be played from a recording."""

from __future__ import annotations

from vla_adapter_ros.control.clock import Arrival

DRY_RUN = 'DRY RUN: nothing is sent to the arm'
# Stamps that are farther than this from the robot's clock [s] are those of a recording: no camera
# or driver that works is so late.
RECORDED_AGE_S = 10.0


def as_if_live(arrival: Arrival) -> Arrival:
    """Return the arrival of a message; one that is played back counts as made on arrival.

    `ros2 bag play` without `--clock` publishes messages with the stamps of their recording. Where
    nothing is sent to an arm, they may be acted on.
    """
    if abs(arrival.age) <= RECORDED_AGE_S:
        return arrival
    return Arrival(arrival.stamp, 0.0, arrival.now)
