# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The Alicia-D v5.6 arm with its 50 mm gripper: joint table, and the URDF written from it.

Joint origins, axes and limits are those of the vendor's published description of the v5.6 arm.
The limits are the intersection of the published ones, as in `config/robots/alicia_d.yaml`.
Shapes are our own and simple: no vendor mesh is used.

Pose conventions: lengths in m, angles in rad, `rpy` as in URDF (roll, pitch, yaw about fixed
axes). `tool0` lies between the finger pads; its z axis points back to the wrist, so the gripper
points straight down when the z axis of `tool0` is the z axis of `base_link`. The fingers close
along the y axis of `tool0`.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class JointRow:
    """One row of the joint table: `child` turns about `axis` in the frame at `xyz`, `rpy`."""

    name: str
    parent: str
    child: str
    xyz: Vector
    rpy: Vector
    axis: Vector
    lower: float
    upper: float


_HALF_PI = math.pi / 2

ARM_JOINTS = (
    JointRow('Joint1', 'base_link', 'link1', (0, 0, 0.1295), (0, 0, 0), (0, 0, 1), -2.749, 2.749),
    JointRow('Joint2', 'link1', 'link2', (0, 0, 0.04287), (_HALF_PI, _HALF_PI, 0), (0, 0, 1),
             -1.57, 1.57),
    JointRow('Joint3', 'link2', 'link3', (-0.22367, 0.022492, -5e-05), (0, 0, 1.5 * _HALF_PI),
             (0, 0, 1), -0.5, 3.14159),
    JointRow('Joint4', 'link3', 'link4', (-0.00211, -0.099, 0.0002), (-_HALF_PI, 0, -math.pi),
             (0, 0, -1), -2.79, 2.79),
    JointRow('Joint5', 'link4', 'link5', (0, -0.0005, 0.12235), (-_HALF_PI, 0, 0), (0, 0, -1),
             -1.57, 1.57),
    JointRow('Joint6', 'link5', 'link6', (-0.00385, -0.0575, 0.001), (-_HALF_PI, 0, 0), (0, 0, 1),
             -3.14, 3.14),
)  # fmt: skip
ARM_JOINT_NAMES = tuple(row.name for row in ARM_JOINTS)
TOOL_OFFSET: Vector = (0, 0, -0.13)

# The driver's joint `Gripper` is the travel of each finger: 0 = open, 0.025 m = closed.
GRIPPER_JOINT_NAME = 'Gripper'
FINGER_STROKE = 0.025
LEFT_FINGER_ORIGIN: tuple[Vector, Vector] = (
    (0.0002, 0.0255, -0.13098), (-_HALF_PI, 0, -math.pi)
)  # fmt: skip
RIGHT_FINGER_ORIGIN: tuple[Vector, Vector] = ((0.0002, -0.0255, -0.13098), (_HALF_PI, 0, 0))
JOINT_NAMES = (*ARM_JOINT_NAMES, GRIPPER_JOINT_NAME)


def rotation_from_rpy(rpy: Vector) -> np.ndarray:
    """Return the (3, 3) rotation of URDF roll, pitch, yaw [rad] about fixed axes x, y, z."""
    (cr, sr), (cp, sp), (cy, sy) = ((math.cos(a), math.sin(a)) for a in rpy)
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ])  # fmt: skip


