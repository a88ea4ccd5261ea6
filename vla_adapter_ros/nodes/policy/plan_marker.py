# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The path of the tool in the plan under way, for RViz."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point
from visualization_msgs.msg import Marker

from vla_adapter_ros.motion.plan import MotionPlan
from vla_adapter_ros.robot.kinematics import Kinematics

_SAMPLES = 24
_WIDTH_M = 0.004
_LIFETIME = Duration(sec=2)


def plan_marker(
    plan: MotionPlan, kinematics: Kinematics, frame_id: str, stamp: Time
) -> Marker:
    """Return a line strip through the tool's positions (base frame, m) along the plan."""
    moments = np.linspace(plan.start, plan.end, _SAMPLES)
    path = kinematics.tool_positions(plan.arm.sample_many(moments)[0])
    marker = Marker(ns='plan', type=Marker.LINE_STRIP, action=Marker.ADD, lifetime=_LIFETIME)
    marker.header.frame_id = frame_id
    marker.header.stamp = stamp
    marker.scale.x = _WIDTH_M
    marker.color.r, marker.color.g, marker.color.b, marker.color.a = 0.1, 0.8, 0.3, 1.0
    marker.points = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in path]
    return marker
