# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Teach the Alicia-D: start the teaching node and the recorder, with cameras or the simulation.

    ros2 launch vla_adapter_ros teach.launch.py sim:=true instruction:='push the red block'
    ros2 run vla_adapter_ros teach_keyboard                      # in a second terminal

`--show-args` lists the arguments; a robot whose cameras have other names has `<camera>_topic`
arguments of its own. Without launch_ros: `python -m vla_adapter_ros.nodes.bringup teach`.
"""

from __future__ import annotations

from launch import LaunchDescription

from vla_adapter_ros.nodes.bringup.demonstrations import TEACH
from vla_adapter_ros.nodes.bringup.launch_actions import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description(TEACH)
