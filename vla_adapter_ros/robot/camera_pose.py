# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Where a camera stands: the pose of its optical frame in a frame of the robot, for TF.

Policies do not use it. A contract may leave it out: then nothing is published.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vla_adapter_ros.robot.sections import Section

# A calibration in millimetres is farther away than this [m].
MAX_DISTANCE_M = 10.0
# A quaternion that was rounded when it was written down is this close to a unit one.
_NORM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class CameraPose:
    """Pose of an optical frame (z forward, x right and y down in the image; REP 103).

    Attributes:
        parent: frame of the robot that carries the camera.
        xyz: position of the camera in it [m].
        quaternion: rotation from the optical frame to the parent, (x, y, z, w), a unit.
    """

    parent: str
    xyz: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; `parse_pose` reads it back."""
        return {
            'parent': self.parent, 'xyz': list(self.xyz), 'quaternion': list(self.quaternion),
        }  # fmt: skip


def parse_pose(section: Section) -> CameraPose:
    """Validate plain data. Raises ContractError naming key, value and what is allowed.

    The rotation is either `rpy`, fixed-axis roll, pitch, yaw [rad] as in a URDF, or `quaternion`.
    """
    parent = section.text('parent')
    if parent.startswith('/') or any(c.isspace() for c in parent):
        raise section.fail('parent', 'expected the name of a frame, without / before it')
    xyz = section.numbers('xyz', length=3)
    if math.hypot(*xyz) > MAX_DISTANCE_M:
        raise section.fail('xyz', f'expected metres, at most {MAX_DISTANCE_M:g} m away')
    if section.has('rpy') == section.has('quaternion'):
        raise section.fail('rpy', 'expected either rpy or quaternion')
    if section.has('rpy'):
        quaternion = quaternion_of(*section.numbers('rpy', length=3))
    else:
        quaternion = section.numbers('quaternion', length=4)
        norm = math.hypot(*quaternion)
        if abs(norm - 1.0) > _NORM_TOLERANCE:
            raise section.fail('quaternion', 'expected [x, y, z, w] of length 1')
        if abs(norm - 1.0) > 1e-12:
            quaternion = tuple(value / norm for value in quaternion)
    section.finish()
    return CameraPose(parent, xyz, quaternion)


def quaternion_of(roll: float, pitch: float, yaw: float) -> tuple[float, float, float, float]:
    """Return (x, y, z, w) of rotations [rad] about the fixed x, then y, then z axis."""
    cr, cp, cy = (math.cos(0.5 * angle) for angle in (roll, pitch, yaw))
    sr, sp, sy = (math.sin(0.5 * angle) for angle in (roll, pitch, yaw))
    return (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )
