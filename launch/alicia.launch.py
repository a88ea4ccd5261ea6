# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Start the policy node for the Alicia-D, with the simulated arm if asked, and activate it.

    ros2 launch vla_adapter_ros alicia.launch.py sim:=true instruction:='push the red block'

`--show-args` lists the arguments; a robot whose cameras have other names has `<camera>_topic`
arguments of its own. Without launch_ros: `python -m vla_adapter_ros.nodes.bringup`.
"""

from __future__ import annotations

from launch import LaunchDescription

from vla_adapter_ros.nodes.bringup.launch_actions import launch_description
from vla_adapter_ros.nodes.bringup.nodes_to_start import ALICIA


def generate_launch_description() -> LaunchDescription:
    return launch_description(ALICIA)
