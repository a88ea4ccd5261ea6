# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Objects of the simulated scene as markers: shown in RViz, read by the scripted expert."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion
from visualization_msgs.msg import Marker, MarkerArray

from vla_adapter_ros.simulation.arm_simulation import Pose as ObjectPose
from vla_adapter_ros.simulation.layout import COLOURS

_SIZE_M = 0.032
_MARKERS = {'block': Marker.CUBE, 'cylinder': Marker.CYLINDER, 'ball': Marker.SPHERE}


def scene_markers(
    poses: Mapping[str, ObjectPose], frame_id: str, stamp: Time
) -> MarkerArray:
    """Return one marker an object, in the arm's base frame; its namespace is the object's name."""
    return MarkerArray(
        markers=[
            _marker(i, name, pose, frame_id, stamp)
            for i, (name, pose) in enumerate(poses.items())
        ]
    )


def _marker(index: int, name: str, pose: ObjectPose, frame_id: str, stamp: Time) -> Marker:
    colour, _, shape = name.partition(' ')
    marker = Marker(ns=name, id=index, action=Marker.ADD)
    marker.header.frame_id = frame_id
    marker.header.stamp = stamp
    marker.type = _MARKERS.get(shape, Marker.CYLINDER)
    marker.pose = _pose_message(pose)
    marker.scale.x = marker.scale.y = marker.scale.z = _SIZE_M
    marker.color.r, marker.color.g, marker.color.b = COLOURS.get(colour, (0.9, 0.9, 0.9))
    marker.color.a = 1.0
    return marker


def _pose_message(pose: ObjectPose) -> Pose:
    x, y, z = (float(v) for v in pose.position)
    # Objects only turn about the vertical as far as anyone who reads this cares.
    half = 0.5 * pose.yaw
    return Pose(
        position=Point(x=x, y=y, z=z),
        orientation=Quaternion(z=float(np.sin(half)), w=float(np.cos(half))),
    )


def poses_from_markers(markers: MarkerArray) -> dict[str, ObjectPose]:
    """Return name → pose from a marker array of `scene_markers`."""
    return {marker.ns: _object_pose(marker.pose) for marker in markers.markers}


def _object_pose(pose: Pose) -> ObjectPose:
    yaw = 2.0 * np.arctan2(pose.orientation.z, pose.orientation.w)
    c, s = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return ObjectPose(np.array([pose.position.x, pose.position.y, pose.position.z]), rotation)