def tool_pose(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return position (3,) [m] and rotation (3, 3) of `tool0` in `base_link`.

    The plain product of the joint table for (6,) joint positions [rad]; simulation and URDF are
    tested against it.
    """
    position, rotation = np.zeros(3), np.eye(3)
    for row, angle in zip(ARM_JOINTS, joints, strict=True):
        position = position + rotation @ np.array(row.xyz)
        turn = rotation_from_rpy((0, 0, float(angle) * row.axis[2]))
        rotation = rotation @ rotation_from_rpy(row.rpy) @ turn
    return position + rotation @ np.array(TOOL_OFFSET), rotation


def _numbers(values: Vector) -> str:
    return ' '.join(f'{value:.9g}' for value in values)


def _link(robot: ElementTree.Element, name: str, mass: float, end: Vector) -> None:
    """Add a link drawn as a cylinder from its origin to `end` (its next joint)."""
    link = ElementTree.SubElement(robot, 'link', name=name)
    length = math.dist((0, 0, 0), end)
    if length == 0.0:
        return
    middle = _numbers(tuple(0.5 * v for v in end))
    # Roll 0, pitch and yaw that turn z onto the direction of `end`.
    rpy = (0.0, math.atan2(math.hypot(end[0], end[1]), end[2]), math.atan2(end[1], end[0]))
    inertial = ElementTree.SubElement(link, 'inertial')
    ElementTree.SubElement(inertial, 'origin', xyz=middle)
    ElementTree.SubElement(inertial, 'mass', value=f'{mass:g}')
    moment = f'{mass * length**2 / 12 + 1e-5:.3g}'
    ElementTree.SubElement(
        inertial, 'inertia', ixx=moment, iyy=moment, izz=moment, ixy='0', ixz='0', iyz='0'
    )
    for kind in ('visual', 'collision'):
        part = ElementTree.SubElement(link, kind)
        ElementTree.SubElement(part, 'origin', xyz=middle, rpy=_numbers(rpy))
        geometry = ElementTree.SubElement(part, 'geometry')
        ElementTree.SubElement(geometry, 'cylinder', radius='0.028', length=f'{length:.6g}')


def _joint(
    robot: ElementTree.Element,
    names: tuple[str, str, str, str],
    origin: tuple[Vector, Vector],
    axis: Vector | None = None,
    limits: tuple[float, float, float] | None = None,
) -> ElementTree.Element:
    name, kind, parent, child = names
    joint = ElementTree.SubElement(robot, 'joint', name=name, type=kind)
    ElementTree.SubElement(joint, 'parent', link=parent)
    ElementTree.SubElement(joint, 'child', link=child)
    ElementTree.SubElement(joint, 'origin', xyz=_numbers(origin[0]), rpy=_numbers(origin[1]))
    if axis is not None:
        ElementTree.SubElement(joint, 'axis', xyz=_numbers(axis))
    if limits is not None:
        lower, upper, velocity = (f'{value:.9g}' for value in limits)
        ElementTree.SubElement(
            joint, 'limit', lower=lower, upper=upper, velocity=velocity, effort='5'
        )
    return joint


def urdf() -> str:
    """Return the arm's URDF: `base_link` → `tool0`, and the two fingers (the right one a mimic).

    `config/robots/alicia_d.urdf` is this text; `python -m vla_adapter_ros.simulation.alicia_d
    PATH` writes it again.
    """
    robot = ElementTree.Element('robot', name='alicia_d')
    ends = [row.xyz for row in ARM_JOINTS] + [(0.0, 0.0, -0.09)]
    masses = (0.6, 0.3, 0.3, 0.25, 0.2, 0.15, 0.2)
    links = ['base_link', *(row.child for row in ARM_JOINTS)]
    for name, mass, end in zip(links, masses, ends, strict=True):
        _link(robot, name, mass, end)
    for name in ('tool0', 'left_finger', 'right_finger'):
        ElementTree.SubElement(robot, 'link', name=name)
    for row in ARM_JOINTS:
        _joint(robot, (row.name, 'revolute', row.parent, row.child), (row.xyz, row.rpy),
               row.axis, (row.lower, row.upper, 7.67))  # fmt: skip
    _joint(robot, ('tool0_fixed', 'fixed', 'link6', 'tool0'), (TOOL_OFFSET, (0, 0, 0)))
    _joint(robot, (GRIPPER_JOINT_NAME, 'prismatic', 'link6', 'left_finger'),
           LEFT_FINGER_ORIGIN, (0, 0, 1), (0.0, FINGER_STROKE, 0.1))  # fmt: skip
    right = _joint(robot, ('right_finger_joint', 'prismatic', 'link6', 'right_finger'),
                   RIGHT_FINGER_ORIGIN, (0, 0, 1), (-FINGER_STROKE, 0.0, 0.1))  # fmt: skip
    ElementTree.SubElement(right, 'mimic', joint=GRIPPER_JOINT_NAME, multiplier='-1', offset='0')
    ElementTree.indent(robot)
    notice = (
        '<!-- Synria Alicia-D v5.6 with the 50 mm gripper. Generated by\n'
        '     python -m vla_adapter_ros.simulation.alicia_d; do not edit. Shapes are ours. -->\n'
    )
    body = ElementTree.tostring(robot, encoding='unicode')
    return f'<?xml version="1.0"?>\n{notice}{body}\n'


def main() -> None:
    """Write the URDF."""
    parser = argparse.ArgumentParser(description='Write the URDF of the Alicia-D v5.6 arm.')
    parser.add_argument('path', type=Path, help='file to write (config/robots/alicia_d.urdf)')
    parser.parse_args().path.write_text(urdf())


if __name__ == '__main__':
    main()
