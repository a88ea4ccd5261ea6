# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Whether recorded joint states were measured: the checks of the robot, on a recording."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from vla_adapter_ros.control.plausibility import PlausibilityMonitor
from vla_adapter_ros.data.bags.alignment import NANOSECONDS
from vla_adapter_ros.data.bags.streams import JointTrack
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.robot import alicia_d
from vla_adapter_ros.robot.contract import RobotContract

# Joints this close to each other may be no measurement [rad].
_ALIKE = 0.01


def trim_unmeasured(
    track: JointTrack, contract: RobotContract, place: str
) -> tuple[JointTrack, str]:
    """Leave out what a driver publishes before the arm answers.

    Args:
        track: joint states in the order of their stamps.
        contract: limits of the arm and bounds of its supervision.
        place: bag and topic, for messages.

    Returns:
        The track from the first measured state on, and what was left out, or ''.

    Raises:
        DatasetError: a later state cannot be where the arm was: out of range, a jump (a turn of
            2π), or a driver that lost the arm; or none was measured.
    """
    if _beyond_doubt(track, contract):
        return track, ''
    monitor = PlausibilityMonitor(contract)
    begin = int(track.stamps[0])
    first, reason = 0, ''
    for index, (stamp, state) in enumerate(zip(track.stamps, track.states, strict=True)):
        fault = monitor.observe(state, float(stamp - begin) / NANOSECONDS)
        if not fault:
            continue
        if index > first or not _no_data(state):
            raise DatasetError(f'{place}: at {(stamp - begin) / NANOSECONDS:.2f} s: {fault}')
        first, reason = index + 1, fault
        monitor.reset()
    if first == len(track.stamps):
        raise DatasetError(f'{place}: {reason} in the whole recording')
    if not first:
        return track, ''
    seconds = (int(track.stamps[first]) - begin) / NANOSECONDS
    kept = JointTrack(track.stamps[first:], track.times[first:], track.states[first:])
    return kept, f'the first {seconds:.2f} s ({first} joint states) are left out: {reason}'


def _beyond_doubt(track: JointTrack, contract: RobotContract) -> bool:
    """Return whether no state can be one that the monitor finds fault with; of all at once."""
    arm, bounds = track.states[:, :-1], contract.supervision
    low, high = contract.lower[:-1], contract.upper[:-1]
    inside = (arm >= low - bounds.range_margin) & (arm <= high + bounds.range_margin)
    # Zeros, and raw zeros of the servos, have all joints alike.
    alike = arm.max(axis=1) - arm.min(axis=1) < _ALIKE
    # The monitor allows for more where messages follow close upon each other.
    gaps = np.diff(track.stamps) / NANOSECONDS
    jumps = np.abs(np.diff(arm, axis=0)).max(axis=1) > bounds.max_speed * gaps
    return bool(inside.all() and not alike.any() and not jumps.any())


def check_not_frozen(
    times: np.ndarray,
    states: np.ndarray,
    commands: np.ndarray,
    contract: RobotContract,
    place: str,
) -> None:
    """Refuse states that stay bit-equal while the command moves: the driver lost the arm.

    Args:
        times: (T,) of the frames [ns], ascending.
        states: (T, J + 1) measured positions.
        commands: (T, J + 1) commanded positions, as the contract's joints.
        contract: bounds of the arm's supervision.
        place: bag and topic, for messages.

    Raises:
        DatasetError: names the time.
    """
    bounds = contract.supervision
    changes = np.any(np.diff(states[:, :-1], axis=0) != 0, axis=1)
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1, [len(states)]])
    for start, end in pairwise(starts):
        seconds = (times[end - 1] - times[start]) / NANOSECONDS
        travel = np.ptp(commands[start:end, :-1], axis=0)
        if seconds >= bounds.frozen_after and travel.max() >= bounds.frozen_travel:
            at = (times[start] - times[0]) / NANOSECONDS
            name = contract.joint_names[int(travel.argmax())]
            raise DatasetError(
                f'{place}: at {at:.2f} s: joint states frozen for {seconds:.2f} s while {name} is '
                f'commanded to move {travel.max():.2f} rad: the driver lost the arm'
            )


def _no_data(state: np.ndarray) -> bool:
    return not state[:-1].any() or alicia_d.servos_answer_raw_zero(state[:-1])
