# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Checks of the arm's driver: listeners and commanders, settings, small motions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.preflight.checks import FAIL, PASS, SKIP, WARN, Check
from vla_adapter_ros.preflight.input_checks import KILLED_NODE
from vla_adapter_ros.robot import alicia_d
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.robot.kinematics import Kinematics

# A joint that is not commanded to move may sag by this [rad].
_OTHER_JOINT = 0.02
# A gripper that stops this far from its target is commanded and read in different units.
_GRIPPER_ERROR = 0.15


def check_driver(
    contract: RobotContract,
    listeners: Callable[[str], Sequence[str]],
    publishers: Callable[[str], Sequence[str]],
    others: Sequence[str] = (),
    resolve: Callable[[str], str] = str,
) -> Check:
    """Return whether a driver of the contract's front end listens, with no other commander.

    Args:
        contract: names the topics.
        listeners: from a topic of the contract to the nodes that subscribe to it.
        publishers: from a topic to the nodes that publish it.
        others: who commands the arm beside the policy node.
        resolve: from a topic of the contract to its full name, for messages.
    """
    front_end = contract.front_end
    topics = front_end.topics
    gripper = front_end.gripper
    if gripper is not None and not publishers(gripper.status_topic):
        hint = 'start the driver of the gripper'
        return Check('driver', FAIL, f'no node serves the action {gripper.action}; {hint}')
    for topic in topics:
        if not listeners(topic):
            other = alicia_d.other_driver(front_end.kind)
            hint = 'start the driver, or the simulation (sim:=true)'
            if listeners(other.arm_topic):
                hint = f'{other.title} is running: use robot:={other.robot}'
            return Check('driver', FAIL, f'no node listens on {resolve(topic)}; {hint}')
    nodes = ', '.join(sorted({n for t in topics for n in listeners(t)}))
    if others:
        return Check('driver', FAIL, f'{nodes} is also commanded by {commanded_by(others)}')
    return Check('driver', PASS, f'{nodes} listens on {", ".join(map(resolve, topics))}')


def commanded_by(others: Sequence[str]) -> str:
    """Return who else commands an arm, and what to do about it."""
    remedy = 'stop it'
    if any('second node' in name for name in others):
        remedy += f'; {KILLED_NODE}'
    return f'{", ".join(others)}: {remedy}'


def check_workspace(contract: RobotContract, folder: Path) -> Check:
    """Return whether the tool can be kept in the workspace box of the contract.

    Args:
        contract: with or without a box.
        folder: of its file, which the URDF is relative to.
    """
    if contract.workspace is None:
        return Check('workspace', SKIP, 'the contract has none')
    try:
        Kinematics.of(contract, folder)
    except VLAAdapterError as error:
        return Check(
            'workspace', FAIL,
            f'the workspace of the contract cannot be watched: {error}; install what is missing, '
            'or remove workspace from the contract',
        )  # fmt: skip
    return Check('workspace', PASS, 'the tool is kept in the box of the contract')


def check_driver_settings(
    speed_deg_s: float | None, stroke: float | None, contract: RobotContract
) -> list[Check]:
    """Return verdicts on the driver's speed and gripper type, where they could be read."""
    checks = []
    if speed_deg_s is None:
        checks.append(Check('driver speed', SKIP, 'the driver does not publish it'))
    else:
        speed, fastest = math.radians(speed_deg_s), float(contract.max_velocity[:-1].max())
        text = f'{speed_deg_s:g} deg/s = {speed:.2f} rad/s'
        if contract.front_end.kind == 'joint_commands':
            checks.append(Check('driver speed', PASS, f'{text}; each command carries its own'))
        elif speed < fastest:
            checks.append(Check(
                'driver speed', WARN,
                f'{text}, motion is planned for up to {fastest:.2f} rad/s and would lag behind:'
                f' launch the policy node with speed_deg_s:={speed_deg_s:g} (first motions), or'
                f' start the driver with speed_deg_s:={math.ceil(math.degrees(fastest))}',
            ))
        else:
            checks.append(Check('driver speed', PASS, text))
    if stroke is not None:
        travel = abs(contract.gripper.open_position - contract.gripper.closed_position)
        same = math.isclose(stroke, travel, rel_tol=0.02)
        text = f'the driver has {stroke:g} m of travel, the contract {travel:g} m'
        hint = '' if same else '; correct gripper_type of the driver or closed_position'
        checks.append(Check('gripper type', PASS if same else FAIL, text + hint))
    return checks


def check_small_motion(
    index: int, target: float, before: np.ndarray, after: np.ndarray, contract: RobotContract
) -> Check:
    """Return whether one joint, and no other, moved to its target.

    Args:
        index: of the joint in contract order; the last is the gripper.
        target: of the motion [rad, or open fraction].
        before: (J + 1,) measured before.
        after: (J + 1,) measured after.
        contract: names the joints.
    """
    names, moved = contract.names, after - before
    gripper = index == len(names) - 1
    title, unit = f'{names[index]} motion', 'open fraction' if gripper else 'rad'
    text = f'sent from {before[index]:+.3f} to {target:+.3f}, measured {after[index]:+.3f} {unit}'
    others = {
        name: float(change)
        for i, (name, change) in enumerate(zip(names[:-1], moved[:-1]))
        if i != index and abs(change) > _OTHER_JOINT
    }
    if others:
        which = ', '.join(f'{name} {change:+.3f}' for name, change in others.items())
        return Check(
            title, FAIL, f'{text}, but {which} rad moved too: joint names and wiring do not agree'
        )
    done = float(moved[index] / (target - before[index]))
    if done < -0.3 or (gripper and done > 0.3 and abs(after[index] - target) > _GRIPPER_ERROR):
        hint = 'check gripper_open_command and open_position of the contract' if gripper else (
            'check the vendor\'s URDF and driver version'
        )
        return Check(
            title, FAIL, f'{text}: command and state have different signs or scales; {hint}'
        )
    if done < 0.6:
        return Check(
            title, FAIL, f'{text}: it did not follow; torque off, blocked, commanded by another'
            f' program, or the driver is slower than 5 deg/s'
        )
    return Check(title, PASS, text)
